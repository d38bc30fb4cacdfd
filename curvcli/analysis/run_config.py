"""The config of ``curvcli run``: shared options at the top, and a table for each quantity."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from curvcli.analysis.options.kinds import File
from curvcli.analysis.options.record import Options, filled, kinds_of
from curvcli.analysis.options.request import Request, request_of
from curvcli.analysis.options.shared import ComputingOptions, DataOptions, ModelOptions, OutputOptions, Selection
from curvcli.analysis.quantities.registry import QUANTITIES
from curvcli.analysis.studies.registry import STUDIES
from curvcli.errors import UsageError
from curvcli.text import cut, did_you_mean
from curvcli.toml import read_tables

# Quantities that are computed for the same layers by the same options.
TOGETHER: Final = (*(name for name in QUANTITIES if name != "split"), *STUDIES)
_SHARED: Final = (ModelOptions, DataOptions, Selection, ComputingOptions, OutputOptions)
_SHORT: Final = {"l": "layer", "o": "output"}


@dataclass(frozen=True)
class RunConfig:
    """A config that has been read.

    Attributes:
        request: what it requests; its paths are seen from the working directory.
        other_values: the values of other keys that whoever reads the config knows.
    """

    request: Request
    other_values: Mapping[str, Any]


def read_run_config(path: Path, *, others: Collection[str] = ()) -> RunConfig:
    """Read and check a config.

    Args:
        path: of the TOML file.
        others: keys that may stand at the top besides the options of `Request`.

    Raises:
        UsageError: it can't be read, or is wrong: unknown keys and tables, wrong values, nothing to compute.
    """
    tree = read_tables(path, "a config file")
    strange = [key for key, value in tree.items() if isinstance(value, dict) and key not in TOGETHER]
    if strange:
        mistakes = [f"{path}: [{cut(key)}]: no such table{_hint(key, TOGETHER)}" for key in strange]
        raise UsageError("\n".join([*mistakes, f"A config for run has {_tables()}."]))
    tables = {name: tree.pop(name) for name in TOGETHER if name in tree}
    other_values = {key: tree.pop(key) for key in list(tree) if key.replace("_", "-") in others}
    values, mistakes = _values(tree, _SHARED, f"{path}: ", others)
    if mistakes:
        raise UsageError("\n".join(mistakes))
    if not str(values.get("model", "")):
        raise UsageError(f"{path}: model is missing: the path of a saved model, relative to this file.")
    if not tables:
        raise UsageError(f"{path}: nothing to compute: add a table, one of {_tables()}.")
    for key in ("model", "data", "output"):
        if key in values:
            values[key] = Path(os.path.normpath(path.parent / values[key]))
    by_quantity = {
        name: quantity_options(name, table, f"{path}: [{name}]", f"{path}: {name}.") for name, table in tables.items()
    }
    own = {name: _seen_from(path.parent, options) for name, options in by_quantity.items()}
    return RunConfig(request_of("run", own, values), other_values)


def _seen_from(folder: Path, options: Options) -> Options:
    """Options whose paths, relative to the config's folder, are seen from the working directory."""
    paths = {name: getattr(options, name) for name, kind in kinds_of(type(options)).items() if isinstance(kind, File)}
    return replace(
        options, **{name: Path(os.path.normpath(folder / one)) for name, one in paths.items() if one is not None}
    )


def quantity_options(name: str, table: object, shown: str, prefix: str) -> Options:
    """A quantity's options of a table.

    Args:
        name: of the quantity, one of `TOGETHER`.
        table: by the options' names, dashes or underscores in them.
        shown: what a message calls the table.
        prefix: of a key in messages.

    Raises:
        UsageError: keys are unknown, or values wrong, all of them at once; or it is no table.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{shown} must be a table of options, {{}} for their defaults.")
    record = QUANTITIES[name].options if name in QUANTITIES else STUDIES[name].options
    values, mistakes = _values(table, (record,), prefix, ())
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return filled(record, values)


def _values(
    table: Mapping[str, Any], records: Collection[type[Options]], place: str, others: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """A table's values by the names of options, and what is wrong with it, a line each."""
    kinds = {name: kind for record in records for name, kind in kinds_of(record).items()}
    values: dict[str, Any] = {}
    mistakes = []
    for key, value in table.items():
        name = _SHORT.get(key, key.replace("-", "_"))
        if name not in kinds:
            spelled = [one.replace("_", "-") for one in kinds]
            mistakes.append(f"{place}{cut(key)}: unknown{_hint(key, [*spelled, *others])}")
            continue
        try:
            values[name] = kinds[name].read(value)
        except ValueError as error:
            mistakes.append(f"{place}{key}: {error}")
    return values, mistakes


def _hint(word: str, names: Collection[str]) -> str:
    advice = did_you_mean(word, names)
    return f"; {advice}" if advice else ""


def _tables() -> str:
    return ", ".join(f"[{name}]" for name in TOGETHER)
