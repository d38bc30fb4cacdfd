"""docs/python.md and the docstrings of the Python functions run as they stand."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

import curvcli

from .conftest import ROOT

EXAMPLES = """activations check check_rules compare coupling density diagonal eigenvalues evidence hessian init inputs
open_model plot read_report run sensitivity sharpness slice split trace""".split()


def test_the_blocks_of_the_document_run_in_order(
    blocks: Callable[[str, str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One after another in one namespace, from a folder that holds the sample models."""
    (tmp_path / "sample_models").symlink_to(ROOT / "sample_models")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for number, block in enumerate(blocks("python.md", "python")):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), namespace)
    said = capsys.readouterr()
    assert "fc1 Linear" in said.out
    assert "curvcli diag --layer fc3 --limit 64 --output fc3.h5 sample_models/mlp_tanh.pt" in said.out
    assert "No layer matches 'conv1'" in said.out
    assert not said.err
    assert (tmp_path / "fc3.html").exists()


def test_the_page_on_init_runs(
    blocks: Callable[[str, str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On sklearn's digits of 17 grey levels, whose scale nothing decides."""
    (tmp_path / "sample_models").symlink_to(ROOT / "sample_models")
    monkeypatch.chdir(tmp_path)
    for block in blocks("init.md", "python"):
        exec(compile(block, "docs/init.md", "exec"), {})
    assert capsys.readouterr().out.startswith("digits.toml []\ninputs.image.scale 1/16 ")


def test_the_document_names_everything_that_is_exported() -> None:
    """Nothing public is undocumented, here and in its own docstring."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in set(curvcli.__all__) - {"GuessedSpec", "Model", "Plots", "Report", "Results"}:
        assert name in text, name
    assert all(inspect.getdoc(getattr(curvcli, name)) for name in curvcli.__all__)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_in_a_docstring_is_true(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every function has one."""
    monkeypatch.chdir(ROOT)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(curvcli, name), name)
    assert example.examples
    result = doctest.DocTestRunner().run(example)
    assert result.failed == 0
