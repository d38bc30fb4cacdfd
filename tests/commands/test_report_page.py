"""What docs/report.md shows of reading a report runs as it stands there, on a real one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Curvcli

FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*languages: str) -> list[str]:
    """The fenced blocks of the page."""
    page = (ROOT / "docs" / "report.md").read_text()
    return [text for language, text in FENCED.findall(page) if language in languages]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report that the tour of the commands makes, of fewer images."""
    path = tmp_path_factory.mktemp("readme") / "mlp.h5"
    words = ["diag", ROOT / "sample_models/mlp_tanh.pt", "-o", path, "--limit", 16, "-q"]
    subprocess.run([sys.executable, "-m", "curvcli", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture
def here(report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with that report in it."""
    (tmp_path / "mlp.h5").write_bytes(report.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_report_section_runs(here: Path, curvcli: Curvcli) -> None:
    """Its show and export commands too, which come first."""
    for line in "\n".join(blocks("console", "sh")).splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:2] in (["curvcli", "show"], ["curvcli", "export"]):
            words = words[: words.index("|")] if "|" in words else words
            done = curvcli(*words[1:])
            assert (done.returncode, done.stderr) == (0, ""), line
    names: dict[str, object] = {}
    found = blocks("python")
    assert found
    for text in found:
        exec(compile(text, "docs/report.md", "exec"), names)
    assert "h5py" in names
