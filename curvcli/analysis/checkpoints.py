"""Runs a computation so that neither Ctrl-C nor a kill costs more than its last seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from curvcli.analysis.interrupt import StopRequest
from curvcli.analysis.progress import Meter, Voice
from curvcli.engine.interface import Engine
from curvcli.engine.work import Work
from curvcli.models.base import Array

# The state of a computation is put on disk this often: what a kill -9 can cost, in seconds.
_CHECKPOINT = 20.0
# But writing takes no more than this share of the time.
_WRITING = 0.1
# A state that takes longer to write, in seconds, is not written once more when asked to stop.
_PROMPT = 2.0


class Keeper(Protocol):
    """Keeps the states of computations by their keys."""

    def progress(self, key: str) -> Mapping[str, Array] | None:
        """What is kept of a computation; None if nothing."""
        ...

    def save_progress(self, key: str, state: Mapping[str, Array]) -> None:
        """Keep how far a computation has come."""
        ...

    def drop_progress(self, key: str) -> None:
        """Forget a computation."""
        ...


def run_resumable(parts: Keeper, work: Work[Any], engine: Engine, meter: Meter, voice: Voice) -> None:
    """Do what is left of some work, keeping its state now and then, and when asked to stop.

    Raises:
        ReportError: the kept state is not one of this work.
        KeyboardInterrupt: Ctrl-C, after the state was kept.
        Interrupted: SIGTERM, likewise.
    """
    saved = parts.progress(work.key)
    if saved is not None:
        done = work.restore(saved)
        meter.resume(done)
        voice.note(f"resuming {work.title} after {done} passes")
    last = time.monotonic()
    pause, writing = _CHECKPOINT, 0.0

    def on_step(passes: int) -> None:
        nonlocal last, pause, writing
        meter.advance(passes)
        now = time.monotonic()
        if now - last > pause or (stop.requested and writing < _PROMPT):
            parts.save_progress(work.key, work.state())
            last = time.monotonic()
            writing = last - now
            pause = max(_CHECKPOINT, writing / _WRITING)
        stop.raise_if_requested()

    with StopRequest() as stop:
        work.run(engine, on_step)
