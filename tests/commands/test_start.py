"""What happens before any work: help, imports, spec look-up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, SPEC, Curvcli

FRAMEWORKS = {"torch", "tensorflow", "keras"}


@pytest.mark.parametrize("command", ["init", "diag", "inputs", "split", "check", "layers", "show", "env"])
def test_every_command_has_help_and_stands_in_the_tour(command: str, curvcli: Curvcli) -> None:
    """--help works for each, and the tour shows its use."""
    done = curvcli(command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert f"curvcli {command}" in (ROOT / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("words", [["--help"], ["diag", "--help"], ["show", "missing.h5"], ["--version"]])
def test_no_framework_is_imported_before_it_is_needed(words: list[str]) -> None:
    """Help and show run without torch and TensorFlow."""
    code = (
        "import sys; from curvcli.cli.main import run; run(sys.argv[1:]);"
        f"sys.exit(bool({FRAMEWORKS!r} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False).returncode == 0


def test_the_given_spec_wins_over_the_one_beside_the_model_and_that_over_the_folders(
    work: Path, curvcli: Curvcli
) -> None:
    """--data, then beside the model, then ./curvcli.toml; -v says which."""
    (work / "given.toml").write_text(SPEC)
    (work / "curvcli.toml").write_text(SPEC)
    assert "given.toml" in curvcli("diag", "model.pt", "-v", "--data", "given.toml").stderr
    assert "model.pt.toml" in curvcli("diag", "model.pt", "-v", "--force").stderr
    (work / "model.pt.toml").unlink()
    assert "curvcli.toml" in curvcli("diag", "model.pt", "-v", "--force").stderr


def test_layers_needs_no_data(work: Path, curvcli: Curvcli) -> None:
    """Names, kinds, shapes and counts come from the model alone; --plan adds methods."""
    (work / "data.npz").unlink()
    done = curvcli("layers", "model.pt", "--format", "csv")
    assert done.stdout.splitlines()[1] == "one,Linear,weight,6×4,24"
    assert curvcli("layers", "model.pt", "--plan").returncode == 2
