"""Signals held back while HDF5 writes through Python, where an exception from a handler would crash the process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Hold back every signal that has a Python handler, Ctrl-C above all, and deliver it on leaving.

    Python runs handlers in the main thread only, so anywhere else there is nothing to hold back.

    Yields:
        A function that delivers what has come in so far: to call where an exception does no harm.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    handlers = {number: handler for number in signal.valid_signals() if callable(handler := signal.getsignal(number))}
    pending: list[tuple[int, FrameType | None]] = []
    holding = True

    def hold(number: int, frame: FrameType | None) -> None:
        if holding:
            pending.append((number, frame))
        else:  # an exception has come between us and the restoring below
            handlers[signal.Signals(number)](number, frame)

    def deliver() -> None:
        while pending:
            number, frame = pending.pop(0)
            handlers[signal.Signals(number)](number, frame)

    try:
        for number in handlers:
            signal.signal(number, hold)
        yield deliver
    finally:
        holding = False
        for number, handler in handlers.items():
            signal.signal(number, handler)
        deliver()
