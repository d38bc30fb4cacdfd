"""The Hessian, or the Gauss–Newton matrix, of blocks of parameters, times vectors (Pearlmutter 1994; Schraudolph 2002).

A product costs one pass over the data. Batches whose graphs are kept (see ``kept``) pay only the last backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from curvcli.curvature.stride import Stride
from curvcli.curvature.work import OnStep
from curvcli.errors import NotFiniteError
from curvcli.models.base import Array, DifferentiatedBatch, Objective, Parameter, flat_size

Matrix = Literal["hessian", "gauss_newton"]
MATRICES: tuple[Matrix, ...] = ("hessian", "gauss_newton")

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

    def decayed(self, vectors: Array) -> Array:
        """Vectors, (k, n), with zeros for the entries that weight decay is not applied to."""
        if self.trained_size == self.size:
            return vectors
        found: Array = vectors * np.concatenate([np.full(p.size, float(p.trained)) for p in self.parameters])
        return found


class Flight:
    """A product on its way over the batches: what a run that is put down in the middle of it keeps.

    Attributes:
        total: of the batches so far, (k, n), not divided; None between two products.
        batch: the batch in work.
        row: how many of its vectors are done.
    """

    def __init__(self) -> None:
        """Between two products."""
        self.total: Array | None = None
        self.batch = self.row = 0

    def state(self) -> dict[str, Array]:
        """The sum and how far it goes; nothing between two products."""
        if self.total is None:
            return {}
        return {"flight": self.total, "flight place": np.array([float(self.batch), float(self.row)])}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up what ``state`` gave, or nothing."""
        self.total = state["flight"].copy() if "flight" in state else None
        self.batch, self.row = (int(n) for n in state["flight place"]) if self.total is not None else (0, 0)

    def of(self, shape: tuple[int, ...]) -> Array:
        """The sum to go on with, for a product of this shape; zeros where none of it was made."""
        if self.total is None or self.total.shape != shape:
            self.total, self.batch, self.row = np.zeros(shape), 0, 0
        return self.total

    def end(self) -> None:
        """The product is made."""
        self.total, self.batch, self.row = None, 0, 0


class CurvatureOperator:
    """H or G over the data of an objective, weight decay included.

    Attributes:
        matrix: which of the two.
        products: matrix–vector products so far, summed over blocks.
        flight: the product in work.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        matrix: Matrix = "hessian",
        weight_decay: float = 0.0,
        flight: Flight | None = None,
        on_step: OnStep = lambda passes: None,
    ) -> None:
        """Wrap an objective.

        Args:
            objective: the data's part of the loss.
            matrix: the Hessian, or the Gauss–Newton matrix (1/N) Σ_n J_nᵀ (∇²_o ℓ_n) J_n.
            weight_decay: λ of an added (λ/2)‖θ‖².
            flight: where the product in work is kept, or one that an earlier run put down: the first product of its
                shape goes on from there.
            on_step: told the passes made, whenever ``flight`` is whole.
        """
        self._objective, self.matrix, self._decay = objective, matrix, weight_decay
        self.flight, self._on_step = flight or Flight(), on_step
        self._strides: dict[Block, Stride] = {}
        self.products = 0

    @property
    def weight_decay(self) -> float:
        """λ, which the matrix has on its diagonal."""
        return self._decay

    @property
    def denominator(self) -> float:
        """What sums over batches are divided by."""
        return self._objective.denominator

    def of_batch(self, batch: DifferentiatedBatch, block: Block, vectors: Array) -> Array:
        """What one batch adds to products: a sum over samples, (k, n), not divided and without weight decay.

        Args:
            batch: prepared for the block's parameters.
            block: of the vectors.
            vectors: (k, n), float64.
        """
        step = max(1, _HELD // max(1, block.size))
        if len(vectors) <= step:
            return self._of_batch(batch, block, vectors)
        return np.concatenate(
            [self._of_batch(batch, block, vectors[i : i + step]) for i in range(0, len(vectors), step)]
        )

    def _of_batch(self, batch: DifferentiatedBatch, block: Block, rows: Array) -> Array:
        match self.matrix:
            case "hessian":
                return batch.hessian_products(block.names, rows)
            case "gauss_newton":
                pushed = batch.pushforward(block.names, rows)
                return batch.pullback(block.names, batch.output.product(pushed))
            case _:
                assert_never(self.matrix)

    def times(self, block: Block, vectors: Array) -> Array:
        """The matrix times every row: (k, n) → (k, n), float64, divided, weight decay included."""
        flight = self.flight
        total = flight.of(vectors.shape)
        for batch in self._objective.batches(block.names, start=flight.batch):
            for start, stop in self._stride(block).parts(flight.row, len(vectors)):
                total[start:stop] += self._of_batch(batch, block, vectors[start:stop])
                flight.row = stop
                if stop == len(vectors):
                    flight.batch, flight.row = flight.batch + 1, 0
                self._on_step(stop - start)
        flight.end()
        self.products += len(vectors)
        total /= self.denominator
        if self._decay:
            total += self._decay * block.decayed(vectors)
        return total

    def _stride(self, block: Block) -> Stride:
        """How many vectors of a block a batch is given at once."""
        if block not in self._strides:
            self._strides[block] = Stride(max(1, _HELD // max(1, block.size)), block.size)
        return self._strides[block]


def finite(values: Array, name: str) -> Array:
    """The matrix or its products, when they are numbers.

    Raises:
        NotFiniteError: what has no second derivative at the parameters has no eigenvalues.
    """
    if not np.isfinite(values).all():
        raise NotFiniteError(
            f"{name}: its Hessian is not finite, and so has no eigenvalues: is there a square root, a logarithm or a "
            "division at zero? `curvcli diag` shows for which parameters."
        )
    return values
