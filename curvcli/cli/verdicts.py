"""Verdicts to standard output, whatever encoding that has."""

from __future__ import annotations

import sys
from typing import get_args

import click

from curvcli.cli.options import printed_as
from curvcli.report.render.encoding import plain
from curvcli.report.verdicts.verdict import Format

verdict_format_option = printed_as(get_args(Format))


def write_verdicts(text: str, form: str) -> None:
    """Print; what the output can't encode is spelled with what it has. XML says that it is UTF-8, and then is."""
    if form == "junit":
        click.echo(text.encode(), nl=False)
        return
    lines = text.splitlines(keepends=True)
    click.echo("".join(plain(line, sys.stdout.encoding or "utf-8") for line in lines), nl=False)
