"""``curvcli completion``: real shells complete with the script it prints."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Curvcli

HEAVY = {"torch", "tensorflow", "keras"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a ``curvcli`` to run, its scripts, and a file to complete."""
    program = tmp_path / "bin" / "curvcli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m curvcli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "model.pt").touch()
    return tmp_path


def run(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def in_bash(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word, by the function that the script registers."""
    text = f"""
        source <(curvcli completion bash)
        COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
        compopt() {{ local IFS=" "; echo "compopt $*"; }}
        "$(complete -p curvcli | sed 's/.*-F \\([^ ]*\\).*/\\1/')" curvcli
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = run(folder, "bash", "--norc", "-c", text)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split("\n")[:-1]


def in_fish(folder: Path, *words: str) -> list[str]:
    """What fish offers for a command line, as ``complete -C`` tells it."""
    text = f"curvcli completion fish | source; complete -C {shlex.quote(shlex.join(words[:-1]) + ' ' + words[-1])}"
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    done = run(folder, "fish", "--no-config", "-c", text, env=home)
    assert done.returncode == 0, done.stderr
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def in_zsh(folder: Path, *words: str) -> list[str]:
    """What zsh's function would offer, with the builtins that take it replaced by ones that print it."""
    text = f"""
        compdef() {{ :; }}
        _describe() {{ print -rl -- "${{(@)completions_with_descriptions%%:*}}"; }}
        compadd() {{ print -rl -- "${{(@)completions}}"; }}
        _path_files() {{ echo "files $*"; }}
        eval "$(curvcli completion zsh)"
        words=({shlex.join(words)}); CURRENT={len(words)}
        _curvcli_completion
    """
    done = run(folder, "zsh", "-f", "-c", text)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SHELLS = {"bash": in_bash, "fish": in_fish, "zsh": in_zsh}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_and_values(shell: str, folder: Path) -> None:
    """``curvcli di``, ``diag --form``, ``--format `` and, where nothing else is known, files."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    complete = SHELLS[shell]
    assert complete(folder, "curvcli", "di") == ["diag"]
    assert complete(folder, "curvcli", "diag", "--form") == ["--format"]
    assert sorted(complete(folder, "curvcli", "diag", "--format", "")) == ["csv", "json", "markdown", "table"]
    files = complete(folder, "curvcli", "diag", "mod")
    assert files[0] in ("compopt -o default", "files -f", "model.pt")


def answer(*words: str) -> tuple[list[str], set[str]]:
    """Completions for the last word by the protocol of the scripts, and the modules imported for them."""
    code = (
        "import json, sys\nfrom curvcli.cli.main import run\n"
        "try: run([])\nfinally: print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    env = {"_CURVCLI_COMPLETE": "bash_complete", "COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.stderr
    *lines, modules = done.stdout.strip().splitlines()
    return [line.partition(",")[2] for line in lines if line], set(json.loads(modules))


def test_command_names_are_completed_without_importing_a_command() -> None:
    """The table of commands is enough."""
    found, modules = answer("curvcli", "")
    assert {"diag", "show", "completion"} <= set(found)
    assert not {f"curvcli.cli.{name}" for name in found} & modules
    assert "numpy" not in modules


def test_options_are_completed_without_a_framework() -> None:
    """Only the command's own module is imported; every spelling is offered."""
    found, modules = answer("curvcli", "eigs", "--m")
    assert found == ["--memory-limit", "--matrix", "--method", "--max-products"]
    assert not modules & HEAVY
    assert "curvcli.cli.plot" not in modules


def test_a_mistyped_command_completes_to_nothing_and_says_nothing() -> None:
    """A person is still typing."""
    found, _ = answer("curvcli", "daig", "--for")
    assert not [one for one in found if one.startswith("--for")]


def test_without_a_name_the_shell_is_the_users(curvcli: Curvcli) -> None:
    """$SHELL decides; where it is none of the three, a line says what to type."""
    named, found = curvcli("completion", "fish"), curvcli("completion", env={"SHELL": "/usr/local/bin/fish"})
    assert named.returncode == found.returncode == 0
    assert found.stdout == named.stdout
    assert "complete --no-files --command curvcli" in found.stdout
    for shell, said in (("/bin/tcsh", "$SHELL names tcsh"), ("", "$SHELL is not set")):
        refused = curvcli("completion", env={"SHELL": shell})
        assert refused.returncode == 2
        assert refused.stderr == f"Error: {said}: say which shell: curvcli completion bash|zsh|fish.\n"
