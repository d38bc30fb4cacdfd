"""What a notebook shows: nothing unless `verbose`, and warnings as Python's own."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from curvcli.analysis.progress import LineMeter, Meter
from curvcli.report.hdf5.read import Report
from curvcli.text import clean
from curvcli.wording import in_python

_LOG = logging.getLogger("curvcli")
_LOG.addHandler(logging.NullHandler())
_COLUMN = "see the status column"  # what the commands say at the end of a table
_NAMED = 5  # layers in a warning


class CurvcliWarning(UserWarning):
    """Results are there, but not all is well: not converged, not finite, incomplete; the text says what."""


@dataclass
class QuietVoice:
    """Progress and notes on standard error if ``verbose``; warnings are collected, to be issued at the end."""

    verbose: bool = False
    collected: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """A line on standard error."""
        text = clean(in_python(text))
        _LOG.info(text)
        if self.verbose:
            sys.stderr.write(f"{text}\n")

    def detail(self, text: str) -> None:
        """Only for the log."""
        _LOG.debug(clean(in_python(text)))

    def warn(self, text: str) -> None:
        """Keep it."""
        self.collected.append(in_python(text))

    @contextmanager
    def progress(self, total: int, unit: str = "passes") -> Iterator[Meter]:
        """A line per phase."""
        yield LineMeter(self.note, total, unit)

    def issue(self, report: Report | None, stacklevel: int) -> None:
        """Issue what was collected, as if the caller's caller at this level had done so.

        Args:
            report: names the layers where the text sends its reader to a table, of which there is none here.
            stacklevel: as of `warnings.warn`.
        """
        for text in self.collected:
            shown = text if report is None else text.replace(_COLUMN, _troubled(report))
            warnings.warn(shown, CurvcliWarning, stacklevel=stacklevel + 1)
        self.collected.clear()


def _troubled(report: Report) -> str:
    """The layers that did not end well."""
    names = [row.name for row in report.layers if row.status != "done"]
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
