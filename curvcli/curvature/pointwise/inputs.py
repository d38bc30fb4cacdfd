"""Derivatives of one number per sample by the model's inputs, over all batches.

With g_n = ∇f_n, n coordinates cost n products, each for all samples of a batch at once: the row i of every ∇²f_n is
∇²f_n e_i, its entry i is in the diagonal, and the sum of those is the Laplacian. Where that is too dear, random signs
v give E[v ⊙ ∇²f v] = diag ∇²f (Bekas, Kokiopoulou, Saad 2007) and E[vᵀ ∇²f v] = Δf (Hutchinson 1990), with a standard
error per sample and entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curvcli.curvature.probes import signs
from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.pointwise import InputBatch, PointwiseObjective, SampleFunction

SecondOrder = Literal["none", "products", "probes"]
# Numbers in the rows of one call.
_HELD = 1 << 21


@dataclass(frozen=True)
class InputPlan:
    """What is computed of one function.

    Attributes:
        second: exactly by one product per coordinate, by random signs, or no second derivatives at all.
        full: whether the whole Hessian of every sample is kept; needs ``products``.
        coordinates: along which derivatives of every order are taken.
        order: K, up to which.
        probes: random sign vectors per sample.
        seed: of the probes.
    """

    second: SecondOrder
    full: bool = False
    coordinates: tuple[int, ...] = ()
    order: int = 0
    probes: int = 0
    seed: int = 0

    def passes(self, size: int) -> int:
        """Passes per batch for a function of ``size`` coordinates: the gradient's, and one per product or order."""
        products = {"none": 0, "products": size, "probes": self.probes}[self.second]
        return 1 + products + len(self.coordinates) * max(self.order - 1, 0)


class InputWork:
    """One function's derivatives, batch by batch; can be put down and taken up between batches.

    Attributes:
        batch: how many batches are done.
    """

    def __init__(self, function: SampleFunction, inputs: Sequence[str], plan: InputPlan) -> None:
        """Nothing is computed yet."""
        self.function, self.inputs, self.plan = function, tuple(inputs), plan
        self.batch = 0
        self._found: dict[str, list[Array]] = {}

    @property
    def found(self) -> dict[str, Array]:
        """Per quantity the samples so far, in their order, float64.

        ``value`` (N,), ``gradient`` (N, n), ``diagonal`` (N, n), ``laplacian`` (N,), with ``_stderr`` where estimated;
        ``hessian`` (N, n, n); ``derivatives`` (N, coordinates, K + 1).
        """
        for pieces in self._found.values():
            pieces[:] = [np.concatenate(pieces)]
        return {name: pieces[0] for name, pieces in self._found.items()}

    def run(self, objective: PointwiseObjective, on_step: Callable[[int], None]) -> None:
        """Do the remaining batches; ``on_step`` is told the passes of each.

        Raises:
            ModelError: samples influence each other, or an operation has no second derivative.
        """
        start = self.batch
        for number, batch in enumerate(objective.input_batches(self.function, self.inputs, start=self.batch)):
            self._check_samples(number + start, batch)
            part = self._of(batch)
            for name, values in part.items():
                self._found.setdefault(name, []).append(values)
            self.batch += 1
            on_step(self.plan.passes(batch.coordinates))

    def _check_samples(self, number: int, batch: InputBatch) -> None:
        if not batch.samples_separate():
            raise ModelError(
                f"{self.function.name}: in batch {number} a value depends on other samples (batch statistics?).\n"
                "Export the model in inference mode; curvcli check tells more."
            )

    def _of(self, batch: InputBatch) -> dict[str, Array]:
        plan = self.plan
        found = {"value": batch.values(), "gradient": batch.gradient()}
        if plan.second == "products":
            found |= self._exact(batch)
        elif plan.second == "probes":
            found |= self._estimated(batch)
        if plan.coordinates:
            along = [batch.derivatives(c, plan.order) for c in plan.coordinates]
            found["derivatives"] = np.stack(along, axis=1)
        return found

    def _exact(self, batch: InputBatch) -> dict[str, Array]:
        samples, n = batch.samples, batch.coordinates
        if not self.plan.full:
            diagonal = batch.hessian_diagonal(range(n)).T
            return {"diagonal": diagonal, "laplacian": diagonal.sum(axis=1)}
        hessian = np.zeros((samples, n, n))
        step = max(1, _HELD // (samples * n))
        for start in range(0, n, step):
            stop = min(start + step, n)
            hessian[:, start:stop] = batch.hessian_rows(range(start, stop)).swapaxes(0, 1)
        # The two triangles come from different products; their mean is nearer the truth than either.
        hessian = (hessian + hessian.swapaxes(1, 2)) / 2
        diagonal = np.diagonal(hessian, axis1=1, axis2=2).copy()
        return {"diagonal": diagonal, "laplacian": diagonal.sum(axis=1), "hessian": hessian}

    def _estimated(self, batch: InputBatch) -> dict[str, Array]:
        samples, n, probes = batch.samples, batch.coordinates, self.plan.probes
        first = sum(len(values) for values in self._found.get("value", ()))
        mean = {"diagonal": np.zeros((samples, n)), "laplacian": np.zeros(samples)}
        squares = {name: np.zeros(value.shape) for name, value in mean.items()}
        for number in range(probes):
            # Drawn per sample, so that the batch size does not decide who gets which.
            names = [f"inputs:{self.function.name}:{first + i}" for i in range(samples)]
            probe = np.stack([signs(self.plan.seed, name, number, (n,)) for name in names])
            product = probe * batch.products(probe[None])[0]
            for name, value in (("diagonal", product), ("laplacian", product.sum(axis=1))):
                # Welford's update: sums of squares would cancel where all probes agree.
                change = value - mean[name]
                mean[name] += change / (number + 1)
                squares[name] += change * (value - mean[name])
        errors = {f"{name}_stderr": np.sqrt(value / (probes * (probes - 1))) for name, value in squares.items()}
        return mean | errors

    def state(self) -> dict[str, Array]:
        """All there is to know."""
        return {"batch": np.array(self.batch), **self.found}

    def restore(self, state: dict[str, Array]) -> None:
        """Take up a state."""
        self.batch = int(state["batch"])
        self._found = {name: [values] for name, values in state.items() if name != "batch"}

    def release(self) -> None:
        """Let go of the results."""
        self._found = {}
