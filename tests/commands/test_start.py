"""What happens before any work: help, imports, spec look-up, and what stands in which room."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, SPEC, Curvcli

FRAMEWORKS = {"torch", "tensorflow", "keras"}
PROTOCOLS = ("curvcli.models.base", "curvcli.models.pointwise")
# What all rooms may use: errors, and files, memory and text of others.
FOUNDATIONS = ("curvcli.errors", "curvcli.memory", "curvcli.files", "curvcli.arrays", "curvcli.toml", "curvcli.text")


@pytest.mark.parametrize("command", ["diag", "inputs", "split", "check", "layers", "show", "env"])
def test_every_command_has_help_and_stands_in_the_readme(command: str, curvcli: Curvcli) -> None:
    """--help works for each, and the README shows its use."""
    done = curvcli(command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert f"curvcli {command}" in (ROOT / "README.md").read_text()


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


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def rooms(name: str) -> dict[Path, set[str]]:
    return {path: imported(path) for path in (ROOT / "curvcli" / name).rglob("*.py")}


@pytest.mark.parametrize("room", ["spec", "data", "report", "curvature", "engine", "cli"])
def test_no_framework_outside_the_adapters(room: str) -> None:
    """Only models/ imports torch or TensorFlow."""
    for path, names in rooms(room).items():
        assert not {n.split(".")[0] for n in names} & FRAMEWORKS, path


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("curvature", ("curvcli.curvature", *PROTOCOLS, "curvcli.errors")),
        ("report", ("curvcli.report", *FOUNDATIONS, "curvcli")),
        ("spec", ("curvcli.spec", *FOUNDATIONS)),
        ("data", ("curvcli.data", "curvcli.spec", *FOUNDATIONS)),
        ("engine", ("curvcli.engine", "curvcli.curvature", *PROTOCOLS, "curvcli.errors")),
    ],
)
def test_imports_run_one_way(room: str, allowed: tuple[str, ...]) -> None:
    """A room knows only the rooms below it."""
    for path, names in rooms(room).items():
        for name in names:
            if name.split(".")[0] == "curvcli":
                fits = any(name == a or (a != "curvcli" and name.startswith(f"{a}.")) for a in allowed)
                assert fits, f"{path} imports {name}"


@pytest.mark.parametrize("name", FOUNDATIONS)
def test_what_all_rooms_share_knows_no_room(name: str) -> None:
    """Files, memory, text: each stands on errors and on the others alone."""
    path = ROOT / f"{name.replace('.', '/')}.py"
    assert {n for n in imported(path) if n.split(".")[0] == "curvcli"} <= set(FOUNDATIONS)


def test_the_adapters_never_see_each_other() -> None:
    """No torch module imports a TensorFlow one, or the other way round."""
    for own, other in (("torch", "tensorflow"), ("tensorflow", "torch")):
        for path, names in rooms(f"models/{own}").items():
            for name in names:
                assert not name.startswith((f"curvcli.models.{other}", other)), f"{path} imports {name}"
