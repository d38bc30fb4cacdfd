"""What a report has numbers of besides its layers: functions of inputs, parts of split gradients, checks, studies.

Each is named as `lookup` finds it: ``inputs/u``, ``conv4/split/kernel``, ``checks/gradient/conv4``, ``slice/top``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite, isnan, nan
from typing import Any, Final

from curvcli.report import columns
from curvcli.report.compare.figure import FAILED, Figure, unknown
from curvcli.report.compare.reliability import random
from curvcli.report.compare.rounding import rounding
from curvcli.report.hdf5.read import Report
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.estimates import Estimates
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.split import SplitPartSummary
from curvcli.report.records.studies import StudyRow, StudySummary
from curvcli.report.studies.registry import TABLES
from curvcli.report.studies.rows import tables_of
from curvcli.report.table import Table

# Of which table something is a row: ``inputs``, ``split``, ``checks``, or a study's, by its group.
Sort = str

# What of a function's is no second derivative, and so has no error of probes.
_FIRST_ORDER: Final = frozenset({"value_mean", "gradient_norm_mean"})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something that figures are of.

    Attributes:
        sort: of which table it is a row.
        figures: by quantity, of the properties that are compared.
        quality: figures that can only be held against a threshold.
        status: how its computation ended.
        exact: whether it is no estimate.
    """

    sort: Sort
    figures: Mapping[str, Figure]
    quality: Mapping[str, Figure] = field(default_factory=dict)
    status: str = "done"
    exact: bool = True

    @property
    def bounded(self) -> dict[str, Figure]:
        """What a threshold can be held against."""
        return {**self.figures, **self.quality}


def subjects(report: Report) -> dict[str, Subject]:
    """Return them by name, those of one sort in the report's order."""
    by_name = {f"inputs/{row.name}": _function(report, row) for row in report.inputs}
    for layer in report.layers:
        by_name |= {f"{layer.name}/split/{part.by}": _part(report, part) for part in layer.split}
    by_name |= {f"checks/{check.name}/{check.subject}": _check(check) for check in report.checks}
    for study in report.studies:
        for table, rows in tables_of(study):
            by_name |= {f"{table.group}/{row.name}": _of_study(report, study, table, row) for row in rows}
    return by_name


def sorts_of(quantity: str) -> Iterator[Sort]:
    """Yield the sorts of what can have a quantity of this name."""
    tables: tuple[tuple[Sort, Table], ...] = (
        ("inputs", columns.INPUTS),
        ("split", columns.SPLIT),
        ("checks", columns.CHECKS),
        *TABLES.items(),
    )
    for sort, table in tables:
        column = table.find(quantity)
        if (column is not None and column.role) or (sort == "checks" and quantity == FAILED):
            yield sort


def _function(report: Report, row: InputsSummary) -> Subject:
    return Subject(
        sort="inputs",
        figures={
            name: _of_function(report, row, name, value) for name, value in _numbers(columns.INPUTS, row, "property")
        },
        quality={name: Figure(value=value) for name, value in _numbers(columns.INPUTS, row, "quality")},
        status=row.status,
        exact=row.exact,
    )


def _of_function(report: Report, row: InputsSummary, name: str, value: float) -> Figure:
    figure = Figure(value=value, bound=rounding(report, _scale(row, name, value)), doubt=random(report))
    if row.exact or name in _FIRST_ORDER:
        return figure
    stderr = row.laplacian_stderr_mean if name in {"laplacian_mean", "laplacian_abs_mean"} else nan
    doubt = unknown(Estimates(row.probes, row.probes - 1.0, independent=False), stderr) if row.probes else ""
    if isnan(stderr):
        doubt = "of estimated derivatives, and without an error bar"
    return Figure(
        value=value,
        # The samples' errors may come from the same probes; a mean of theirs is then as uncertain as each.
        stderr=stderr,
        degrees=max(row.probes - 1.0, 1.0),
        bound=figure.bound,
        doubt=figure.doubt or doubt,
        note="estimated",
    )


def _scale(row: InputsSummary, name: str, value: float) -> float:
    """Return the size of what a number was summed up from."""
    if name in _FIRST_ORDER or name.startswith("diagonal"):
        return value
    sizes = (row.laplacian_min, row.laplacian_max, row.laplacian_abs_mean, value)
    return max((abs(size) for size in sizes if isfinite(size)), default=0.0)


def _part(report: Report, part: SplitPartSummary) -> Subject:
    return Subject(
        sort="split",
        figures={
            name: Figure(value=value, bound=rounding(report, value), doubt=random(report))
            for name, value in _numbers(columns.SPLIT, part, "property")
        },
        quality={name: Figure(value=value) for name, value in _numbers(columns.SPLIT, part, "quality")},
    )


def _check(check: CheckRecord) -> Subject:
    outcome = {} if check.outcome == "skipped" else {FAILED: Figure(value=float(check.outcome == "failed"))}
    return Subject(
        sort="checks",
        figures=outcome,
        quality={name: Figure(value=value) for name, value in _numbers(columns.CHECKS, check, "quality")},
    )


def _of_study(report: Report, study: StudySummary, table: Table, row: StudyRow) -> Subject:
    """Return a row of a study; where it does not say itself whether it is exact, the study does."""
    exact = bool(row.values.get("exact", study.exact))
    figure_by_name: dict[str, Figure] = {}
    definition = "; ".join(str(value) for c in table.columns if c.defines and (value := row.values.get(c.name)))
    for name, value in _numbers(table, row, "property"):
        column = table.find(name)
        stderr = float(getattr(row, column.error)) if column is not None and column.error else 0.0
        figure_by_name[name] = Figure(
            value=value,
            stderr=stderr,
            bound=rounding(report, value),
            doubt=random(report),
            note="estimated" if stderr else "",
            definition=definition,
        )
    return Subject(
        sort=table.group,
        figures=figure_by_name,
        quality={name: Figure(value=value) for name, value in _numbers(table, row, "quality")},
        status=str(row.values.get("status", study.status)),
        exact=exact,
    )


def _numbers(table: Table, row: Any, role: str) -> Iterator[tuple[str, float]]:
    """Yield a row's numbers of a role, with what came out as NaN where the computation is not finite."""
    broken = getattr(row, "status", "") == "nonfinite"
    for column in table.columns:
        if column.role == role:
            value = column.of_row(row)
            if value is not None and (broken or not isnan(value)):
                yield column.name, float(value)
