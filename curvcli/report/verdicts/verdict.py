"""One thing that was checked, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["passed", "failed", "undecided"]
# How verdicts are printed.
Format = Literal["table", "json", "markdown", "junit", "github"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One check of one layer.

    Attributes:
        layer: ``None`` for the whole report.
        check: what was checked, e.g. ``top_eigenvalue`` or ``max top_eigenvalue = 50``.
        ending: how; ``undecided`` is no failure, and has to be seen all the same.
        message: in one line.
        excess: by how much it failed, as a ratio; the worst come first where only some can be shown.
    """

    layer: str | None
    check: str
    ending: Ending
    message: str
    excess: float = 0.0

    @property
    def place(self) -> str:
        """The layer as a person reads it."""
        return place(self.layer)


def place(layer: str | None) -> str:
    """Return a layer's name as a person reads it: the root module has an empty one, the report none."""
    return "(report)" if layer is None else layer or "(root)"


def counted(number: int, noun: str) -> str:
    """Return ``1 check`` or ``2 checks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
