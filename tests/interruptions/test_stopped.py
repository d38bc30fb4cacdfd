"""A run that is stopped in the middle says so, goes on from there, and ends in the uninterrupted report's bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("stopped.py")
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}
CASES = [*(f"diag {name}" for name in CODES), "trace SIGINT", "eigs SIGINT", "density SIGINT", "samples SIGINT"]


@pytest.fixture(scope="module")
def stopped() -> dict[str, Any]:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    assert sorted(results) == sorted(CASES)
    return results


@pytest.mark.parametrize("name", CASES)
def test_a_stopped_run_resumes_in_the_middle_and_ends_in_the_same_bytes(name: str, stopped: dict[str, Any]) -> None:
    """By any signal; between probes, Lanczos products or columns the state is kept."""
    case = stopped[name]
    signal = name.split()[1]
    assert case["codes"] == [CODES[signal], 0], case
    assert any(part.startswith("work-") for part in case["parts"])
    assert ("again" in case["stopped"]) == (signal != "SIGKILL")
    assert "resuming" in case["resumed"]
    assert case["bytes"] == case["whole"]
    assert case["cleared"]
