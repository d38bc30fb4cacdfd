"""Options that take one of some words, and what a shell completes them to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from curvcli.errors import CurvcliError
from curvcli.spec.mistakes import listed, shown
from curvcli.text import did_you_mean

if TYPE_CHECKING:
    from curvcli.report.hdf5.read import Report

# Functions that complete import what they need themselves: most calls of a command complete nothing.
Completed = Callable[[click.Context, click.Parameter, str], list[str]]


class Word(click.Choice):  # type: ignore[type-arg]  # generic only since click 8.2
    """One of some words; the nearest is named where it is none of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself."""
        if not isinstance(value, str) or value not in self.choices:
            self._refuse(value, param, ctx)
        return str(value)

    def _refuse(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        words = [str(word) for word in self.choices]
        near = did_you_mean(str(value), words)
        self.fail(f"{shown(value)}{f'; {near}' if near else '.'} Choose {listed(words, most=len(words))}.", param, ctx)


def completed(words: Sequence[str]) -> Completed:
    """Completes to these."""
    return lambda _context, _parameter, incomplete: [word for word in words if word.startswith(incomplete)]


def layer_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The layers of the reports that are named already, of a report beside the model, or of the model itself."""
    names: dict[str, None] = {}
    for report in _reports(context):
        names |= dict.fromkeys(row.name for row in report.layers)
    model = _model(context)
    if not names and model is not None:
        names = dict.fromkeys(_of_model(model))
    return [name for name in names if name.startswith(incomplete)]


def column_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The columns that a report's table can be sorted by."""
    from curvcli.report.render.view import sortable_columns

    names = dict.fromkeys(name for report in _reports(context) for name in sortable_columns(report))
    return [name for name in names if name.startswith(incomplete)]


def _reports(context: click.Context) -> Iterator[Report]:
    """Those that are named; of a model, the latest that lies beside it."""
    from curvcli.report.hdf5.read import read_report

    model = _model(context)
    paths = [] if model is not None else _arguments(context)
    if model is not None:
        beside = [path for path in model.absolute().parent.glob("*.h5") if path.name.startswith(f"{model.name}.")]
        paths = sorted(beside, key=lambda path: path.stat().st_mtime)[-1:]
    for path in paths:
        try:
            yield read_report(path)
        except CurvcliError:
            continue


def _model(context: click.Context) -> Path | None:
    """The MODEL that is named already."""
    takes_model = any(isinstance(one, click.Argument) and one.name == "model" for one in context.command.params)
    return next(iter(_arguments(context)), None) if takes_model else None


def _arguments(context: click.Context) -> list[Path]:
    """What is named already. An option whose value is still to come keeps click from reading any, and leaves them."""
    names = [one.name for one in context.command.params if isinstance(one, click.Argument)]
    values = [context.params.get(name or "") for name in names]
    read = [path for value in values for path in (value if isinstance(value, tuple) else (value,)) if path is not None]
    return [Path(path) for path in read or [word for word in context.args if not word.startswith("-")]]


def _of_model(path: Path) -> list[str]:
    """A model's layers; it takes the time of importing its framework."""
    from curvcli.models.open import open_model

    try:
        return [layer.name for layer in open_model(path).layers]
    except CurvcliError:
        return []
