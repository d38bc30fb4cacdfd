"""Output that nobody reads, that is closed, or that has no room: never exit code 1, which is a failed check's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "sample_models" / "poisson_tanh.pt"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which CURVCLI stands for the program, and end with the program's exit code."""
    line = line.replace("CURVCLI", f"{sys.executable} -m curvcli").replace("MODEL", str(MODEL))
    words = ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"]
    return subprocess.run(words, check=False, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "line",
    [
        "CURVCLI trace MODEL -o r.h5 --limit 8 -v 2>&1 >/dev/null | head -1",  # in the middle of the work
        "(sleep 1; exec CURVCLI nope) 2>&1 | true",  # in an error message
        "(sleep 1; exec CURVCLI completion bash) | true",
    ],
)
def test_a_reader_that_goes_away(line: str, tmp_path: Path) -> None:
    """Of standard output or standard error."""
    assert shell(line, tmp_path).returncode == 141


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("CURVCLI completion bash >&-", 0),
        ("CURVCLI nope 2>&-", 2),
        ("CURVCLI nope 2>/dev/full", 2),
        ("CURVCLI nope 2</dev/null", 2),  # open, but not to be written
        ("CURVCLI trace none.pt 2>/dev/full", 2),
        ("CURVCLI trace MODEL -o r.h5 --limit 8 2>/dev/full", 0),
        ("CURVCLI trace MODEL -o r.h5 --limit 8 --log-file /dev/full 2>&-", 0),
    ],
)
def test_closed_streams(line: str, code: int, tmp_path: Path) -> None:
    """Closed, full or read-only: the exit code is what it would be."""
    assert shell(line, tmp_path).returncode == code


def test_no_room(tmp_path: Path) -> None:
    """Said in a line, and no bug."""
    done = shell("CURVCLI completion bash > /dev/full", tmp_path)
    assert done.returncode == 3
    assert done.stderr == "Error: can't write the output: No space left on device.\n"
