"""What the same random signs say of the Hessian and of its Gauss–Newton part: trace, norms, and ratios of them.

For random signs v the forms vᵀHv, ‖Hv‖² and ‖(H − G)v‖² have the means tr H, ‖H‖_F² and ‖H − G‖_F². Ratios of means
over the same probes have errors that partly cancel; they are told by linearising them (the delta method).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.curvature.student import mean_error, widening, widening_for_skewness
from curvcli.models.base import Array

_STEP = 4
_FORMS = ("form", "square", "data", "outside")


@dataclass(frozen=True)
class Estimated:
    """A figure with its standard error, widened as `student` says; 0 for an exact one."""

    value: float
    stderr: float = 0.0


@dataclass(frozen=True)
class Forms:
    """Of each probe v, (k,), or exact ones of the whole matrix, (1,).

    Attributes:
        form: vᵀHv.
        square: ‖Hv‖².
        data: ‖H₀v‖² without weight decay, H₀ = H − λ.
        outside: ‖(H₀ − G)v‖²; zeros where it was not wanted.
        exact: whether there is no random error.
    """

    form: Array
    square: Array
    data: Array
    outside: Array
    exact: bool = False

    @classmethod
    def of_whole(cls, hessian: Array, gauss_newton: Array | None, decay: Array) -> Forms:
        """Of matrices that are known.

        Args:
            hessian: H, (n, n), weight decay included.
            gauss_newton: G, without it; None where it is not wanted.
            decay: λ for each trained entry, (n,).
        """
        data = hessian - np.diag(decay)
        outside = 0.0 if gauss_newton is None else float(((data - gauss_newton) ** 2).sum())
        form, square, of_data, beyond = (
            np.array([number]) for number in (np.trace(hessian), (hessian**2).sum(), (data**2).sum(), outside)
        )
        return cls(form, square, of_data, beyond, exact=True)

    @property
    def trace(self) -> Estimated:
        """The trace tr H."""
        return self._estimated(float(self.form.mean()), self.form)

    @property
    def effective_rank(self) -> Estimated:
        """The ratio (tr H)² / ‖H‖_F²; the square of the estimated trace is corrected for its bias."""
        trace, square = float(self.form.mean()), float(self.square.mean())
        if not square:
            return Estimated(float("nan"), 0.0 if self.exact else float("nan"))
        bias = 0.0 if self.exact else mean_error(self.form) ** 2
        line = 2 * trace * self.form / square - trace**2 * self.square / square**2
        return self._estimated((trace**2 - bias) / square, line)

    @property
    def share_outside(self) -> Estimated:
        """The ratio ‖H₀ − G‖_F² / ‖H₀‖_F²."""
        outside, data = float(self.outside.mean()), float(self.data.mean())
        if not data:
            return Estimated(float("nan"), 0.0 if self.exact else float("nan"))
        return self._estimated(outside / data, (self.outside - outside / data * self.data) / data)

    def _estimated(self, value: float, line: Array) -> Estimated:
        """A value with the error of the mean of what it is in linear order."""
        if self.exact:
            return Estimated(value)
        return Estimated(value, mean_error(line) * widening(len(line) - 1.0) * widening_for_skewness(line))


@dataclass(frozen=True)
class SharedProbes:
    """The forms of random signs (see ``Algorithm``).

    Attributes:
        block: of the matrices.
        probes: how many.
        seed: of the signs.
        weight_decay: λ.
        gauss_newton: whether that is wanted, for a second product per probe.
    """

    block: Block
    probes: int
    seed: int
    weight_decay: float
    gauss_newton: bool
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One per probe and matrix."""
        return self.probes * (1 + self.gauss_newton)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Forms]:
        """See ``Algorithm``."""
        hessian = CurvatureOperator.of(about, self.block, HESSIAN)
        inside = CurvatureOperator.of(about, self.block, GAUSS_NEWTON)
        space = hessian.space
        forms = np.zeros((len(_FORMS), 0)) if kept is None else kept["forms"]
        while (done := forms.shape[1]) < self.probes:
            yield Keep({"forms": forms})
            signs = space.signs_by_parameter(self.seed, range(done, min(done + _STEP, self.probes)))
            data = yield from hessian.finite_times(signs)
            outside = np.zeros(len(signs))
            if self.gauss_newton:
                products = yield from inside.finite_times(signs)
                outside = space.norms(space.sum(data, -1.0, products)) ** 2
            decayed = space.sum(data, self.weight_decay, space.decayed(signs)) if self.weight_decay else data
            rows = (space.dots(signs, decayed), space.norms(decayed) ** 2, space.norms(data) ** 2, outside)
            forms = np.concatenate([forms, np.stack(rows)], axis=1)
        yield Keep({"forms": forms})
        return Forms(*forms)
