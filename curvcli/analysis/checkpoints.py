"""Runs a piece of work so that neither Ctrl-C nor a kill costs more than its last seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from curvcli.analysis.interrupt import StopRequest
from curvcli.analysis.progress import Meter, Voice
from curvcli.errors import ReportError
from curvcli.models.base import Array
from curvcli.report.hdf5.parts import Parts
from curvcli.wording import option

# The state of a piece of work is put on disk this often: what a kill -9 can cost, in seconds.
_CHECKPOINT = 20.0
# But writing takes no more than this share of the time.
_WRITING = 0.1
# A state that takes longer to write, in seconds, is not written once more when asked to stop.
_PROMPT = 2.0

Source_contra = TypeVar("Source_contra", contravariant=True)


class Resumable(Protocol[Source_contra]):
    """Work on an objective that can be put down after a step and taken up again.

    Attributes:
        key: names its saved state.
        title: as a person reads it.
    """

    key: str
    title: str

    def run(self, objective: Source_contra, on_step: Callable[[int], None]) -> None:
        """Do the rest; ``on_step`` is told the passes of each step."""
        ...

    def state(self) -> dict[str, Array]:
        """All there is to know."""
        ...

    def restore(self, state: dict[str, Array]) -> int:
        """Take up a state; returns about how many passes it stands for."""
        ...


def run_resumable(
    parts: Parts, work: Resumable[Source_contra], objective: Source_contra, meter: Meter, voice: Voice
) -> None:
    """Do what is left of some work, keeping its state now and then, and when asked to stop.

    Raises:
        ReportError: the kept state is not one of this work.
        KeyboardInterrupt: Ctrl-C, after the state was kept.
        Interrupted: SIGTERM, likewise.
    """
    saved = parts.progress(work.key)
    if saved is not None:
        done = _restored(work, saved)
        meter.resume(done)
        voice.note(f"resuming {work.title} after {done} passes")
    last = time.monotonic()
    pause, writing = _CHECKPOINT, 0.0

    def on_step(passes: int) -> None:
        nonlocal last, pause, writing
        meter.advance(passes)
        now = time.monotonic()
        if now - last > pause or (stop.asked and writing < _PROMPT):
            parts.save_progress(work.key, work.state())
            last = time.monotonic()
            writing = last - now
            pause = max(_CHECKPOINT, writing / _WRITING)
        stop.raise_if_asked()

    with StopRequest() as stop:
        work.run(objective, on_step)


def _restored(work: Resumable[Source_contra], state: Mapping[str, Array]) -> int:
    """Take up a state out of a file, which may be damaged in a way that only the work itself can tell."""
    try:
        return work.restore(dict(state))
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise ReportError(
            f"what was kept of {work.title} is damaged: use {option('resume', False)} to compute it anew"
        ) from error
