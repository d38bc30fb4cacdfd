"""Reports of several workers and of Ray's actors are those of one process, in both frameworks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_reports_are_equal(framework: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'curvcli[ray]'")
    words = [sys.executable, str(Path(__file__).with_name("engines.py")), "--framework", framework]
    done = subprocess.run(words, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cluster_is_predicted() -> None:
    """It runs, and prints its assumptions; no time is compared with another."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'curvcli[ray]'")
    words = [sys.executable, str(Path(__file__).with_name("cluster.py")), "--repeat", "1", "--wait", "0.05"]
    table = subprocess.run(words, capture_output=True, text=True, check=True, timeout=1800).stdout
    assert "assumed: 138,357,544 parameters" in table
    assert "1,024" in table
