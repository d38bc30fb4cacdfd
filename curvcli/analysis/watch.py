"""The last resort: a process of curvcli's own ends soon after a signal, however long a framework's call takes.

Python runs a signal's handler between two of its own instructions, so never while a framework multiplies. A thread
hears of the signal at once; if the handler has not run shortly after, the thread does what is to be done and ends the
process. What was finished is on disk by then, and what was not is at most as old as the last state that was kept.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

# Seconds that work has to come to a look before the process is ended.
_PATIENCE = 1.5
_WORDS = {signal.SIGINT: "Interrupted.", signal.SIGTERM: "Terminated."}


class Watch:
    """Hears of SIGINT and SIGTERM in a thread of its own."""

    def __init__(self) -> None:
        self._acted = threading.Event()
        self._leave: Callable[[], None] = lambda: None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while entered; to be called in the main thread of a process that may be ended."""
        heard, written = os.pipe()
        os.set_blocking(written, False)
        handlers = {number: signal.getsignal(number) for number in _WORDS}
        for number, handler in handlers.items():
            signal.signal(number, self._handle(handler))
        earlier = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(heard,), daemon=True).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(earlier)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(written)

    @contextmanager
    def leaving(self, leave: Callable[[], None]) -> Iterator[None]:
        """While entered, ``leave`` is called, in the thread, before the process is ended."""
        earlier, self._leave = self._leave, leave
        try:
            yield
        finally:
            self._leave = earlier

    def _handle(self, handler: Any) -> Callable[[int, FrameType | None], None]:
        def handled(number: int, frame: FrameType | None) -> None:
            self._acted.set()
            if callable(handler):
                handler(number, frame)

        return handled

    def _listen(self, heard: int) -> None:
        while data := os.read(heard, 1):
            if data[0] in _WORDS and not self._acted.wait(_PATIENCE):
                self._end(data[0])
        os.close(heard)

    def _end(self, number: int) -> None:
        try:
            with suppress(Exception):
                self._leave()
            with suppress(Exception):
                sys.stderr.write(f"{_WORDS[signal.Signals(number)]}\n")
                sys.stderr.flush()
        finally:
            os._exit(128 + number)


WATCH = Watch()
