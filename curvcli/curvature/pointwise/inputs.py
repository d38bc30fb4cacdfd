"""Derivatives of one number per sample by the model's inputs, over all batches.

With g_n = ∇f_n, n coordinates cost n products, each for all samples of a batch at once: the row i of every ∇²f_n is
∇²f_n e_i, its entry i is in the diagonal, and the sum of those is the Laplacian. Where that is too dear, random signs
v give E[v ⊙ ∇²f v] = diag ∇²f (Bekas, Kokiopoulou, Saad 2007) and E[vᵀ ∇²f v] = Δf (Hutchinson 1990), with a standard
error per sample and entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from curvcli.models.probes import signs
from curvcli.curvature.stride import Stride
from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.pointwise import InputBatch, PointwiseObjective, SampleFunction

SecondOrder = Literal["none", "products", "probes"]
# Numbers in the rows of one call.
_HELD = 1 << 21
# Marks squared deviations from a mean.
_SQUARES = ":squares"


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
    """One function's derivatives, batch by batch; can be put down and taken up after any product.

    Attributes:
        batch: how many batches are done.
    """

    def __init__(self, function: SampleFunction, inputs: Sequence[str], plan: InputPlan) -> None:
        """Nothing is computed yet."""
        self.function, self.inputs, self.plan = function, tuple(inputs), plan
        self.batch = 0
        self._found: dict[str, list[Array]] = {}
        # Of the batch in work: what there is so far, and how many of its products and coordinates are done.
        self._open: dict[str, Array] = {}
        self._products = self._along = 0

    @property
    def found(self) -> dict[str, Array]:
        """Per quantity the samples of finished batches, in their order, float64.

        ``value`` (N,), ``gradient`` (N, n), ``diagonal`` (N, n), ``laplacian`` (N,), with ``_stderr`` where estimated;
        ``hessian`` (N, n, n); ``derivatives`` (N, coordinates, K + 1).
        """
        for pieces in self._found.values():
            pieces[:] = [np.concatenate(pieces)]
        return {name: pieces[0] for name, pieces in self._found.items()}

    def run(self, objective: PointwiseObjective, on_step: Callable[[int], None]) -> None:
        """Do what is left; ``on_step`` is told the passes of each step.

        Raises:
            ModelError: samples influence each other, or an operation has no second derivative.
        """
        for batch in objective.input_batches(self.function, self.inputs, start=self.batch):
            if not self._open:
                self._check_samples(batch)
                self._open = {"value": batch.values(), "gradient": batch.gradient()}
                on_step(1)
            match self.plan.second:
                case "products":
                    self._multiply(batch, on_step)
                case "probes":
                    self._probe(batch, on_step)
                case "none":
                    pass
                case _:
                    assert_never(self.plan.second)
            self._derive(batch, on_step)
            for name, values in self._closed().items():
                self._found.setdefault(name, []).append(values)
            self.batch, self._open, self._products, self._along = self.batch + 1, {}, 0, 0
            on_step(0)

    def _check_samples(self, batch: InputBatch) -> None:
        if not batch.samples_separate():
            raise ModelError(
                f"{self.function.name}: in batch {self.batch} a value depends on other samples (batch statistics?).\n"
                "Export the model in inference mode; curvcli check tells more."
            )

    def _multiply(self, batch: InputBatch, on_step: Callable[[int], None]) -> None:
        """One product per coordinate."""
        samples, n, full = batch.samples, batch.coordinates, self.plan.full
        name, shape = ("hessian", (samples, n, n)) if full else ("diagonal", (samples, n))
        values = self._open.setdefault(name, np.zeros(shape))
        stride = Stride(max(1, _HELD // (samples * (n if full else 1))), n)
        for start, stop in stride.parts(self._products, n):
            part = batch.hessian_rows(range(start, stop)) if full else batch.hessian_diagonal(range(start, stop))
            values[:, start:stop] = part.swapaxes(0, 1)
            self._products = stop
            on_step(stop - start)

    def _probe(self, batch: InputBatch, on_step: Callable[[int], None]) -> None:
        """One product per random vector; mean and squared deviations of what each says."""
        samples, n = batch.samples, batch.coordinates
        first = sum(len(values) for values in self._found.get("value", ()))
        for name, shape in (("diagonal", (samples, n)), ("laplacian", (samples,))):
            for kind in ("", _SQUARES):
                self._open.setdefault(name + kind, np.zeros(shape))
        for number in range(self._products, self.plan.probes):
            # Drawn per sample, so that the batch size does not decide who gets which.
            names = [f"inputs:{self.function.name}:{first + i}" for i in range(samples)]
            probe = np.stack([signs(self.plan.seed, name, number, (n,)) for name in names])
            product = probe * batch.products(probe[None])[0]
            for name, value in (("diagonal", product), ("laplacian", product.sum(axis=1))):
                # Welford's update: sums of squares would cancel where all probes agree.
                mean = self._open[name]
                change = value - mean
                mean += change / (number + 1)
                self._open[name + _SQUARES] += change * (value - mean)
            self._products = number + 1
            on_step(1)

    def _derive(self, batch: InputBatch, on_step: Callable[[int], None]) -> None:
        """All orders along one coordinate after the other."""
        coordinates, order = self.plan.coordinates, self.plan.order
        if not coordinates:
            return
        values = self._open.setdefault("derivatives", np.zeros((batch.samples, len(coordinates), order + 1)))
        for place in range(self._along, len(coordinates)):
            values[:, place] = batch.derivatives(coordinates[place], order)
            self._along = place + 1
            on_step(max(order - 1, 0))

    def _closed(self) -> dict[str, Array]:
        """What a finished batch gives."""
        found = {name: values for name, values in self._open.items() if not name.endswith(_SQUARES)}
        if "hessian" in found:
            # The two triangles come from different products; their mean is nearer the truth than either.
            hessian = found["hessian"] = (found["hessian"] + found["hessian"].swapaxes(1, 2)) / 2
            found["diagonal"] = np.diagonal(hessian, axis1=1, axis2=2).copy()
        if self.plan.second == "products":
            found["laplacian"] = found["diagonal"].sum(axis=1)
        if self.plan.second == "probes":
            pairs = self.plan.probes * (self.plan.probes - 1)
            found |= {f"{n}_stderr": np.sqrt(self._open[n + _SQUARES] / pairs) for n in ("diagonal", "laplacian")}
        return found

    def state(self) -> dict[str, Array]:
        """All there is to know."""
        place = np.array([float(self.batch), float(self._products), float(self._along)])
        return {"place": place, **self.found, **{f"open:{name}": values for name, values in self._open.items()}}

    def restore(self, state: dict[str, Array]) -> None:
        """Take up a state."""
        self.batch, self._products, self._along = (int(n) for n in state["place"])
        kept = {name: values for name, values in state.items() if name != "place"}
        self._found = {name: [values] for name, values in kept.items() if not name.startswith("open:")}
        self._open = {name.removeprefix("open:"): values for name, values in kept.items() if name.startswith("open:")}

    @property
    def spent(self) -> int:
        """Passes made in the batch in work."""
        return bool(self._open) + self._products + self._along * max(self.plan.order - 1, 0)

    def release(self) -> None:
        """Let go of the results."""
        self._found, self._open = {}, {}
