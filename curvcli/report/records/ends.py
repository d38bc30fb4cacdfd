"""Which ends of its spectrum a layer's computed eigenvalues reach: the k-th largest is not the smallest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# As `EigenRecord.which` names them.
LARGEST: Final = "largest"
SMALLEST: Final = "smallest"


def ends(which: str, values: Sequence[float], size: int) -> frozenset[str]:
    """Return which of `LARGEST` and `SMALLEST` were searched for, so that the first or the last value is that end.

    Args:
        which: eigenvalues that were searched for, as in `EigenRecord.which`.
        values: computed, descending.
        size: entries of the block. Where all its eigenvalues are there, so are both ends.
    """
    if not len(values):
        return frozenset()
    if len(values) == size:
        return frozenset({LARGEST, SMALLEST})
    match which:
        case "largest" | "smallest":
            return frozenset({which})
        case "both":  # a single value may be of either end
            return frozenset({LARGEST, SMALLEST} if len(values) > 1 else ())
        case "magnitude":
            # All of that magnitude were searched for: a positive one is the largest, for a larger one would be there.
            positive, negative = values[0] > 0, values[-1] < 0
            return frozenset(end for end, there in ((LARGEST, positive), (SMALLEST, negative)) if there)
    return frozenset()
