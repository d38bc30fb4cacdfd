"""When columns are contracted through the Gram matrices of a layer's positions, and how these are cut.

With a_j the inputs of entry (j, i) of a weight at the P positions of a sample, and δ^c_i the slopes of its unit there,
Σ_c (Σ_p a_jp δ^c_ip)² = a_jᵀ G_i a_j with G_i = Σ_c δ^c_i δ^c_iᵀ, P × P for every unit of every sample. G_i takes P² C
multiplications for C columns and its contraction P² K for K inputs per unit, in place of P K C. It is symmetric, and
cut into rows of blocks of which those right of the diagonal are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

# Matrix products lose their speed in narrower blocks, and little is left to save by more of them.
_NARROWEST, _MOST_BLOCKS = 64, 4
# By how much the count of multiplications must be lower: small products run slower than large ones.
_WORTH_IT = 1.5
# What all matrices of one batch may take.
_BYTES = 1 << 30


@dataclass(frozen=True)
class Contraction:
    """The sizes of one use of a parameter in a batch.

    Attributes:
        samples: of the batch.
        units: outputs per position, of all groups.
        inputs: per unit.
        positions: per sample.
    """

    samples: int
    units: int
    inputs: int
    positions: int

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Begin and end of each row of blocks."""
        count = max(1, min(_MOST_BLOCKS, self.positions // _NARROWEST))
        ends = [self.positions * i // count for i in range(count + 1)]
        return tuple(itertools.pairwise(ends))

    @property
    def numbers(self) -> int:
        """In all matrices of the batch."""
        return self.samples * self.units * sum((end - begin) * end for begin, end in self.blocks)

    def saved(self, columns: int) -> int:
        """Multiplications that the matrices save with so many columns; 0 where they are not worth it.

        With one position the squares of a column are a product of squares, which is cheap as it is.
        """
        if self.positions < 2:
            return 0
        plain = self.samples * self.units * self.positions * self.inputs * columns
        through = self.numbers * (columns + self.inputs)
        return plain - through if plain >= _WORTH_IT * through else 0


def through_positions(uses: Sequence[Contraction | None], columns: int, itemsize: int) -> list[bool]:
    """Which uses are contracted through positions: those that save most, as long as their matrices fit.

    Args:
        uses: their sizes; None for one that can't be.
        columns: that will be squared in all.
        itemsize: bytes per number.
    """
    savings = {i: use.saved(columns) for i, use in enumerate(uses) if use is not None}
    chosen, room = [False] * len(uses), _BYTES // itemsize
    for i in sorted((i for i in savings if savings[i]), key=lambda i: -savings[i]):
        use = uses[i]
        if use is not None and use.numbers <= room:
            chosen[i], room = True, room - use.numbers
    return chosen
