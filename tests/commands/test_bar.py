"""A bar on a terminal says what its clock counts."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from curvcli.cli.meters import BarMeter


@pytest.mark.parametrize(("left", "shown"), [("about 3 min 0 s", "about 3 min 0 s left"), ("", "")])
def test_the_time_left_is_called_so(left: str, shown: str) -> None:
    """And nothing stands there where nothing is known."""
    with Progress(BarMeter.column(), console=Console(file=io.StringIO())) as bar:
        bar.add_task("products", total=2, left=left)
        assert str(BarMeter.column().render(bar.tasks[0])) == shown
