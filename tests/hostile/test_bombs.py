"""Small SavedModels that would take all memory, or never end, are refused in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curvcli.cli.main import run

from . import bombs


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (bombs.doubling, "more than 5,000,000 operations"),
        (bombs.calling_itself, "calls itself"),
        (bombs.large_constant, "the constants in its graph: takes 36.4 TiB"),
        (bombs.disguised, "has the name of an operation (WriteFile)"),
    ],
)
def test_a_graph_that_explodes(
    edit: Callable[[Any], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found by counting, before TensorFlow writes anything out."""
    assert run(["layers", str(bombs.edited(tmp_path, edit))]) == 3
    assert said in capsys.readouterr().err


def test_the_model_they_are_made_of_is_opened(tmp_path: Path) -> None:
    """The control."""
    assert run(["layers", str(bombs.honest(tmp_path))]) == 0
