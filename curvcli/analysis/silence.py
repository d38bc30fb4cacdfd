"""Says nothing, where what there is to say has been said, or will be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from curvcli.analysis.progress import Meter


class Silence:
    """See ``Voice``."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def detail(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def progress(self, total: int, unit: str = "passes") -> Iterator[Meter]:
        """Count, and show nothing."""
        yield Meter(total)


SILENCE: Final = Silence()
