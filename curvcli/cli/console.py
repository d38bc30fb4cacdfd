"""Talks to the person: log lines and progress on stderr; nothing here touches stdout."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column

from curvcli.analysis.progress import LineMeter, Meter
from curvcli.cli.meters import BarMeter
from curvcli.text import clean
from curvcli.wording import in_shell

# Every message goes here too, whatever -q and -v let through: --log-file keeps it.
LOG = logging.getLogger("curvcli")
LOG.addHandler(logging.NullHandler())


def stderr_console() -> Console:
    """Where everything but results goes; rich honours NO_COLOR, FORCE_COLOR and TERM=dumb."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass
class Voice:
    """How much is shown: ``level`` is -1 with -q, 0, 1 with -v, 2 with -vv."""

    level: int = 0
    console: Console = field(default_factory=stderr_console)

    def note(self, text: str) -> None:
        """Say what most people want to know."""
        text = clean(in_shell(text))
        LOG.info(text)
        if self.level >= 0:
            self.console.print(text, markup=False)

    def detail(self, text: str) -> None:
        """What is shown with -v."""
        text = clean(in_shell(text))
        LOG.debug(text)
        if self.level >= 1:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """What is shown even with -q."""
        text = clean(in_shell(text))
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
                BarMeter.column(),
            )
            with Progress(*columns, console=self.console, transient=True, expand=True) as bar:
                yield BarMeter(bar, total)
        else:
            yield LineMeter(self.note, total, unit)
