"""Sums of squared columns of one batch: columns come a few at a time, each pulled back to every layer at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from curvcli.models.base import Array
from curvcli.models.contraction import through_positions
from curvcli.models.torch.linear import LinearUse, PatchUse
from curvcli.models.torch.positions import PositionGram
from curvcli.models.torch.totals import Totals

# Columns are squared and added in the model's dtype this many at a time, then in float64.
_FLUSH = 32
# Columns are contracted side by side as long as their z-gradients hold no more numbers than this.
_HELD = 1 << 23

# Columns on the output, (k, samples, …) → for each the slopes by every distinct z; None where there is no path.
Pull = Callable[[Array], Iterable[Sequence[Tensor | None]]]


class ColumnSquares:
    """See ``base.ColumnSquares``.

    Attributes:
        added: columns so far.
        key: what it was made for.
        together: whether some uses are contracted once for all columns.
        ended: whether the sums have been taken.
    """

    def __init__(
        self,
        uses: Mapping[str, LinearUse],
        which: Sequence[int],
        pull: Pull,
        count: int,
        itemsize: int,
    ) -> None:
        """Nothing added yet.

        Args:
            uses: by parameter.
            which: the place of each use's z among those that are pulled back to.
            pull: makes the slopes of columns.
            count: columns that will be added.
            itemsize: bytes of one of the slopes' numbers.
        """
        self.key = (*uses, count)
        self._pull: Pull | None = pull
        self._place = dict(zip(uses, which, strict=True))
        sizes = [use.contraction if isinstance(use, PatchUse) else None for use in uses.values()]
        chosen = dict(zip(uses, through_positions(sizes, count, itemsize), strict=True))
        self._grams = {p: PositionGram(u) for p, u in uses.items() if isinstance(u, PatchUse) and chosen[p]}
        self._plain = {p: u for p, u in uses.items() if not chosen[p]}
        self._total = Totals({p: u.shape for p, u in uses.items()})
        self.added, self.together, self.ended = 0, any(chosen.values()), False

    def add(self, columns: Array) -> None:
        """See ``base.ColumnSquares``."""
        if self._pull is None:
            raise ValueError("the sums have been taken")
        used = {self._place[p] for p in self._plain}
        for start in range(0, len(columns), _FLUSH):
            chunk = columns[start : start + _FLUSH]
            part: dict[str, Tensor] = {}
            held: list[dict[int, Tensor]] = []
            for number, pulled in enumerate(self._pull(chunk)):
                deltas = {i: delta for i, delta in enumerate(pulled) if delta is not None}
                for p, gram in self._grams.items():
                    if self._place[p] in deltas:
                        gram.add(deltas[self._place[p]])
                held.append({i: delta for i, delta in deltas.items() if i in used})
                room = sum(d.numel() for d in held[-1].values()) * (len(held) + 1) <= _HELD
                if room and number + 1 < len(chunk):
                    continue
                for p, use in self._plain.items():
                    slopes = [by_z[self._place[p]] for by_z in held if self._place[p] in by_z]
                    if slopes:
                        squares = use.products(slopes)
                        part[p] = part[p].add_(squares) if p in part else squares
                held.clear()
            for p, value in part.items():
                self._total.add(p, value)
        self.added += len(columns)

    def sums(self) -> dict[str, Array]:
        """See ``base.ColumnSquares``."""
        for p, gram in self._grams.items():
            squares = gram.squares()
            if squares is not None:
                self._total.add(p, squares)
        # A batch's own function: as long as it is held, each of the two keeps the other.
        self.ended, self._pull = True, None
        self._grams.clear()
        return self._total.arrays()
