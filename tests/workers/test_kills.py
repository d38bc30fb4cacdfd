"""Runs with workers, of which one is killed or the run itself, end in the bytes of uninterrupted ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kills.py")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_twenty_kills_of_each_command(framework: str) -> None:
    """A worker at twenty random moments, and the run at twenty."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--framework", framework], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
