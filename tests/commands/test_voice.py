"""What is said while a command works: bars on a terminal, lines elsewhere, everything in a log file."""

from __future__ import annotations

import os
import pty
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from fuzzing.runner import Server

from .conftest import Curvcli


@pytest.fixture
def on_a_terminal(server: Server) -> Callable[..., str]:
    """``on_a_terminal(folder, "diag", …)``: what a person's terminal gets, as the bytes come."""

    def call(folder: Path, *words: str, columns: int = 100, env: dict[str, str] | None = None) -> str:
        master, slave = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", **(env or {})}
        pieces: list[bytes] = []
        reader = threading.Thread(target=read_all, args=(master, pieces))
        reader.start()
        ended = server.run(words, folder, environment, terminal=os.ttyname(slave), bytes=1 << 40)
        os.close(slave)
        reader.join()
        os.close(master)
        assert ended.code == 0
        return b"".join(pieces).decode()

    return call


def read_all(master: int, pieces: list[bytes]) -> None:
    """Until the other end is closed, which Linux calls an error."""
    with suppress(OSError):
        while piece := os.read(master, 1 << 16):
            pieces.append(piece)


def test_a_terminal_shows_a_bar_for_all_and_one_per_phase(work: Path, on_a_terminal: Callable[..., str]) -> None:
    """With the layer and the method, and nothing left of them at the end."""
    said = on_a_terminal(work, "diag", "model.pt")
    assert "in all" in said
    assert "gauss_newton" in said
    assert "passes" in said
    assert "[0/" not in said


def test_no_color_and_sixty_columns(work: Path, on_a_terminal: Callable[..., str]) -> None:
    """No colour, and no bar or row that is wider than the window; sentences are the terminal's to wrap."""
    said = on_a_terminal(work, "diag", "model.pt", columns=60, env={"NO_COLOR": "1"})
    assert not re.findall(r"\x1b\[(?:\d+;)*3\dm", said)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    wide = [line for part in plain.split("\r") for line in part.splitlines() if len(line.rstrip()) > 60]
    sentences = ("too narrow for: ", "12 passes were for checks of the results", "done: ")
    assert all(line.startswith(sentences) for line in wide), wide


def test_a_pipe_gets_lines(work: Path, curvcli: Curvcli) -> None:
    """One per phase on standard error, results alone on standard output."""
    done = curvcli("diag", "model.pt")
    assert re.search(r"^\[0/\d+ passes\] loss and gradient, 2 layers$", done.stderr, re.MULTILINE)
    assert "passes]" not in done.stdout


def test_a_log_file_keeps_what_is_not_shown(work: Path, curvcli: Curvcli) -> None:
    """With times, appended, errors and their origin included."""
    quiet = curvcli("diag", "model.pt", "-q", "--log-file", "run.log")
    assert quiet.returncode == 0
    assert quiet.stderr == ""
    wrong = curvcli("diag", "model.pt", "--layer", "three", "--log-file", "run.log")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    log = (work / "run.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO curvcli diag model.pt -q --log-file run.log$", log, re.M)
    assert "gauss_newton" in log
    assert "report model.pt.diag.h5" in log
    assert "Traceback" in log
    assert "ERROR Error: No layer matches 'three'" in log


def test_a_log_file_that_cannot_be_written(work: Path, curvcli: Curvcli) -> None:
    """Said before any work."""
    done = curvcli("diag", "model.pt", "--log-file", "nowhere/run.log")
    assert done.returncode == 2
    assert "--log-file nowhere/run.log" in done.stderr


def test_a_plan_in_a_narrow_window(work: Path, on_a_terminal: Callable[..., str]) -> None:
    """Dispensable columns are left out and named, and each reason wraps in its own column."""
    said = on_a_terminal(work, "layers", "model.pt", "--plan", columns=60)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in said.splitlines() if line.strip()]
    assert all(len(line) <= 60 for line in lines if not line.startswith("too narrow for: "))
    (first,) = [i for i, line in enumerate(lines) if line.split()[:2] == ["two", "weight"]]
    assert "gauss_newton" in lines[first]
    assert lines[first].endswith("all after it is piecewise")
    assert lines[first + 1].strip().startswith("linear; one pass")
    assert any(line.startswith("too narrow for: kind") for line in lines)
