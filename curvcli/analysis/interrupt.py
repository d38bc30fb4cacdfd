"""Ctrl-C and SIGTERM, held until a step is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class StopRequest:
    """While entered, the first SIGINT or SIGTERM only raises a flag; a second one is handled at once.

    Between two steps the sums of a computation are whole and can be kept; in the middle of one they can't. Whoever
    handled the signal before still does, only later: Ctrl-C by raising KeyboardInterrupt, SIGTERM on the command line
    by raising Interrupted. Signals that no Python function handles, or that are ignored, are left alone. Python runs
    handlers in the main thread only, so in any other there is nothing to hold.
    """

    def __init__(self) -> None:
        self._pending: tuple[int, FrameType | None] | None = None
        self._earlier: dict[int, Callable[[int, FrameType | None], Any]] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop after this step."""
        return self._pending is not None

    def raise_if_requested(self) -> None:
        """Hand a signal on to whoever handled it before; one that stops the process raises.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            Interrupted: it was SIGTERM, on the command line.
        """
        if self._pending is not None:
            number, frame = self._pending
            self._pending = None
            self._earlier[number](number, frame)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._earlier[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        if kind is None:
            self.raise_if_requested()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.raise_if_requested()
        self._pending = number, frame
