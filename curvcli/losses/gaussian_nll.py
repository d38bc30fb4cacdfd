"""Gaussian negative log-likelihood of a model that returns means and variances (Nix, Weigend 1994).

The model's output holds both: along the class axis (the last one unless ``class_axis`` says otherwise) the first half
are the means μ, the second half the variances v, or their logarithms with ``log_variance = true``. For m targets per
sample it has 2m entries there. A model that returns them as two outputs needs them joined in one.

With r = μ − y: ℓ = ½(log v + r²/v). Variances below ε count as ε, as in ``torch.nn.GaussianNLLLoss``; there ℓ does not
depend on v, and its slope by v is 0. ∇²_o ℓ is indefinite where v is far from r²: per target, a column of sign + and
one of sign −.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from curvcli.errors import DataError, SpecError
from curvcli.losses.interface import Array, Columns, End, Loss, RawTargets, Source, Targets, summed_by_sample
from curvcli.losses.operations import NUMPY, Operations, Tensor
from curvcli.losses.targets import required_target, used_of
from curvcli.spec.loss import LossSpec

_EPS = 1e-6


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """ℓ = ½(log v + (μ − y)²/v), the mean over one sample's targets; o = (μ, v) or (μ, log v).

    Attributes:
        spec: the declaration.
        end: the model's.
    """

    spec: LossSpec
    end: End

    name = "gaussian_nll"
    title = "Gaussian negative log-likelihood of means and variances"
    likelihood = "normal of the model's mean and variance"
    convex = False

    @property
    def _axis(self) -> int:
        return self.end.class_axis

    @property
    def _log(self) -> bool:
        return bool(self.spec.log_variance)

    @property
    def eps(self) -> float:
        """ε, the smallest variance."""
        return _EPS if self.spec.eps is None else self.spec.eps

    def check(self, values: Array) -> None:
        if values.ndim < 2 or values.shape[self._axis] % 2:
            raise SpecError(
                f"loss.name = 'gaussian_nll' needs means and variances, an even number of them along axis "
                f"{self._axis}; {self.end.where} returns {values.shape[1:]} per sample.\n"
                "Set loss.class_axis if it is another axis."
            )
        _, spread = NUMPY.halves(values, self._axis)
        if not self._log and spread.size and float(spread.min()) < 0:
            raise SpecError(
                f"loss.log_variance = false, but {self.end.where} returns numbers below 0 ({spread.min():.4g}) where "
                "variances are expected.\nSet log_variance = true."
            )

    def targets(self, raw: RawTargets) -> Targets:
        target = required_target(raw, self.name)
        shape = tuple(n // 2 if i == self._axis else n for i, n in enumerate(raw.shape))
        squeezed = [n for n in shape[1:] if n != 1]
        if target.shape[0] != shape[0] or [n for n in target.shape[1:] if n != 1] != squeezed:
            raise DataError(
                f"column {self.end.column!r} has shape {target.shape[1:]} per sample; gaussian_nll on an output of "
                f"shape {raw.shape[1:]}, means and variances, needs {shape[1:]}."
            )
        target = np.asarray(target, dtype=np.float64).reshape(shape)
        used = used_of(target, None, ignore_nan=self.spec.ignore_nan)
        weight = raw.sample_weight(target.ndim)
        if not used.all():
            weight = weight * used
        count = max(1, prod(shape[1:]))
        total = float(np.broadcast_to(weight, shape).sum() / count)
        by_sample = summed_by_sample(weight, shape) / count
        return Targets(np.where(used, target, 0.0), weight, 1.0 / count, total, by_sample)

    def _parts(self, values: Array, targets: Targets) -> tuple[Array, Array, Array]:
        """R, the variance, and where it is free to move: not below ε."""
        mean, spread = NUMPY.halves(values, self._axis)
        r = mean - targets.truth
        if self._log:
            return r, np.exp(spread), np.ones(spread.shape, dtype=bool)
        return r, np.maximum(spread, self.eps), spread >= self.eps

    def elements(self, values: Array, targets: Targets) -> Array:
        r, v, _ = self._parts(values, targets)
        log_v = NUMPY.halves(values, self._axis)[1] if self._log else np.log(v)
        elements: Array = targets.weight * (log_v + r**2 / v) / 2
        return elements

    def slope(self, ops: Operations, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        mean, spread = ops.halves(o, self._axis)
        r = mean - truth
        if self._log:
            by_mean = r * ops.exp(-spread)
            by_spread = (1 - r * by_mean) / 2
        else:
            free = spread >= self.eps
            v = ops.where(free, spread, self.eps)
            by_mean = r / v
            by_spread = ops.where(free, (1 - r * by_mean) / (2 * v), 0.0)
        return ops.joined([weight * by_mean, weight * by_spread], self._axis)

    # Per target ∇² has (μμ, μv, vv) = (1/v, −r/v², r²/v³ − 1/(2v²)), or (1, −r, r²/2)/v by the logarithm of v.

    def rank(self, shape: tuple[int, ...]) -> int:
        return prod(shape[1:])

    def columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        r, v, free = self._parts(values, targets)
        root = np.sqrt(np.broadcast_to(targets.weight * targets.scale, r.shape))
        along = np.where(free, -r if self._log else -r / v, 0.0) * root / np.sqrt(v)
        against = np.where(free, np.abs(r) / np.sqrt(2 * v) if self._log else 1 / (np.sqrt(2) * v), 0.0) * root
        return self._pairs((root / np.sqrt(v), along), against, -1.0, range(start, stop))

    def information_rank(self, shape: tuple[int, ...]) -> int:
        return prod(shape[1:])

    def information_columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        r, v, free = self._parts(values, targets)
        root = np.sqrt(np.broadcast_to(targets.weight * targets.scale, r.shape))
        by_spread = np.where(free, np.sqrt(0.5) if self._log else 1 / (np.sqrt(2) * v), 0.0) * root
        return self._pairs((root / np.sqrt(v), np.zeros(r.shape)), by_spread, 1.0, range(start, stop))

    def _pairs(self, first: tuple[Array, Array], second: Array, sign: float, numbers: range) -> Columns:
        """Two columns per target: ``first`` by mean and spread with sign +, ``second`` by the spread with ``sign``."""
        samples = len(second)
        means, spreads, others = (part.reshape(samples, -1) for part in (*first, second))
        columns = []
        for number in numbers:
            target, which = divmod(number, 2)
            mean, spread = np.zeros(means.shape), np.zeros(means.shape)
            if which:
                spread[:, target] = others[:, target]
            else:
                mean[:, target], spread[:, target] = means[:, target], spreads[:, target]
            columns.append(NUMPY.joined([mean.reshape(second.shape), spread.reshape(second.shape)], self._axis))
        return Columns(np.stack(columns), np.where(np.array(numbers) % 2, sign, 1.0))

    def product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        r, v, free = self._parts(values, targets)
        if self._log:
            mixed, by_spread = -r / v, r**2 / (2 * v)
        else:
            mixed, by_spread = -r / v**2, r**2 / v**3 - 1 / (2 * v**2)
        mixed, by_spread = np.where(free, mixed, 0.0), np.where(free, by_spread, 0.0)
        mean, spread = NUMPY.halves(vectors, self._axis + 1)
        weight = targets.weight * targets.scale
        parts = [weight * (mean / v + mixed * spread), weight * (mixed * mean + by_spread * spread)]
        products: Array = NUMPY.joined(parts, self._axis + 1)
        return products

    def information_product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        _, v, free = self._parts(values, targets)
        by_spread = np.where(free, 0.5 if self._log else 1 / (2 * v**2), 0.0)
        mean, spread = NUMPY.halves(vectors, self._axis + 1)
        weight = targets.weight * targets.scale
        products: Array = NUMPY.joined([weight * mean / v, weight * by_spread * spread], self._axis + 1)
        return products

    def drawn_slopes(self, values: Array, targets: Targets, source: Source) -> Array:
        _, v, free = self._parts(values, targets)
        z = source.normal(v.shape)  # (μ − y)/√v
        by_spread = np.where(free, (1 - z**2) / (2 if self._log else 2 * v), 0.0)
        root = np.sqrt(targets.weight * targets.scale)
        slopes: Array = NUMPY.joined([root * z / np.sqrt(v), root * by_spread], self._axis)
        return slopes


def settle(spec: LossSpec, end: End) -> GaussianNLL:
    """See ``registry.settle``."""
    return GaussianNLL(spec, end)
