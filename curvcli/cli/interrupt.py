"""Ctrl-C and SIGTERM, held until a step is whole."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

from curvcli.errors import Interrupted


class StopRequest:
    """While entered, the first SIGINT or SIGTERM only raises a flag; a second one stops at once.

    Between two steps the sums of a piece of work are whole and can be kept; in the middle of one they can't.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._signal: int | None = None
        self._earlier: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether to stop after this step."""
        return self._signal is not None

    def raise_if_asked(self) -> None:
        """Stop now, if asked.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            Interrupted: it was SIGTERM.
        """
        if self._signal is not None:
            raise KeyboardInterrupt if self._signal == signal.SIGINT else Interrupted

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self.raise_if_asked()
        self._signal = number
