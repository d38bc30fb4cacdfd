"""A format of saved models is a file of its own: what differentiates knows none of them."""

from __future__ import annotations

import ast
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from curvcli.models.open import FORMATS, Format, format_of

MODELS = Path(__file__).parents[2] / "curvcli" / "models"
# What only one format needs: how its files are read and checked, and its own form of a computation.
OF_A_FORMAT = {
    "torch": {
        "torchscript": {"archive", "source", "storages", "scripted", "rewrite", "placed"},
        "exported": set(),  # its own files are the folder pt2/
    },
    "tensorflow": {
        "savedmodel": {"sanitised", "allowed", "version1"},
        "keras_file": {"keras_archive", "keras_config"},
    },
}


def imported(path: Path, backend: str) -> set[str]:
    """The files of the same adapter that a file imports."""
    package = f"curvcli.models.{backend}"
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    modules = {node.module for node in nodes if node.module and node.module.startswith(f"{package}.")}
    return {module.removeprefix(f"{package}.") for module in modules}


@pytest.mark.parametrize("backend", OF_A_FORMAT)
def test_what_differentiates_knows_no_format(backend: str) -> None:
    """Only a format's own files import its reader: another format needs none of them changed."""
    formats = OF_A_FORMAT[backend]
    of_formats = {name for format_, files in formats.items() for name in (format_, *files)}
    files = {path.stem: imported(path, backend) for path in (MODELS / backend).glob("*.py")}
    assert of_formats <= files.keys()
    assert {
        name: found for name, others in files.items() if name not in of_formats and (found := others & of_formats)
    } == {}
    for format_, own in formats.items():
        others = of_formats - own - {format_}
        assert {name for name in (format_, *own) if files[name] & others} == set()


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.module)
def test_every_format_has_a_file_that_opens_it(one: Format) -> None:
    """The list names a file of the framework's adapter; mypy holds its function to the protocol."""
    opened = import_module(f"curvcli.models.{one.backend}.{one.module}").opened
    found = signature(opened)
    parameters = ["path", "device", "dtype", *(["choice"] if one.several else [])]
    assert (list(found.parameters), found.return_annotation) == (parameters, "Model")


def test_a_format_with_a_suffix_is_tried_before_the_one_that_takes_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line in the list is all that recognising another format takes."""
    (tmp_path / "m.pt2").write_bytes(b"")
    (tmp_path / "m.pt").write_bytes(b"")
    exported = Format("an exported program", "torch", "exported", suffixes=(".pt2",))
    monkeypatch.setattr("curvcli.models.open.FORMATS", (exported, *FORMATS))
    assert format_of(tmp_path / "m.pt2") is exported
    assert format_of(tmp_path / "m.pt").module == "torchscript"
