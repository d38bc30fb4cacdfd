"""The errors of an estimated diagonal, entry by entry, reduced to what its statistics need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

import numpy as np

from curvcli.report.hdf5.read import Report
from curvcli.report.records.estimates import Estimates
from curvcli.report.records.layers import Array
from curvcli.report.records.legacy import diagonal_estimates, says_estimates
from curvcli.report.records.summaries import LayerSummary, ParameterSummary


@dataclass(frozen=True)
class EntryErrors:
    """Of one layer.

    Attributes:
        count: entries.
        estimates: what the errors are from, in the parameter with the fewest.
        total: sum of the entries' standard errors.
        mean: their mean.
        at_smallest: that of the smallest entry.
        at_largest: that of the largest entry.
    """

    count: int
    estimates: Estimates
    total: float
    mean: float
    at_smallest: float
    at_largest: float


def entry_errors(report: Report, row: LayerSummary) -> EntryErrors:
    """Read the diagonals and their errors, one parameter at a time.

    Raises:
        ReportError: the report can't be read any more.
    """
    count, total = 0, 0.0
    smallest, largest = (np.inf, nan), (-np.inf, nan)
    for values, errors in _arrays(report, row):
        if not values.size:
            continue
        count += values.size
        total += float(errors.sum(dtype=np.float64))
        low, high = int(values.argmin()), int(values.argmax())
        smallest = min(smallest, (float(values[low]), float(errors[low])))
        largest = max(largest, (float(values[high]), float(errors[high])))
    mean = total / count if count else 0.0
    return EntryErrors(count, estimates(report, row), total, mean, smallest[1], largest[1])


def extreme_errors(
    reports: tuple[Report, Report], rows: tuple[LayerSummary, LayerSummary], *, largest: bool
) -> tuple[float, float]:
    """Return the errors, in both reports, of the entry that decides how far an extreme may move by noise alone.

    The maximum of noisy entries is too large on average, so its error is not that of the entry. But max b − max a is at
    most b_j − a_j at the place j of b's maximum, and at least b_i − a_i at that of a's: if no entry differs by more
    than its noise, neither do the maxima.

    Raises:
        ReportError: a report can't be read any more.
    """
    sign = 1.0 if largest else -1.0
    best: list[tuple[float, float, float]] = [(-np.inf, nan, nan), (-np.inf, nan, nan)]
    for (old, old_errors), (new, new_errors) in zip(_arrays(reports[0], rows[0]), _arrays(reports[1], rows[1])):  # noqa: B905
        if not old.size or old.shape != new.shape:
            continue
        for side, values in enumerate((old, new)):
            place = int((sign * values).argmax())
            extreme = (sign * float(values[place]), float(old_errors[place]), float(new_errors[place]))
            best[side] = max(best[side], extreme)
    moved_out = best[1][0] > best[0][0]
    return best[1][1:] if moved_out else best[0][1:]


def estimates(report: Report, row: LayerSummary) -> Estimates:
    """Return what the standard errors are from, in the estimated parameter with the fewest degrees of freedom."""
    of_parameters = [_of_parameter(report, parameter) for parameter in row.parameters if not parameter.exact]
    return min(
        of_parameters,
        key=lambda estimated: (estimated.count, estimated.degrees),
        default=Estimates(0, nan, independent=False),
    )


def _of_parameter(report: Report, parameter: ParameterSummary) -> Estimates:
    if not says_estimates(report.format_version):
        return diagonal_estimates(parameter.method, report.provenance.config_json)
    return Estimates(parameter.estimates, parameter.degrees, parameter.independent)


def _arrays(report: Report, row: LayerSummary) -> Iterator[tuple[Array, Array]]:
    """Yield diagonal and errors of each parameter, flat; an exact one has errors of 0, an unknown error is NaN.

    The errors are those of the spread of the estimates, not widened: Student's quantiles are taken of them here.
    """
    for parameter in row.parameters:
        values = report.array(row.name, "diagonal", parameter.label)
        errors = report.array(row.name, "diagonal_stderr", parameter.label)
        if values is None:
            values = np.zeros(0)
        if errors is None:
            errors = np.full(values.shape, 0.0 if parameter.exact else nan)
        yield values.reshape(-1), errors.reshape(-1) / parameter.widening
