"""What ``--help`` says: complete, with examples that can be typed, and as the documentation has it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from curvcli.cli.main import cli

from .reference import HOW, REFERENCE, command_names, loaded, root_context

ROOT = REFERENCE.parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# An example ends at a redirection, or at the explanation beside it.
EXAMPLE = re.compile(r"\s*(?:\$ )?(?:eval \"\$\()?(curvcli .*?)(?:\)\"|\s{2,}.*| >>? .*| \| .*| && .*|\s+#.*)?")
FENCE = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)

every_command = pytest.mark.parametrize("name", command_names())


def examples(text: str) -> list[str]:
    """The command lines in a text."""
    found = (EXAMPLE.fullmatch(line) for line in text.replace("\b", "").splitlines())
    return [match[1] for match in found if match]


def parse(example: str) -> None:
    """Let click read a command line without running it."""
    root = root_context()
    root.resilient_parsing = False
    words = shlex.split(example)[1:]
    if words and words[0].startswith("-"):
        return
    name, command, rest = cli.resolve_command(root, words)
    assert command is not None
    command.make_context(name, rest, parent=root)


def test_the_reference_says_what_help_says() -> None:
    """docs/cli.md is what the code makes of it now.

    In a process of its own: click keeps a command's help option from its first use, which another test may have made.
    """
    script = [sys.executable, str(Path(__file__).with_name("reference.py")), "--print"]
    now = subprocess.run(script, cwd=ROOT, capture_output=True, timeout=120, check=True).stdout.decode()
    assert REFERENCE.read_text(encoding="utf-8") == now, f"out of date; run: {HOW}"


@every_command
def test_every_command_and_option_has_help(name: str) -> None:
    """A sentence for the command, and one for each of its options."""
    command = loaded(name)
    assert command.help
    assert re.match(r"[A-Z].*[.:]", command.help.splitlines()[0])
    silent = [p.name for p in command.params if isinstance(p, click.Option) and not (p.help or "").strip()]
    assert not silent


@every_command
def test_every_command_has_examples_of_itself_that_parse(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands, options and values in --help are ones that exist."""
    monkeypatch.chdir(ROOT)  # --config is read
    found = examples(loaded(name).help or "")
    assert any(line.split()[1] == name for line in found)
    for line in found:
        parse(line)


def test_the_examples_at_the_top_parse() -> None:
    """Those of ``curvcli --help``."""
    found = examples(cli.help or "")
    assert found
    for line in found:
        parse(line)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_command_lines_in_a_document_parse(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """README and docs show commands and options that exist."""
    monkeypatch.chdir(ROOT)
    for block in FENCE.findall(path.read_text(encoding="utf-8")):
        for line in examples(block):
            parse(line)


@pytest.mark.parametrize("wrong", ["curvcli diag m.pt --metod auto", "curvcli eigs m.pt -k none", "curvcli show"])
def test_a_wrong_example_would_be_noticed(wrong: str) -> None:
    """An unknown option, a wrong value, a missing argument."""
    with pytest.raises(click.UsageError):
        parse(wrong)
