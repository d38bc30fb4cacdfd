"""Killed runs, resumed, have the bytes of uninterrupted ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kills.py")


def kills(*words: str, timeout: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_few_kills() -> None:
    """Inside layers and by the clock, of a run of several quantities."""
    kills("--count", "4", "--framework", "torch", "--only", "run", "--seed", "1", timeout=120)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_two_hundred_kills() -> None:
    """Of every command and method, in both frameworks."""
    kills("--count", "200", "--seed", "0", timeout=5400)
