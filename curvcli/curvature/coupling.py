"""The squared Frobenius norms ‖H_ij‖² of all blocks between some layers, by products with vectors of one layer each.

A product of the whole matrix with a vector z of layer j alone, zero elsewhere, has the parts H_ij z of all layers i.
For random signs z the mean of ‖H_ij z‖² is ‖H_ij‖²; over all unit vectors of j the sum is. So L products give an
estimate of all L² norms, with the same z for all that a ratio holds, whose errors therefore cancel in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.coupling_estimate import BlockSquares, Coupling
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors
from curvcli.models.probes import signs

# Probes of each layer between two looks at the errors; unit vectors of one step.
_ROUND, _UNITS = 8, 64
# An error over fewer probes than this says too little to stop on.
_FEWEST = 16


@dataclass(frozen=True)
class BlockNorms:
    """‖H_ij‖² for all pairs of some blocks (see ``Algorithm``).

    Attributes:
        whole: all blocks' parameters, in order.
        blocks: whose parameters are those of ``whole``, one after the other.
        exact: which of them are multiplied unit vector by unit vector.
        probes: random vectors of each other one, at most.
        rtol: standard error of every coupling, relative to it, at which to stop; None to use all probes.
        seed: of the run.
        matrix: which.
        weight_decay: λ, which is on the diagonal.
        held: vectors that fit into memory beside their products.
    """

    whole: Block
    blocks: tuple[Block, ...]
    exact: tuple[bool, ...]
    probes: int
    rtol: float | None
    seed: int
    matrix: Matrix
    weight_decay: float
    held: int

    @property
    def passes_per_batch(self) -> int:
        """One product per unit vector, or per probe."""
        pairs = zip(self.blocks, self.exact, strict=True)
        return sum(block.size if exact else self.probes for block, exact in pairs)

    @property
    def at_most(self) -> bool:
        """Whether a tolerance may end it earlier."""
        return self.rtol is not None and not all(self.exact)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[BlockSquares]:
        """See ``Algorithm``; what is no number stays so."""
        operator = CurvatureOperator.of(about, self.whole, self.matrix, self.weight_decay)
        count = len(self.blocks)
        columns, done = np.zeros((count, count)), np.zeros(count)
        drawn = np.zeros((count, 0, count))
        if kept is not None:
            columns, done, drawn = kept["columns"].copy(), kept["done"].copy(), kept["drawn"]
        for number, start, stop in self._units():
            if done[number] >= stop:
                continue
            yield Keep({"columns": columns.copy(), "done": done.copy(), "drawn": drawn})
            first = self._starts[number]
            vectors = operator.space.units(first + start, first + stop)
            columns[number] += (yield from self._squares(operator, vectors)).sum(0)
            done[number] = stop
        while more := self._more(columns, drawn):
            yield Keep({"columns": columns, "done": done, "drawn": drawn})
            begin = drawn.shape[1]
            rows = np.full((count, more, count), np.nan)
            for number in self._random:
                for start in range(begin, begin + more, self.held):
                    stop = min(start + self.held, begin + more)
                    vectors = self._probes(operator, number, range(start, stop))
                    rows[number, start - begin : stop - begin] = yield from self._squares(operator, vectors)
            drawn = np.concatenate([drawn, rows], axis=1)
        return self._result(columns, drawn)

    @property
    def _starts(self) -> list[int]:
        return [0, *np.cumsum([block.size for block in self.blocks]).tolist()]

    @property
    def _random(self) -> list[int]:
        return [number for number, exact in enumerate(self.exact) if not exact]

    def _units(self) -> Iterator[tuple[int, int, int]]:
        """The unit vectors of the exact blocks, some at a time: the block's number, the first and behind the last."""
        step = min(_UNITS, self.held)
        for number, block in enumerate(self.blocks):
            if self.exact[number]:
                yield from ((number, at, min(at + step, block.size)) for at in range(0, block.size, step))

    def _probes(self, operator: CurvatureOperator, number: int, numbers: range) -> Vectors:
        """Random signs of one block, zero elsewhere; the same whatever other blocks there are."""
        space, block, start = operator.space, self.blocks[number], self._starts[number]
        room = space.room(len(numbers))
        for place, probe in enumerate(numbers):
            entries = np.zeros((1, self.whole.size))
            entries[0, start : start + block.size] = signs(self.seed, f"coupling:{block.name}", probe, (block.size,))
            space.store(room, place, space.from_numpy(entries))
        return room

    def _squares(self, operator: CurvatureOperator, vectors: Vectors) -> Steps[Array]:
        """‖(Hv)_i‖² for every vector v and block i, (k, blocks)."""
        products = yield from operator.times(vectors)
        names = tuple(block.names for block in self.blocks)
        return operator.space.dots_of(names, products, products).T

    def _more(self, columns: Array, drawn: Array) -> int:
        """How many probes of each random block come next; none once there are enough."""
        made = int(drawn.shape[1])
        if not self._random or made >= self.probes:
            return 0
        if self.rtol is not None and made >= _FEWEST:
            coupling = Coupling.of(self._result(columns, drawn))
            if (coupling.stderr <= self.rtol * coupling.values)[np.isfinite(coupling.values)].all():
                return 0
        return min(_ROUND, self.probes - made)

    def _result(self, columns: Array, drawn: Array) -> BlockSquares:
        rows: Sequence[Array] = [
            columns[number][None] if exact else drawn[number] for number, exact in enumerate(self.exact)
        ]
        return BlockSquares(tuple(rows), self.exact)
