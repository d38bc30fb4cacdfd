"""A matrix of blocks of parameters (see ``matrices``), times vectors.

A product costs one pass over the data. Batches whose graphs are kept (see ``kept``) pay only the last backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.errors import NotFiniteError
from curvcli.models.base import Array, DifferentiatedBatch, Parameter, flat_size
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

# Vectors handed to a batch in one call hold no more numbers than this: their gradients stand beside them.
_HELD = 1 << 25


@dataclass(frozen=True)
class Block:
    """A diagonal block of the matrix: one layer, or the whole model.

    Attributes:
        name: the layer's, or the whole model's; also what seeds its probes.
        parameters: in order; a vector of the block holds them raveled and joined.
    """

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def size(self) -> int:
        """n, the entries of a vector."""
        return flat_size(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' full names."""
        return tuple(p.name for p in self.parameters)

    @property
    def trained_size(self) -> int:
        """The entries that weight decay is applied to."""
        return sum(p.size for p in self.parameters if p.trained)


@dataclass(frozen=True)
class Products:
    """Products of one batch's matrix with vectors of a block.

    Attributes:
        matrix: which.
        parameters: of the block, in order.
        space: of its vectors.
    """

    matrix: Matrix
    parameters: tuple[str, ...]
    space: VectorSpace

    @property
    def at_once(self) -> int:
        """How many vectors go into one call at most."""
        return max(1, _HELD // max(1, self.space.size))

    def __call__(self, batch: DifferentiatedBatch, vectors: Vectors) -> Vectors:
        """A sum over the batch's samples for every vector, not divided and without weight decay."""
        step = self.at_once
        if len(vectors) <= step:
            return self._of_batch(batch, vectors)
        starts = range(0, len(vectors), step)
        return self.space.joined([self._of_batch(batch, vectors[i : i + step]) for i in starts])

    def _of_batch(self, batch: DifferentiatedBatch, rows: Vectors) -> Vectors:
        return self.matrix.products(batch, self.parameters, rows)


@dataclass(frozen=True)
class ProductTask(ParameterTask):
    """The matrix times vectors, vector by vector.

    Attributes:
        products: of one batch.
        vectors: k of them.
    """

    products: Products
    vectors: Vectors

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("products",)

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``; no product depends on what stands beside it."""
        return Cut.even(len(self.vectors), self.products.at_once, self.products.space.size)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        return {"products": self.products(batch, self.vectors[part.start : part.stop])}


@dataclass(frozen=True)
class CurvatureOperator:
    """A block of a matrix over all the data, weight decay included.

    Attributes:
        block: of the matrix.
        matrix: which.
        weight_decay: λ of an added (λ/2)‖θ‖².
        denominator: what sums over batches are divided by.
        space: of the block's vectors.
    """

    block: Block
    matrix: Matrix
    weight_decay: float
    denominator: float
    space: VectorSpace

    @classmethod
    def of(cls, about: About, block: Block, matrix: Matrix, weight_decay: float = 0.0) -> CurvatureOperator:
        """The operator on some data."""
        return cls(block, matrix, weight_decay, about.denominator, about.space(block.parameters))

    @property
    def of_batch(self) -> Products:
        """The products of one batch."""
        return Products(self.matrix, self.block.names, self.space)

    def times(self, vectors: Vectors, into: Vectors | None = None) -> Steps[Vectors]:
        """The matrix times every vector, divided, weight decay included; new vectors, or ``into`` some."""
        sums = yield ProductTask(self.block.names, self.of_batch, vectors)
        products = self.space.settled(sums["products"], self.denominator, into)
        if not self.weight_decay:
            return products
        return self.space.sum(products, self.weight_decay, self.space.decayed(vectors))

    def finite_times(self, vectors: Vectors, into: Vectors | None = None) -> Steps[Vectors]:
        """The same, for what needs numbers.

        Raises:
            NotFiniteError: what has no second derivative at the parameters has no eigenvalues.
        """
        products = yield from self.times(vectors, into)
        if not self.space.is_finite(products):
            raise _not_finite(self.block.name, self.matrix)
        return products


@dataclass(frozen=True)
class MatrixProducts:
    """The matrix times some vectors, and nothing else (see ``Algorithm``).

    Attributes:
        block: of the matrix.
        vectors: (k, n), float64.
        matrix: which.
        weight_decay: λ.
    """

    block: Block
    vectors: Array
    matrix: Matrix = HESSIAN
    weight_decay: float = 0.0
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One per vector."""
        return len(self.vectors)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Array]:
        """See ``Algorithm``; the result is (k, n), float64, divided."""
        operator = CurvatureOperator.of(about, self.block, self.matrix, self.weight_decay)
        vectors = operator.space.from_numpy(self.vectors)
        return operator.space.to_numpy((yield from operator.times(vectors)))


def finite(values: Array, name: str, matrix: Matrix) -> Array:
    """A matrix, when its entries are numbers.

    Args:
        values: the matrix.
        name: of its block, for the message.
        matrix: which it is, for the message.

    Raises:
        NotFiniteError: they are not.
    """
    if not np.isfinite(values).all():
        raise _not_finite(name, matrix)
    return values


def _not_finite(name: str, matrix: Matrix) -> NotFiniteError:
    return NotFiniteError(
        f"{name}: its {matrix.title} is not finite, and so has no eigenvalues: is there a square root, a logarithm or "
        "a division at zero? `curvcli diag` shows for which parameters."
    )
