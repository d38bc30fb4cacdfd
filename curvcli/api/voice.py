"""What a notebook is told: nothing unless asked for, and warnings as Python's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from curvcli.cli.console import Voice
from curvcli.report.hdf5.read import Report

_COLUMN = "see the status column"  # what the commands say at the end of a table
_NAMED = 5  # layers in a warning


class CurvcliWarning(UserWarning):
    """Results are there, but not all is well: not converged, not finite, incomplete; the text says what."""


@dataclass
class QuietVoice(Voice):
    """Progress and notes on standard error from level 0 on; warnings are collected, to be issued at the end."""

    level: int = -1
    collected: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Keep it."""
        self.collected.append(text)

    def issue(self, report: Report | None, stacklevel: int) -> None:
        """Issue what was collected, as if the caller's caller at this level had done so.

        Args:
            report: names the layers where the text sends its reader to a table, of which there is none here.
            stacklevel: as of `warnings.warn`.
        """
        for text in self.collected:
            told = text if report is None else text.replace(_COLUMN, _troubled(report))
            warnings.warn(told, CurvcliWarning, stacklevel=stacklevel + 1)
        self.collected.clear()


def _troubled(report: Report) -> str:
    """The layers that did not end well."""
    names = [row.name for row in report.layers if row.status != "done"]
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
