"""The gradient in two parts at a layer's output z: ∂L/∂W = Σ_n (∂z_n/∂W)ᵀ ∂L/∂z_n, by the chain rule.

The Jacobian ∂z_n/∂W is kept whole, one row per entry of z and sample, where it fits; otherwise only its product with
∂L/∂z_n is formed. Either way the product is held against the gradient that goes through the whole model at once: they
are equal where every path from W to the loss passes z.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.tasks import Cut, Data, Part, Segment, Sums
from curvcli.models.base import Array
from curvcli.models.pointwise import ChainBatch, unit_cotangents

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


@dataclass(frozen=True)
class LayerOutput:
    """What the first batch tells of a layer.

    Attributes:
        operation: that makes z.
        z_shape: of one sample.
    """

    operation: str
    z_shape: tuple[int, ...]

    @classmethod
    def of(cls, data: Data, layer: Sequence[str], factors: Sequence[Factor]) -> LayerOutput:
        """Look at the first batch.

        Raises:
            ModelError: the layer has no single output, or samples influence each other after it.
        """
        batch = next(_batches(data, layer, factors, 0))
        return cls(batch.operation, batch.z_shape)

    def jacobian_bytes(self, factor: Factor, samples: int) -> int:
        """What the whole Jacobian of a factor takes, in float64."""
        return 8 * samples * prod(self.z_shape) * prod(factor.shape)

    def whole(self, factors: Sequence[Factor], samples: int, memory: int) -> frozenset[str]:
        """The factors whose Jacobians are kept, smallest first, of all that may take so many bytes together."""
        chosen, left = set(), memory
        for factor in sorted(factors, key=lambda f: prod(f.shape)):
            needed = self.jacobian_bytes(factor, samples)
            if needed <= left:
                chosen.add(factor.name)
                left -= needed
        return frozenset(chosen)


def _batches(data: Data, layer: Sequence[str], factors: Sequence[Factor], start: int) -> Iterator[ChainBatch]:
    parameters = [f.name for f in factors if not f.is_input]
    inputs = [f.name for f in factors if f.is_input]
    return data.chain_batches(layer, parameters, inputs, start=start)


@dataclass(frozen=True)
class SplitTask:
    """Both parts of the gradient for each batch (see ``BatchTask``).

    First ∂ℓ/∂z; then for each factor the rows of its Jacobian, if that is kept, and what is made of them.

    Attributes:
        layer: the full names of its parameters.
        factors: what to differentiate by.
        whole: the names of those whose Jacobians are kept.
    """

    layer: tuple[str, ...]
    factors: tuple[Factor, ...]
    whole: frozenset[str]

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    @property
    def folded(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return tuple(f"jacobian {name}" for name in self.whole)

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``: parameters add up over the batches, inputs belong to their samples."""
        of_inputs = (f"{kind} {f.name}" for f in self.factors if f.is_input for kind in ("gradient", "product"))
        return ("output gradient", *self.folded, *of_inputs)

    def batches(self, data: Data, start: int) -> Iterator[ChainBatch]:
        """See ``BatchTask``."""
        return _batches(data, self.layer, self.factors, start)

    def divisible(self, batch: ChainBatch) -> bool:
        """See ``BatchTask``; parts build on those before them."""
        return False

    def cut(self, batch: ChainBatch) -> Cut:
        """See ``BatchTask``."""
        segments = [Segment(1, 1)]
        for factor in self.factors:
            if factor.name in self.whole:
                per_row = batch.samples * prod(factor.shape)
                segments.append(Segment(prod(batch.z_shape), max(1, _HELD // max(per_row, 1)), per_row))
            segments.append(Segment(1, 1))
        return Cut(tuple(segments))

    def _place(self, batch: ChainBatch, start: int) -> tuple[Factor, int]:
        """Whose part begins at ``start``, and the row of its Jacobian; as many as there are for what is made of it."""
        first = 1
        for factor in self.factors:
            rows = self._rows(batch, factor)
            if start <= first + rows:
                return factor, start - first
            first += rows + 1
        raise IndexError("there are no more factors")

    def _rows(self, batch: ChainBatch, factor: Factor) -> int:
        return prod(batch.z_shape) if factor.name in self.whole else 0

    def passes(self, batch: ChainBatch, part: Part) -> int:
        """One per row; one for the gradient, and one for the product where there is no Jacobian to make it of."""
        if not part.start:
            return 1
        factor, row = self._place(batch, part.start)
        return part.stop - part.start if row < self._rows(batch, factor) or factor.name in self.whole else 2

    def __call__(self, batch: ChainBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other after the layer.
        """
        if not part.start:
            return {"output gradient": batch.output_gradient()}
        factor, row = self._place(batch, part.start)
        name, so_far = factor.name, part.so_far.get(f"jacobian {factor.name}")
        if row < self._rows(batch, factor):
            shape = (batch.samples, *batch.z_shape, *factor.shape)
            jacobian = np.zeros(shape) if so_far is None else so_far
            stop = row + part.stop - part.start
            units = unit_cotangents(batch.samples, batch.z_shape, row, stop)
            by_row = jacobian.reshape(batch.samples, -1, *factor.shape)
            by_row[:, row:stop] = batch.sample_products(name, units).swapaxes(0, 1)
            return {f"jacobian {name}": jacobian}
        delta = part.so_far["output gradient"]
        product = batch.products(name, delta[None])[0] if so_far is None else _product(batch, factor, delta, so_far)
        return {f"gradient {name}": batch.gradient(name), f"product {name}": product}


def _product(batch: ChainBatch, factor: Factor, delta: Array, jacobian: Array) -> Array:
    flat = delta.reshape(batch.samples, -1), jacobian.reshape(batch.samples, prod(batch.z_shape), -1)
    product = np.einsum("nz,nzw->nw" if factor.is_input else "nz,nzw->w", *flat)
    shaped: Array = product.reshape((batch.samples, *factor.shape) if factor.is_input else factor.shape)
    return shaped


@dataclass(frozen=True)
class Halves:
    """Both parts of a layer's gradient, divided.

    Attributes:
        output_gradient: ∂L/∂z_n, (samples, *z_shape).
        jacobians: per factor ∂z_n/∂W, (samples, *z_shape, *shape), where it was kept.
        products: per factor (∂z/∂W)ᵀ ∂L/∂z: in a parameter's shape, or (samples, *shape) for an input.
        gradients: per factor ∂L/∂W directly, in the same shape.
    """

    output_gradient: Array
    jacobians: dict[str, Array]
    products: dict[str, Array]
    gradients: dict[str, Array]

    def difference(self, factor: Factor) -> tuple[float, float]:
        """The largest |product − gradient|, and ‖product − gradient‖ / ‖gradient‖.

        Both are zero to rounding where every path from the factor to the loss passes z.
        """
        product, gradient = self.products[factor.name], self.gradients[factor.name]
        distance, scale = np.linalg.norm(product - gradient), np.linalg.norm(gradient)
        relative = float(distance / scale) if scale else float(np.inf if distance else 0.0)
        return float(np.abs(product - gradient).max(initial=0.0)), relative


@dataclass(frozen=True)
class SplitGradient:
    """A layer's gradient in two parts (see ``Algorithm``).

    Attributes:
        task: the layer, and what to differentiate by.
        output: of the layer.
    """

    task: SplitTask
    output: LayerOutput
    at_most = False

    def passes_of(self, factor: Factor) -> int:
        """Passes per batch for one factor."""
        return 1 + (prod(self.output.z_shape) if factor.name in self.task.whole else 1)

    @property
    def passes_per_batch(self) -> int:
        """Those of all factors, and one for ∂ℓ/∂z."""
        return 1 + sum(map(self.passes_of, self.task.factors))

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Halves]:
        """See ``Algorithm``."""
        sums = yield self.task
        names = [factor.name for factor in self.task.factors]
        return Halves(
            sums["output gradient"] / about.denominator,
            {name: sums[f"jacobian {name}"] for name in names if name in self.task.whole},
            {name: sums[f"product {name}"] / about.denominator for name in names},
            {name: sums[f"gradient {name}"] / about.denominator for name in names},
        )
