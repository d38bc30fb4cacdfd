"""Talks to the person: log lines and progress on stderr; nothing here touches stdout."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from curvcli.text import clean

# All that is said goes here too, whatever -q and -v let through: --log-file keeps it.
LOG = logging.getLogger("curvcli")
LOG.addHandler(logging.NullHandler())
# Without a terminal, a line at least this often tells a CI log that the job is alive.
_HEARTBEAT = 30.0


def stderr_console() -> Console:
    """Where everything but results goes; rich honours NO_COLOR, FORCE_COLOR and TERM=dumb."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass
class Voice:
    """How much is said: ``level`` is -1 with -q, 0, 1 with -v, 2 with -vv."""

    level: int = 0
    console: Console = field(default_factory=stderr_console)

    def note(self, text: str) -> None:
        """What a person would want to know."""
        text = clean(text)
        LOG.info(text)
        if self.level >= 0:
            self.console.print(text, markup=False)

    def detail(self, text: str) -> None:
        """What a person asks for with -v."""
        text = clean(text)
        LOG.debug(text)
        if self.level >= 1:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """What must be said even with -q."""
        text = clean(text)
        LOG.warning(text)
        self.console.print(text, markup=False)

    @contextmanager
    def progress(self, total: int, unit: str = "passes") -> Iterator[Meter]:
        """Show how much of ``total`` is done, in passes or other units."""
        if self.level >= 0 and self.console.is_terminal and not self.console.is_dumb_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False, table_column=Column(ratio=2, no_wrap=True)),
                BarColumn(bar_width=None, table_column=Column(ratio=1)),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            )
            with Progress(*columns, console=self.console, transient=True, expand=True) as bar:
                yield BarMeter(bar, total)
        else:
            yield LineMeter(self, total, unit)


class Meter:
    """Counts passes."""

    def __init__(self, total: int) -> None:
        """``total`` is what will be done in all."""
        self.total, self.done = total, 0

    def phase(self, text: str, passes: int | None = None) -> None:
        """Say what is being worked on, and how much of the total it is, if that is known."""

    def advance(self, passes: int) -> None:
        """Count passes."""
        self.done += passes

    def settle(self, done: int) -> None:
        """A piece of work has ended: correct the total by what it needed less, or more, than foretold."""
        self.total += self.done - done


class BarMeter(Meter):
    """On a terminal a bar for all, and below it one for the phase, each with the time left."""

    def __init__(self, bar: Progress, total: int) -> None:
        """``bar`` is running."""
        super().__init__(total)
        self._bar = bar
        self._all = bar.add_task("in all", total=total)
        self._phase = bar.add_task("", total=None, visible=False)
        self._begun = 0

    def phase(self, text: str, passes: int | None = None) -> None:
        """Begin a bar of its own; one that is all there is needs no second one."""
        text = clean(text)
        LOG.info(text)
        self._begun = self.done
        if passes is None:
            self._bar.update(self._all, description=text)
        self._bar.reset(self._phase, total=passes, description=text, visible=passes is not None)

    def advance(self, passes: int) -> None:
        """Move both bars."""
        super().advance(passes)
        self._bar.update(self._all, completed=self.done)
        self._bar.update(self._phase, completed=self.done - self._begun)

    def settle(self, done: int) -> None:
        """Change the bar's length."""
        super().settle(done)
        self._bar.update(self._all, total=self.total)


class LineMeter(Meter):
    """A plain line per phase, and one every half minute."""

    def __init__(self, voice: Voice, total: int, unit: str) -> None:
        """``voice`` decides whether anything is said at all."""
        super().__init__(total)
        self._unit = unit
        self._voice = voice
        self._start = self._last = time.monotonic()
        self._text = ""

    def phase(self, text: str, passes: int | None = None) -> None:
        """A line."""
        self._text = text = clean(text)
        self._voice.note(f"[{self.done}/{self.total} {self._unit}] {text}")
        self._last = time.monotonic()

    def advance(self, passes: int) -> None:
        """A line if the last one is long ago."""
        super().advance(passes)
        now = time.monotonic()
        if now - self._last >= _HEARTBEAT and self.done:
            left = (now - self._start) / self.done * max(0, self.total - self.done)
            self._voice.note(f"[{self.done}/{self.total} {self._unit}] {self._text}, about {duration(left)} left")
            self._last = now


def duration(seconds: float) -> str:
    """``95`` → ``1 min 35 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
