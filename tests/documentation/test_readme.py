"""README's snippets run as they stand, and what it shows is what comes out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from curvcli.cli.main import run

from .conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in FENCED.findall(README) if kind == language]


@pytest.mark.usefixtures("fresh_keras")
@pytest.mark.filterwarnings("ignore")
def test_from_a_notebook_to_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keras, then PyTorch, then in a shell what PyTorch's snippet has saved."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"README.md, block {number}", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "sequential/dense/kernel (4, 16) True" in printed
    assert re.search(r"^0 \S+ True$", printed, re.MULTILINE)
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curvcli ")]
    assert [line.split()[1] for line in lines] == ["init", "diag", "plot"]
    for line in lines:
        assert run(line.split()[1:]) == 0, line
    assert (tmp_path / "net.pt2.diag.html").exists()


def test_the_table_is_what_comes_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """But for what rounding moves: the last column but two is a difference of rounding errors."""
    shown = next(text for text in blocks("console") if text.startswith("$ curvcli diag"))
    first, *expected = shown.splitlines()
    monkeypatch.chdir(ROOT)
    assert run([*first.split()[2:], "-o", str(tmp_path / "r.h5")]) == 0
    printed = capsys.readouterr().out.splitlines()[-len(expected) :]
    assert [line.split()[:8] for line in printed] == [line.split()[:8] for line in expected]


def test_it_is_an_introduction() -> None:
    """Short, and every page of the documentation is named in it."""
    assert len(README.splitlines()) < 150
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\(docs/([\w-]+\.md)\)", README)) == pages
