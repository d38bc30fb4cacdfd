"""What a notebook is told: nothing unless asked for, and warnings as Python's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from curvcli.cli.console import Voice


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

    def issue(self, stacklevel: int) -> None:
        """Issue what was collected, as if the caller's caller at this level had done so."""
        for text in self.collected:
            warnings.warn(text, CurvcliWarning, stacklevel=stacklevel + 1)
        self.collected.clear()
