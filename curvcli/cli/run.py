"""``curvcli run``: all quantities of a config file, in one report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from curvcli.analysis.options.quantities import (
    DensityOptions,
    DiagonalOptions,
    EigenOptions,
    HessianOptions,
    TraceOptions,
)
from curvcli.analysis.options.record import Options, filled
from curvcli.cli import density, diag, eigs, hessian, trace
from curvcli.cli.compute import compute
from curvcli.cli.config import did_you_mean, option_values, read_toml
from curvcli.cli.options import computing
from curvcli.errors import UsageError
from curvcli.text import cut

# In the order in which they are computed: what is cheap and sure first.
_QUANTITIES: dict[str, tuple[click.Command, type[Options]]] = {
    "diag": (diag.command, DiagonalOptions),
    "trace": (trace.command, TraceOptions),
    "eigs": (eigs.command, EigenOptions),
    "density": (density.command, DensityOptions),
    "hessian": (hessian.command, HessianOptions),
}
# What is said once for all quantities, and not in their tables.
_SHARED = frozenset(
    """model layer exclude data limit batch_size seed device dtype output output_format memory_limit whole_model
    dry_run resume force quiet verbose allow_random verify""".split()
)


@computing
@click.option("--whole-model", is_flag=True)
def _shared(**given: Any) -> None:
    """The options that stand at the top of a config; never called."""


_TOP = click.command("run")(_shared)


@click.command("run")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show methods, costs and time from one timed pass; compute nothing else.")
@click.option(
    "--resume/--no-resume", default=None, help="Resume an interrupted run of the same config. Default: resume."
)
@click.option("--force", is_flag=True, help="Replace a report of another command, model or dataset spec.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but results and errors.")
@click.option("--verbose", "-v", count=True, help="Say more; -vv shows tracebacks.")
def command(config: Path, **said: Any) -> int:
    r"""Compute all quantities of CONFIG.toml for its layers, in one report; passes over the data are shared.

    At the top stand the options that all commands share, with the model; each table [diag], [trace], [eigs], [density]
    or [hessian] asks for that quantity and holds that command's own options. Paths are relative to the file.

    \b
      curvcli run configs/report.toml
      curvcli run configs/report.toml --dry-run
    """
    tree = read_toml(config)
    strange = [key for key, value in tree.items() if isinstance(value, dict) and key not in _QUANTITIES]
    if strange:
        tables_of = ", ".join(f"[{name}]" for name in _QUANTITIES)
        told = [f"{config}: [{cut(key)}]: no such table{did_you_mean(key, list(_QUANTITIES))}" for key in strange]
        raise UsageError("\n".join([*told, f"A config for run has {tables_of}."]))
    tables = {name: tree.pop(name) for name in _QUANTITIES if name in tree}
    given = _options(_TOP, tree, config, "")
    if given["model"] == Path():
        raise UsageError(f"{config}: model is missing: the path of a saved model, relative to this file.")
    if not tables:
        raise UsageError(
            f"{config}: nothing to compute: add a table, one of {', '.join(f'[{n}]' for n in _QUANTITIES)}."
        )
    for key in ("model", "data", "output"):
        if given[key] is not None:
            given[key] = Path(os.path.normpath(config.parent / given[key]))
    given |= {key: value for key, value in said.items() if value}
    if said["resume"] is not None:
        given["resume"] = said["resume"]
    if "diag" in tables and given["whole_model"] and not given["layer"]:
        given["layer"] = ("*",)  # alone it would mean no layer, and diagonals are the layers'
    quantities = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{config}: [{name}] must be a table.")
        own, record = _QUANTITIES[name]
        quantities[name] = filled(record, _options(own, table, config, f"{name}.", without=_SHARED))
    return compute("run", given, quantities)


def _options(
    command: click.Command, table: dict[str, Any], config: Path, prefix: str, *, without: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """A table as the command's options, checked as if it had been typed.

    Raises:
        UsageError: keys are unknown, all of them at once; or a value is not allowed.
    """
    model = str(table.pop("model", "")) if not prefix else "-"
    values, mistakes = option_values(command, table, f"{config}: {prefix}", without=without)
    if mistakes:
        raise UsageError("\n".join(mistakes))
    try:
        return dict(command.make_context(command.name, [model], default_map=values).params)
    except click.BadParameter as error:
        key = (error.param.name or "") if error.param is not None else ""
        raise UsageError(f"{config}: {prefix}{key.replace('_', '-')}: {error.message}") from None
