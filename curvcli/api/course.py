"""The course of a training run as a function."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from typing import Any

from curvcli.analysis.following import CourseOptions, expanded, followed
from curvcli.analysis.options.record import filled
from curvcli.api.arguments import Patterns, StrPath, read_arguments
from curvcli.api.report import Report, read_report
from curvcli.api.results import Results, report_of
from curvcli.api.turn import IN_PYTHON
from curvcli.errors import UsageError
from curvcli.report.course import course as courses
from curvcli.report.course.order import Order
from curvcli.report.course.table import course_table
from curvcli.report.export.table import listed

Reports = StrPath | Iterable[Report | Results[Any] | StrPath]


class Course(courses.Course):
    """How figures went over several reports.

    `lines` has one line per figure, of the whole model or of each layer, with a value per report; `ordered` the
    reports and their steps.
    """

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``: one row per report and figure, with ``step``, ``value``, ``stderr`` and ``bound``.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise UsageError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        table = course_table(self)
        columns: dict[str, list[Any]] = {field.name: [] for field in table.fields}
        for batch in table.batches:
            for name in columns:
                columns[name] += listed(batch.columns[name], batch.size)
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        return f"<curvcli.Course of {len(self.ordered.reports)} reports, {len(self.lines)} figures, {self.ordered.how}>"


def course(
    reports: Reports,
    *,
    layer: Patterns = (),
    exclude: Patterns = (),
    order: Order | None = None,
    allow_mismatch: bool = False,
) -> Course:
    """How each figure went over the reports of a training run's checkpoints, as ``curvcli show`` tells of many reports.

    Args:
        reports: results, reports or paths, in any order; or a pattern of paths, ``"run/step_*.h5"``.
        layer: figures of these layers, by patterns as elsewhere. Default: of the whole model where it was computed,
            else of all layers together where that follows from theirs; never an eigenvalue.
        exclude: leave these out.
        order: ``"step"``: by the number in the names of the reports or their models; ``"time"``: by when they were
            made; ``"name"``. Default: by step, else by time, else by name.
        allow_mismatch: follow them though loss, data, layers or matrices differ.

    Returns:
        ``lines``, each with ``layer``, ``quantity``, ``unit`` and ``values``: one per report with ``value``,
        ``stderr``, ``bound`` and ``note``, or None; ``ordered`` with ``reports`` and ``steps``; ``to_pandas()`` makes
        one table.

    Raises:
        UsageError: they are not of one training run, or have no steps to be ordered by.
        ReportError: one is no report, or there is none.

    Example:
        >>> import curvcli
        >>> few = curvcli.trace("sample_models/mlp_tanh.pt", layer="fc3", limit=64)
        >>> more = curvcli.trace("sample_models/mlp_tanh.pt", layer="fc3", limit=64, batch_size=16)
        >>> [line.quantity for line in curvcli.course([few, more]).lines]
        ['loss', 'trace']
    """
    with IN_PYTHON:
        options = filled(CourseOptions, read_arguments((CourseOptions,), locals()))
        opened = opened_reports("reports", reports)
        if not opened:
            raise UsageError("reports: an empty list has no course; name at least one report.")
        made = followed(opened, options)
        return Course(**{field.name: getattr(made, field.name) for field in fields(made)})


def opened_reports(argument: str, reports: Reports) -> list[Report]:
    """Return the reports that an argument means: paths, patterns of them, results, or open reports.

    Raises:
        UsageError: one is something else.
        ReportError: what is there is no report, or a pattern matches nothing.
    """
    if isinstance(reports, str | os.PathLike | Report | Results):
        several: list[Any] = [reports]
    else:
        several = list(reports)
    opened: list[Report] = []
    for one in several:
        if isinstance(one, str | os.PathLike) and isinstance(os.fspath(one), str):
            opened += [read_report(path) for path in expanded([one])]
        else:
            opened.append(report_of(argument, one))
    return opened
