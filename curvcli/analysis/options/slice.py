"""The options of ``curvcli slice``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from curvcli.analysis.options.kinds import File, Names, Number, Whole
from curvcli.analysis.options.record import Options
from curvcli.errors import UsageError
from curvcli.wording import option

TOWARDS: Final = "towards"
# A rank of an end of the spectrum, the gradient, or one of several random directions.
_DIRECTION: Final = re.compile(r"(top|bottom|random)(:[1-9][0-9]?)?|gradient|towards")
_POINTS: Final = {1: 41, 2: 21}


@dataclass(frozen=True)
class SliceOptions(Options):
    """Of ``curvcli slice``.

    Attributes:
        along: one or two directions: ``top``, ``top:2`` …, ``bottom``, ``bottom:2`` …, ``gradient``, ``random``,
            ``random:2`` …; with ``towards`` its line is the first.
        towards: the path of another saved model with the same parameters.
        points: per direction; None for 41 in one dimension and 21 in two.
        reach: how far to go, in steps of the direction, each way; None for one that suits the direction.
    """

    along: Annotated[tuple[str, ...], Names()] = ()
    towards: Annotated[Path | None, File()] = None
    points: Annotated[int | None, Whole(3, 1001)] = None
    reach: Annotated[float | None, Number(0, above=True)] = None

    def __post_init__(self) -> None:
        """Check every value, and that they go together.

        Raises:
            UsageError: they do not.
        """
        super().__post_init__()
        for one in self.along:
            if not _DIRECTION.fullmatch(one) or one == TOWARDS:
                raise UsageError(
                    f"{option('along', one)}: must be top, top:2 …, bottom, bottom:2 …, gradient, random or random:2 …."
                )
        names = self.directions
        if len(names) > 2 or len(set(names)) < len(names):
            raise UsageError(
                f"{option('along', ', '.join(self.along))}: a slice has one direction or two different ones, "
                f"{option('towards')} among them."
            )

    @property
    def directions(self) -> tuple[str, ...]:
        """One or two names."""
        first = () if self.towards is None else (TOWARDS,)
        return (*first, *(_rank_one(name) for name in self.along)) or ("top",)

    @property
    def count(self) -> int:
        """Points per direction."""
        return self.points or _POINTS[len(self.directions)]


def _rank_one(name: str) -> str:
    return name.removesuffix(":1")


def rank_of(name: str) -> int:
    """1 for ``top``, 2 for ``top:2``."""
    return int(name.partition(":")[2] or 1)
