"""Bars on a terminal: how much of a run is done, and how long the rest takes."""

from __future__ import annotations

import logging

from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from curvcli.analysis.progress import Meter
from curvcli.text import clean

_LOG = logging.getLogger("curvcli")


class _Left(ProgressColumn):
    """The time left that the meter says."""

    def render(self, task: Task) -> Text:
        left = str(task.fields.get("left", ""))
        return Text(f"{left} left" if left else "")


class BarMeter(Meter):
    """On a terminal a bar for all, and below it one for the phase, each with the time left."""

    def __init__(self, bar: Progress, total: int) -> None:
        """``bar`` is running."""
        super().__init__(total)
        self._bar = bar
        self._all = bar.add_task("in all", total=total)
        self._phase = bar.add_task("", total=None, visible=False)
        self._begun = 0

    @staticmethod
    def column() -> ProgressColumn:
        """The column that shows the time left."""
        return _Left()

    def phase(self, text: str, passes: int | None = None, *, at_most: bool = False, comparable: bool = True) -> None:
        """Begin a bar of its own; one that is all there is needs no second one."""
        super().phase(text, passes, at_most=at_most, comparable=comparable)
        text = clean(text)
        _LOG.info(text)
        self._begun = self.done
        if passes is None:
            self._bar.update(self._all, description=text)
        self._bar.reset(self._phase, total=passes, description=text, visible=passes is not None, left="")

    def advance(self, passes: int) -> None:
        """Move both bars."""
        super().advance(passes)
        self._show()

    def resume(self, passes: int) -> None:
        """Move both bars."""
        super().resume(passes)
        self._show()

    def _show(self) -> None:
        self._bar.update(self._all, completed=self.done, left=self.left())
        self._bar.update(self._phase, completed=self.done - self._begun, left=self.left_of_phase())

    def settle(self, done: int) -> None:
        """Change the bar's length."""
        super().settle(done)
        self._bar.update(self._all, total=self.total)
