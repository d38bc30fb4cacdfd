"""``curvcli completion``: the script by which a shell completes commands, options and their values."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from curvcli.cli.command import Command
from curvcli.cli.words import Word
from curvcli.errors import ExitCode, UsageError

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command)
@click.argument("shell", type=Word(SHELLS), required=False)
@click.pass_context
def command(context: click.Context, shell: str | None) -> int:
    r"""Print the script that makes a shell complete commands, options and their values.

    SHELL is bash (4.4 or newer), zsh or fish; without it, the one that $SHELL names. To try it in this shell, or from a
    start-up file such as ~/.bashrc:

    \b
      eval "$(curvcli completion bash)"
      eval "$(curvcli completion zsh)"
      curvcli completion fish | source

    To keep it where the shell finds it by itself, and a new shell starts no slower (for zsh, a folder of $fpath):

    \b
      curvcli completion bash > ~/.local/share/bash-completion/completions/curvcli
      curvcli completion zsh > ~/.zfunc/_curvcli
      curvcli completion fish > ~/.config/fish/completions/curvcli.fish
    """
    chosen = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(chosen) if chosen in SHELLS else None
    if kind is None:
        named = f"$SHELL names {chosen}" if chosen else "$SHELL is not set"
        raise UsageError(f"{named}: say which shell: curvcli completion {'|'.join(SHELLS)}.")
    root = context.find_root()
    click.echo(kind(root.command, {}, "curvcli", "_CURVCLI_COMPLETE").source(), nl=False)
    return int(ExitCode.DONE)
