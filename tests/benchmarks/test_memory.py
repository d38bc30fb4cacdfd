"""``--memory-limit`` is kept by every command, in both frameworks, at five million parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("memory.py")


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_no_command_takes_more_than_a_tenth_above_its_limit(framework: str) -> None:
    """The peak is the system's word; what does not fit is refused in a line that names the limit (exit code 2)."""
    words = [sys.executable, str(SCRIPT), "--framework", framework]
    table = subprocess.run(words, capture_output=True, text=True, check=True, timeout=1800).stdout
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()[2:]]
    assert len(rows) > 8
    for _, command, _, _, _, ratio, code, _, said in rows:
        assert float(ratio) <= 1.10, f"{command}: {ratio}"
        assert code in ("0", "4") or (code == "2" and "--memory-limit" in said), f"{command}: {code} {said}"
