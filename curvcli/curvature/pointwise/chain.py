"""The gradient in two parts at a layer's output z: ∂L/∂W = Σ_n (∂z_n/∂W)ᵀ ∂L/∂z_n, by the chain rule.

The Jacobian ∂z_n/∂W is kept whole, one row per entry of z and sample, where it fits; otherwise only its product with
∂L/∂z_n is formed. Either way the product is held against the gradient that goes through the whole model at once: they
are equal where every path from W to the loss passes z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from curvcli.curvature.stride import Stride
from curvcli.models.base import Array
from curvcli.models.pointwise import ChainBatch, PointwiseObjective, unit_cotangents

# Numbers in the rows of one call.
_HELD = 1 << 22


@dataclass(frozen=True)
class Factor:
    """What z and the loss are differentiated by.

    Attributes:
        name: a parameter's full name, or an input's.
        is_input: which of the two.
        shape: the parameter's, or one sample's.
    """

    name: str
    is_input: bool
    shape: tuple[int, ...]


class ChainWork:
    """A layer's gradient in two parts, batch by batch; can be put down and taken up between rows of a Jacobian.

    Attributes:
        layer: the full names of its parameters.
        factors: what to differentiate by.
        batch: how many batches are done.
        operation: that makes z; known with the first batch.
        z_shape: of one sample.
        passes: spent through the graph, per factor.
    """

    def __init__(self, layer: Sequence[str], factors: Sequence[Factor], memory: int) -> None:
        """Nothing is computed yet; ``memory`` is the bytes that all Jacobians together may take."""
        self.layer, self.factors, self.memory = tuple(layer), tuple(factors), memory
        self.batch = 0
        self.operation = ""
        self.z_shape: tuple[int, ...] = ()
        self.passes = {f.name: 0 for f in factors}
        self._found: dict[str, Array] = {}
        # Of the batch in work: how many factors are done, and of the next one's Jacobian how many rows.
        self._factor = self._row = 0
        self._rows: Array | None = None

    def batches(self, objective: PointwiseObjective) -> Iterator[ChainBatch]:
        """What is left of the data, split at the layer; sees to ``operation`` and ``z_shape``.

        Raises:
            ModelError: the layer has no single output, or samples influence each other after it.
        """
        parameters = [f.name for f in self.factors if not f.is_input]
        inputs = [f.name for f in self.factors if f.is_input]
        for batch in objective.chain_batches(self.layer, parameters, inputs, start=self.batch):
            self.operation, self.z_shape = batch.operation, batch.z_shape
            yield batch

    def run(self, objective: PointwiseObjective, samples: int, on_step: Callable[[int], None]) -> None:
        """Go over the rest of the data.

        Args:
            objective: of the data.
            samples: how many there are in all.
            on_step: told the passes of each batch.

        Raises:
            ModelError: see ``batches``.
        """
        for batch in self.batches(objective):
            whole = self.whole(1 if objective.scalar else samples)
            delta = batch.output_gradient()
            for factor in self.factors[self._factor :]:
                self._differentiate(batch, factor, delta, on_step, whole=factor.name in whole)
            self._append("output gradient", delta)
            self.batch, self._factor = self.batch + 1, 0
            on_step(1)

    def whole(self, samples: int) -> frozenset[str]:
        """The factors whose Jacobians are kept, smallest first; z's shape must be known."""
        chosen, left = set(), self.memory
        for factor in sorted(self.factors, key=lambda f: prod(f.shape)):
            needed = self.jacobian_bytes(factor, samples)
            if needed <= left:
                chosen.add(factor.name)
                left -= needed
        return frozenset(chosen)

    def jacobian_bytes(self, factor: Factor, samples: int) -> int:
        """What the whole Jacobian of a factor takes, in float64."""
        return 8 * samples * prod(self.z_shape) * prod(factor.shape)

    def _append(self, name: str, values: Array) -> None:
        known = self._found.get(name)
        self._found[name] = values if known is None else np.concatenate([known, values])

    def _add(self, name: str, values: Array, factor: Factor) -> None:
        """Parameters add up over the batches, inputs belong to their samples."""
        if factor.is_input:
            self._append(name, values)
        else:
            self._found[name] = self._found.get(name, 0.0) + values

    def _differentiate(
        self, batch: ChainBatch, factor: Factor, delta: Array, on_step: Callable[[int], None], *, whole: bool
    ) -> None:
        """All of one factor; nothing of it is added before all is there."""
        name = factor.name
        jacobian = self._jacobian(batch, factor, on_step) if whole else None
        gradient = batch.gradient(name)
        product = (
            batch.products(name, delta[None])[0] if jacobian is None else self._product(batch, factor, delta, jacobian)
        )
        self._add(f"gradient {name}", gradient, factor)
        self._add(f"product {name}", product, factor)
        if jacobian is not None:
            self._append(f"jacobian {name}", jacobian)
        made = 1 if jacobian is not None else 2
        self.passes[name] += made
        self._factor, self._rows, self._row = self._factor + 1, None, 0
        on_step(made)

    def _product(self, batch: ChainBatch, factor: Factor, delta: Array, jacobian: Array) -> Array:
        flat = delta.reshape(batch.samples, -1), jacobian.reshape(batch.samples, prod(self.z_shape), -1)
        product = np.einsum("nz,nzw->nw" if factor.is_input else "nz,nzw->w", *flat)
        shape = (batch.samples, *factor.shape) if factor.is_input else factor.shape
        found: Array = product.reshape(shape)
        return found

    def _jacobian(self, batch: ChainBatch, factor: Factor, on_step: Callable[[int], None]) -> Array:
        """(samples, *z_shape, *shape); goes on where it was put down."""
        size, per_row = prod(self.z_shape), batch.samples * prod(factor.shape)
        if self._rows is None:
            self._rows = np.zeros((batch.samples, size, *factor.shape))
        jacobian = self._rows
        for start, stop in Stride(max(1, _HELD // max(per_row, 1)), per_row).parts(self._row, size):
            units = unit_cotangents(batch.samples, self.z_shape, start, stop)
            jacobian[:, start:stop] = batch.sample_products(factor.name, units).swapaxes(0, 1)
            self.passes[factor.name] += stop - start
            self._row = stop
            on_step(stop - start)
        return jacobian.reshape(batch.samples, *self.z_shape, *factor.shape)

    # -- results ------------------------------------------------------------------------------------------------------

    def output_gradient(self, denominator: float) -> Array:
        """∂L/∂z_n, (samples, *z_shape)."""
        return self._found["output gradient"] / denominator

    def jacobian(self, factor: Factor) -> Array | None:
        """∂z_n/∂W, (samples, *z_shape, *shape); None where it was not kept."""
        return self._found.get(f"jacobian {factor.name}")

    def product(self, factor: Factor, denominator: float) -> Array:
        """(∂z/∂W)ᵀ ∂L/∂z: a parameter's shape, or (samples, *shape) for an input."""
        return self._found[f"product {factor.name}"] / denominator

    def gradient(self, factor: Factor, denominator: float) -> Array:
        """∂L/∂W directly, in the same shape."""
        return self._found[f"gradient {factor.name}"] / denominator

    # -- to be taken up -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Array]:
        """All there is to know, but for what the next batch tells."""
        place = np.array([float(self.batch), float(self._factor), float(self._row)])
        rows = {} if self._rows is None else {"rows": self._rows}
        return {"place": place, "passes": np.array(list(self.passes.values())), **rows, **self._found}

    def restore(self, state: dict[str, Array]) -> int:
        """Take up a state; returns the passes it stands for."""
        self.batch, self._factor, self._row = (int(n) for n in state["place"])
        self._rows = state.get("rows")
        self.passes = {f.name: int(n) for f, n in zip(self.factors, state["passes"], strict=True)}
        self._found = {name: values for name, values in state.items() if name not in ("place", "passes", "rows")}
        return self.batch + sum(self.passes.values())
