"""Models that would touch files are refused before any part of them runs, by every command that opens one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from curvcli.cli.main import run

from . import saved_models, torchscripts


def refused(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``layers`` and ``diag`` end with 3 and a reason."""
    np.savez(folder / "d.npz", x=np.ones((4, 2), np.float32), y=np.ones((4, 1), np.float32))
    spec = folder / "d.toml"
    spec.write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.x]\ncolumn = "x"\n[target]\ncolumn = "y"\n'
        '[loss]\nname = "mse"\n'
    )
    for command in (["layers", str(model)], ["diag", str(model), "--data", str(spec), "-o", str(folder / "r.h5")]):
        assert run(command) == 3
        assert "which curvcli does not run" in capsys.readouterr().err


@pytest.mark.parametrize("name", saved_models.BUILDS)
def test_a_saved_model_that_writes_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever the operation stands: in a loop, an unused function, an initialiser, a gradient."""
    target = tmp_path / "target" / "file"
    target.parent.mkdir()
    model = saved_models.save(name, str(target), tmp_path)
    refused(model, tmp_path, capsys)
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize("name", [*torchscripts.MODULES, *torchscripts.STATEMENTS])
def test_a_torchscript_that_touches_files_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In ``forward`` and ``__setstate__``, and however it is spelt."""
    target = tmp_path / "target"
    target.write_bytes(bytes(16))
    model = torchscripts.save(name, str(target), tmp_path)
    target.write_bytes(bytes(16))  # building it may run it
    refused(model, tmp_path, capsys)
    assert target.read_bytes() == bytes(16)


@pytest.mark.parametrize("name", torchscripts.MODULES)
def test_the_hostile_modules_are_hostile(name: str, tmp_path: Path) -> None:
    """Loaded and run by torch itself, each of them changes the file."""
    target = tmp_path / "target"
    target.write_bytes(bytes(16))
    model = torchscripts.save(name, str(target), tmp_path)
    target.write_bytes(bytes(16))
    with suppress(RuntimeError):  # what is not all there after it was loaded
        torch.jit.load(str(model))(torch.ones(1, 2))
    assert target.read_bytes() != bytes(16)
