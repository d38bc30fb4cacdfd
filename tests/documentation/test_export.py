"""docs/export.md runs as it stands, and what it saves is opened with the names that it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curvcli.models.open import open_model

pytestmark = pytest.mark.filterwarnings("ignore")
# Libraries whose recipes are run where they are installed.
LIBRARIES = ("transformers", "timm", "lightning")
SAVED = {
    "classifier.pt2": (["table", "head"], ["input_ids", "attention_mask"]),
    "energy.pt2": (["layer"], ["x", "y"]),
    "gated.pt": (["layer"], ["x"]),
    "line": (["slope", "shift"], ["x"]),
    "model.keras": (["dense", "dense_1"], ["input_layer"]),
    "model.pt2": (["0", "3"], ["input"]),
    "saved_model": (["sequential/dense", "sequential/dense_1"], ["keras_tensor"]),
}


def library(block: str) -> str | None:
    """Which of the libraries a block needs."""
    return next((name for name in LIBRARIES if re.search(rf"^(import|from) {name}\b", block, re.MULTILINE)), None)


def run(blocks: list[str], folder: Path) -> None:
    """In one namespace, as in a notebook; each from a file, since TorchScript reads its source."""
    namespace: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        path = folder / f"block_{number}.py"
        path.write_text(block, encoding="utf-8")
        exec(compile(block, str(path), "exec"), namespace)


@pytest.mark.usefixtures("fresh_keras")
def test_what_the_page_saves_is_opened(
    blocks: Callable[[str, str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks that need the frameworks alone, in order, in an empty folder."""
    saved = tmp_path / "saved"
    saved.mkdir()
    monkeypatch.chdir(saved)
    run([block for block in blocks("export.md", "python") if library(block) is None], tmp_path)
    opened = {path.name: open_model(path) for path in sorted(saved.iterdir())}
    names = {
        name: ([layer.name for layer in model.layers], [re.sub(r"_\d+$", "", port.name) for port in model.inputs])
        for name, model in opened.items()
    }
    assert names == SAVED
    assert [port.name for port in opened["classifier.pt2"].outputs] == ["logits"]


@pytest.mark.slow  # in the gate none of them is installed
@pytest.mark.parametrize("name", LIBRARIES)
def test_the_recipe_for_a_library(
    name: str, blocks: Callable[[str, str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its block, after the page's first."""
    pytest.importorskip(name)
    saved = tmp_path / "saved"
    saved.mkdir()
    monkeypatch.chdir(saved)
    first, *others = blocks("export.md", "python")
    (recipe,) = [block for block in others if library(block) == name]
    run([first, recipe], tmp_path)
    (path,) = [path for path in saved.iterdir() if path.name != "model.pt2"]
    assert open_model(path).layers
