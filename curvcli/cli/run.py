"""``curvcli run``: all quantities of a config file, in one report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from curvcli.analysis.run_config import read_run_config
from curvcli.cli.command import Command
from curvcli.cli.compute import Presentation, run_request
from curvcli.cli.config import option_names, option_values
from curvcli.cli.options import FORMATS, format_option, voice_options
from curvcli.cli.words import Word
from curvcli.errors import UsageError


@format_option
@voice_options
def _shown(**values: Any) -> None:
    """The options about what is shown, which may stand at the top of a config too; never called."""


_SHOWN = click.command("run")(_shown)


@click.command("run", cls=Command)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show methods, costs and time from one timed pass; compute nothing else.")
@click.option(
    "--resume/--no-resume", default=None, help="Resume an interrupted run of the same config. Default: resume."
)
@click.option("--force", is_flag=True, help="Replace a report of another command, model or dataset spec.")
@click.option("--format", "output_format", type=Word(FORMATS), help="How results are printed. Default: table.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but results and errors.")
@click.option("--verbose", "-v", count=True, help="Print more; -vv shows tracebacks.")
def command(
    config: Path,
    dry_run: bool,
    resume: bool | None,
    force: bool,
    output_format: str | None,
    quiet: bool,
    verbose: int,
) -> int:
    r"""Compute all quantities of CONFIG.toml for its layers, in one report; passes over the data are shared.

    At the top stand the options that all commands share, with the model; each table [diag], [trace], [eigs], [density]
    or [hessian] requests that quantity and holds that command's own options. Paths are relative to the file.

    \b
      curvcli run configs/report.toml
      curvcli run configs/report.toml --dry-run
    """
    read = read_run_config(config, others=option_names(_SHOWN))
    shown = _presentation(read.other_values, config)
    typed = {"quiet": quiet, "verbose": verbose, "output_format": output_format}
    shown |= {name: value for name, value in typed.items() if value}
    output = read.request.output
    output = replace(
        output,
        dry_run=dry_run or output.dry_run,
        force=force or output.force,
        resume=output.resume if resume is None else resume,
    )
    return run_request(replace(read.request, output=output), Presentation.of(shown))


def _presentation(table: Mapping[str, Any], config: Path) -> dict[str, Any]:
    """The values of a config's keys about what is shown, checked as if they had been typed.

    Raises:
        UsageError: values are not allowed.
    """
    values, mistakes = option_values(_SHOWN, table, f"{config}: ")
    if mistakes:
        raise UsageError("\n".join(mistakes))
    try:
        return dict(_SHOWN.make_context("run", [], default_map=values).params)
    except click.BadParameter as error:
        key = (error.param.name or "") if error.param is not None else ""
        raise UsageError(f"{config}: {key.replace('_', '-')}: {error.message}") from None
