"""Actors and drivers that are killed at random moments change nothing, and nobody stays behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("ray_kills.py")


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("what", ["actor", "driver"])
def test_twenty_kills(what: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'curvcli[ray]'")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--what", what, "--count", "20"],
        capture_output=True,
        text=True,
        timeout=5400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
