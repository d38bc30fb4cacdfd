"""docs/export.md runs as it stands, and what it saves is opened with the names that it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curvcli.models.open import open_model

pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_the_page_saves_is_opened(
    blocks: Callable[[str, str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its blocks, in order, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for number, block in enumerate(blocks("export.md", "python")):
        exec(compile(block, f"docs/export.md, block {number}", "exec"), namespace)
    found = {}
    for path in sorted(tmp_path.glob("*.pt2")):
        model = open_model(path)
        found[path.stem] = [layer.name for layer in model.layers], [port.name for port in model.inputs]
    assert found == {
        "classifier": (["table", "head"], ["input_ids", "attention_mask"]),
        "energy": (["layer"], ["x", "y"]),
        "model": (["0", "3"], ["input"]),
    }
    assert [port.name for port in open_model(Path("classifier.pt2")).outputs] == ["logits"]
