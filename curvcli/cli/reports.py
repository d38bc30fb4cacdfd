"""The argument of commands that take one report or the many of a training run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from curvcli.analysis.following import CourseOptions, expanded
from curvcli.cli.options import record_option
from curvcli.errors import UsageError
from curvcli.report.hdf5.read import Report, read_report

F = TypeVar("F", bound=Callable[..., Any])


def reports_argument(function: F) -> F:
    """The argument REPORT, one or many."""
    return click.argument("report", nargs=-1, required=True, type=click.Path(path_type=Path))(function)


def course_options(function: F) -> F:
    """Options for many reports."""
    function = record_option(
        CourseOptions,
        "allow_mismatch",
        help="Show reports together although loss, data, layers or matrix differ.",
    )(function)
    return record_option(
        CourseOptions,
        "order",
        help="Order of many reports: by the step in their names or their models' names, by the time at which they were "
        "made, or by name. Default: step; where the names have none, time.",
    )(function)


def opened(paths: Sequence[Path]) -> list[Report]:
    """The reports of paths and globs, each once.

    Raises:
        ReportError: one is no report, or a glob matches nothing.
    """
    return [read_report(path) for path in expanded(paths)]


def for_one_alone(values: dict[str, Any]) -> None:
    """Refuse options that act on one report, given with many.

    Args:
        values: by the option as typed; what is empty was not given.

    Raises:
        UsageError: one was given.
    """
    given_options = [name for name, value in values.items() if value]
    if given_options:
        raise UsageError(f"{given_options[0]} is for one report: give one, or leave {given_options[0]} out.")
