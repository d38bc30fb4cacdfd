"""Rooms below the command line name options by `curvcli.wording`, for their reader may be a caller in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import curvcli as package
from curvcli.wording import in_python, in_shell, option

from .structure import ROOMS, ROOT

BELOW = [name for name in ROOMS if name != "cli"]
# As typed; a property of a style sheet is followed by a colon or stands in var().
TYPED = re.compile(r"(?<![\w(-])--[a-z][a-z-]*(?![\w-]*:)")


def texts(path: Path) -> Iterator[str]:
    """Every string of a file, docstrings and the parts of f-strings included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# They say how a value came about, or nothing; a noun says what it is.
SAYS_NOTHING = frozenset(
    """asked found given got info known mine obj piece pieces res rest result results ret said seen setting settings
    stuff temp theirs thing things tmp val""".split()
)


def test_local_names_say_what_they_hold() -> None:
    """Of parameters, and of all that is assigned."""
    package_files = {path.relative_to(ROOT / "curvcli").as_posix(): path for path in (ROOT / "curvcli").rglob("*.py")}
    wrong = []
    for place, path in package_files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            name = node.arg if isinstance(node, ast.arg) else node.id if stored else ""
            if name in SAYS_NOTHING:
                wrong.append(f"{place}:{node.lineno}: {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", BELOW)
def test_no_text_below_the_command_line_spells_an_option(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in (ROOT / "curvcli" / room).rglob("*.py")
        for text in texts(path)
        if (found := TYPED.search(text))
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("marked", "shell", "python"),
    [
        (option("memory_limit"), "--memory-limit", "memory_limit="),
        (option("dtype", "float64"), "--dtype float64", "dtype='float64'"),
        (option("layer", "conv*"), "--layer 'conv*'", "layer='conv*'"),
        (option("k", 3), "-k 3", "k=3"),
        (option("verify", False), "--no-verify", "verify=False"),
        (option("force", True), "--force", "force=True"),
        (option("of", "a\x0e\x1f\x0f"), "--of 'a���'", "of='a\\x0e\\x1f\\x0f'"),
    ],
)
def test_an_option_is_spelled_for_its_reader(marked: str, shell: str, python: str) -> None:
    """Whatever stands in its value."""
    assert in_shell(f"use {marked}, or {marked}") == f"use {shell}, or {shell}"
    assert in_python(f"use {marked}, or {marked}") == f"use {python}, or {python}"


def test_an_error_speaks_to_the_shell_unless_python_called() -> None:
    error = package.UsageError(f"use {option('dtype', 'float64')}")
    assert str(error) == "use --dtype float64"
    error.speak_python()
    assert str(error) == "use dtype='float64'"
