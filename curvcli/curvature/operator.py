"""The Hessian, or the Gauss–Newton matrix, of blocks of parameters, times vectors (Pearlmutter 1994; Schraudolph 2002).

A product costs one pass over the data. Batches whose graphs are kept (see ``kept``) pay only the last backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from curvcli.curvature import loss_hessian
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


class CurvatureOperator:
    """H or G over the data of an objective, weight decay included.

    Attributes:
        matrix: which of the two.
        products: matrix–vector products so far, summed over blocks.
    """

    def __init__(self, objective: Objective, *, matrix: Matrix = "hessian", weight_decay: float = 0.0) -> None:
        """Wrap an objective.

        Args:
            objective: the data's part of the loss.
            matrix: the Hessian, or the Gauss–Newton matrix (1/N) Σ_n J_nᵀ (∇²_o ℓ_n) J_n.
            weight_decay: λ of an added (λ/2)‖θ‖².
        """
        self._objective, self.matrix, self._decay = objective, matrix, weight_decay
        self.products = 0

    @property
    def weight_decay(self) -> float:
        """λ, which the matrix has on its diagonal."""
        return self._decay

    @property
    def denominator(self) -> float:
        """What sums over batches are divided by."""
        return self._objective.denominator

    def by_batch(self, blocks: Sequence[Block], vectors: Sequence[Array]) -> Iterator[Iterator[tuple[int, Array]]]:
        """One pass over the data for all blocks together; every batch's graph is built at most once.

        Args:
            blocks: whose products are wanted.
            vectors: per block (k, n_block), float64.

        Yields:
            Per batch and block the block's place and what the batch adds to the product: a sum over samples,
            (k, n_block), not divided and without weight decay.
        """
        names = list(dict.fromkeys(name for block in blocks for name in block.names))
        for batch in self._objective.batches(names):
            yield self._of_batch(batch, blocks, vectors)
        self.products += sum(len(v) for v in vectors)

    def _of_batch(
        self, batch: DifferentiatedBatch, blocks: Sequence[Block], vectors: Sequence[Array]
    ) -> Iterator[tuple[int, Array]]:
        for place, (block, rows) in enumerate(zip(blocks, vectors, strict=True)):
            step = max(1, _HELD // max(1, block.size))
            if len(rows) <= step:
                yield place, self._batch_products(batch, block, rows)
                continue
            parts = [self._batch_products(batch, block, rows[i : i + step]) for i in range(0, len(rows), step)]
            yield place, np.concatenate(parts)

    def _batch_products(self, batch: DifferentiatedBatch, block: Block, rows: Array) -> Array:
        match self.matrix:
            case "hessian":
                return batch.hessian_products(block.names, rows)
            case "gauss_newton":
                pushed = batch.pushforward(block.names, rows)
                return batch.pullback(block.names, loss_hessian.apply(batch.output, pushed))
            case _:
                assert_never(self.matrix)

    def times(self, block: Block, vectors: Array) -> Array:
        """The matrix times every row: (k, n) → (k, n), float64, divided, weight decay included."""
        total = np.zeros(vectors.shape)
        for found in self.by_batch([block], [vectors]):
            for _, value in found:
                total += value
        total /= self.denominator
        if self._decay:
            total += self._decay * block.decayed(vectors)
        return total


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
