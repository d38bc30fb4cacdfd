"""What a run says while it works: notes, and how much is done and how long the rest takes by what was measured."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from curvcli.text import clean

# Without a terminal, a line at least this often tells a CI log that the job is alive.
_HEARTBEAT = 30.0
# Seconds over which the pace of a phase is measured.
_WINDOW = 60.0


class Remarks(Protocol):
    """Takes what a run has to say; options in its sentences are marked by `curvcli.wording.option`."""

    def note(self, text: str) -> None:
        """Say what most people want to know."""
        ...

    def detail(self, text: str) -> None:
        """Say what only some want to know."""
        ...

    def warn(self, text: str) -> None:
        """Say what is shown in any case."""
        ...


class Voice(Remarks, Protocol):
    """Says too how much of a run is done."""

    def progress(self, total: int, unit: str = "passes") -> AbstractContextManager[Meter]:
        """While entered, a meter of work whose ``total`` is in passes or other units."""
        ...


class Pace:
    """Seconds per pass, measured; the first step of a phase is left out, for it traces and builds graphs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds."""
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()
        self._done = 0
        self._before = (0.0, 0)  # seconds and passes measured in earlier phases
        self._first: tuple[float, int] | None = None

    def begin(self) -> None:
        """Another phase, of a pace of its own."""
        self._before = self._measured()
        self._marks.clear()
        self._first, self._done = None, 0

    def advance(self, passes: int) -> None:
        """Count passes of this phase."""
        now = self._clock()
        self._done += passes
        self._first = self._first or (now, self._done)
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _WINDOW:
            self._marks.popleft()

    def _measured(self) -> tuple[float, int]:
        seconds, passes = self._before
        if self._first is not None and self._marks:
            seconds += self._marks[-1][0] - self._first[0]
            passes += self._marks[-1][1] - self._first[1]
        return seconds, passes

    @property
    def current(self) -> float | None:
        """Of this phase, lately; None before its second step."""
        if not self._marks or self._marks[-1][1] == self._marks[0][1]:
            return None
        return (self._marks[-1][0] - self._marks[0][0]) / (self._marks[-1][1] - self._marks[0][1])

    @property
    def typical(self) -> float | None:
        """Of all phases so far; None before anything was measured."""
        seconds, passes = self._measured()
        return seconds / passes if passes else None


class Meter:
    """Counts passes.

    Attributes:
        total: what will be done in all, as far as is known.
        done: what is done, by earlier runs too.
    """

    def __init__(self, total: int, pace: Pace | None = None) -> None:
        self.total, self.done = total, 0
        self.pace = pace or Pace()
        self._end: int | None = None
        self._at_most = False
        self._comparable = True

    def phase(self, text: str, passes: int | None = None, *, at_most: bool = False, comparable: bool = True) -> None:
        """Begin another phase.

        Args:
            text: what is being worked on, as a person reads it.
            passes: how much of the total it is, if that is known.
            at_most: what is left, this phase or a later one, may end earlier than the passes say.
            comparable: whether later phases' passes take about as long.
        """
        self.pace.begin()
        self._end = None if passes is None else self.done + passes
        self._at_most, self._comparable = at_most, comparable

    def advance(self, passes: int) -> None:
        """Count passes."""
        self.done += passes
        self.pace.advance(passes)

    def resume(self, passes: int) -> None:
        """Count passes that an earlier run has made: they took no time."""
        self.done += passes

    def settle(self, done: int) -> None:
        """A computation has ended: correct the total by what it needed less, or more, than planned."""
        self.total += self.done - done

    def left_of_phase(self) -> str:
        """How long the phase still takes; empty where nothing tells."""
        current = self.pace.current
        if current is None or self._end is None or self.done >= self._end:
            return ""
        return self._estimate((self._end - self.done) * current)

    def left(self) -> str:
        """How long all that is left takes, ``about 3 min 5 s``; empty where nothing tells.

        Where passes are only a bound it says ``at most``.
        """
        current, typical = self.pace.current, self.pace.typical
        phase = 0 if self._end is None else max(0, self._end - self.done)
        later = self.total - self.done - phase
        if current is None or typical is None or phase + later <= 0 or (later and not self._comparable):
            return ""
        return self._estimate(phase * current + later * typical)

    def _estimate(self, seconds: float) -> str:
        return f"{'at most' if self._at_most else 'about'} {duration(seconds)}"


class LineMeter(Meter):
    """A plain line per phase, and one every half minute."""

    def __init__(
        self,
        say: Callable[[str], None],
        total: int,
        unit: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``say`` takes a line."""
        super().__init__(total, Pace(clock))
        self._say, self._unit, self._clock = say, unit, clock
        self._last = clock()
        self._text = ""

    def phase(self, text: str, passes: int | None = None, *, at_most: bool = False, comparable: bool = True) -> None:
        """Begin another phase, with a line."""
        super().phase(text, passes, at_most=at_most, comparable=comparable)
        self._text = text = clean(text)
        self._say(f"[{self.done}/{self.total} {self._unit}] {text}")
        self._last = self._clock()

    def advance(self, passes: int) -> None:
        """Count passes, with a line if the last one is long ago."""
        super().advance(passes)
        now = self._clock()
        if now - self._last >= _HEARTBEAT and self.done:
            left = self.left()
            self._say(f"[{self.done}/{self.total} {self._unit}] {self._text}{f', {left} left' if left else ''}")
            self._last = now


def duration(seconds: float) -> str:
    """``95`` → ``1 min 35 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {remainder} s"
    return f"{minutes // 60} h {minutes % 60} min"
