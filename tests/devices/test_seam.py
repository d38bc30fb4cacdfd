"""All that crosses between a device and this machine's memory goes by way of one file."""

from __future__ import annotations

import re

from .figures import ROOT

TORCH = ROOT / "curvcli" / "models" / "torch"
MOVES = re.compile(r"\.cpu\(|\.item\(|\.numpy\(|torch\.from_numpy\(|\.new_tensor\(|torch\.as_tensor\(|torch\.tensor\(")
# These read files, or save live models, before anything is on a device.
BESIDE = {"bus.py", "live_module.py", "live_program.py", "live_script.py"}


def test_nothing_else_moves_numbers() -> None:
    """But for what reads a file, before there is a device."""
    others = [path for path in TORCH.rglob("*.py") if path.name not in BESIDE and "pt2" not in path.parts]
    assert len(others) > 50
    assert not [(path.name, found) for path in others for found in MOVES.findall(path.read_text())]
