"""The numbers of a layer with what is known of their errors: what is compared, and what a threshold is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, isfinite, isnan, nan, prod
from typing import Final, Literal

import numpy as np

from curvcli.report import columns
from curvcli.report.compare.diagonals import EntryErrors, entry_errors
from curvcli.report.compare.eigenvalues import eigenvalues
from curvcli.report.compare.figure import DIAGONAL, Figure, place, unknown
from curvcli.report.compare.full_hessian import full_hessian
from curvcli.report.compare.reliability import doubted, random
from curvcli.report.compare.rounding import rounding
from curvcli.report.hdf5.read import Report
from curvcli.report.records.estimates import Estimates
from curvcli.report.records.legacy import density_estimates, says_estimates, trace_estimates
from curvcli.report.records.quantities import DensityRecord, EigenRecord, TraceRecord
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

# Probes reach up to the ends of the spectrum and not beyond.
_REACHED: Final[tuple[Literal["lower", "upper"], ...]] = ("upper", "lower")


def loss_figure(report: Report) -> Figure:
    """Return the loss, which is exact but for rounding."""
    value = report.provenance.loss_value
    return Figure(value=value, bound=rounding(report, value), doubt=random(report))


def figures(report: Report, row: LayerSummary) -> dict[str, Figure]:
    """Return what was computed of a layer, in the order of `COMPARED`.

    Arrays are read only where they hold errors that the tables do not: of estimated diagonals, traces and densities,
    and of eigenpairs.

    Raises:
        ReportError: the report can't be read any more.
    """
    figure_by_name = _gradient(report, row) | _diagonal(report, row) | _trace(report, row)
    figure_by_name |= _eigen(report, row) | _density(report, row) | full_hessian(report, row)
    figure_by_name |= _others(report, row, figure_by_name)
    return doubted(report, row, {name: figure_by_name[name] for name in sorted(figure_by_name, key=place)})


def bounded(report: Report, row: LayerSummary) -> dict[str, Figure]:
    """Return all that a threshold may be held against: the `figures`, and how well they were computed."""
    quality: dict[str, Figure] = {}
    for column in columns.LAYERS.columns:
        if column.role == "quality":
            value = float(column.of_row(row))
            if row.eigen_method if column.of == "eigen" else not isnan(value):
                quality[column.name] = Figure(value=value)
    return figures(report, row) | quality


def _others(report: Report, row: LayerSummary, computed: Mapping[str, Figure]) -> dict[str, Figure]:
    """Return the properties of which no more is known than the table says."""
    others: dict[str, Figure] = {}
    for column in columns.LAYERS.columns:
        value = column.of_row(row) if column.role == "property" and column.name not in computed else None
        if value is not None and not isnan(value):
            stderr = float(getattr(row, column.error)) if column.error else 0.0 if row.exact else nan
            others[column.name] = Figure(value=float(value), stderr=stderr, bound=rounding(report, value))
    return others


def _gradient(report: Report, row: LayerSummary) -> dict[str, Figure]:
    value = row.gradient_norm
    if isnan(value) and not (_has_diagonal(row) and row.status == "nonfinite"):
        return {}
    return {"gradient_norm": Figure(value=value, bound=rounding(report, value))}


def _has_diagonal(row: LayerSummary) -> bool:
    """Whether every parameter has a diagonal; that of a broken computation is there, and is not a number."""
    return bool(row.parameters) and all(_computed(parameter) for parameter in row.parameters)


def _computed(parameter: ParameterSummary) -> bool:
    return not isnan(parameter.trace) or (bool(parameter.method) and parameter.status == "nonfinite")


def _diagonal(report: Report, row: LayerSummary) -> dict[str, Figure]:
    """Return the statistics of a diagonal, and the trace that is its sum."""
    if not _has_diagonal(row):
        return {}
    largest = max((abs(v) for v in (row.diagonal_min, row.diagonal_max) if isfinite(v)), default=0.0)
    scale = dict.fromkeys(DIAGONAL, largest) | {
        "diagonal_mean": row.diagonal_abs_mean,
        "diagonal_abs_mean": row.diagonal_abs_mean,
        "negative_share": 0.0,
        "trace": row.diagonal_abs_mean * row.parameter_count,
    }
    sizes = [(prod(parameter.shape), parameter.rounding) for parameter in row.parameters]
    moved = dict.fromkeys(DIAGONAL, row.diagonal_rounding) | {
        "negative_share": row.negative_share_rounding,
        "trace": sum(count * each for count, each in sizes if not isnan(each)),
    }
    matrix = "+".join(dict.fromkeys(parameter.matrix for parameter in row.parameters))
    figure_by_name = {
        name: Figure(value=getattr(row, name), bound=rounding(report, size, moved[name]), matrix=matrix)
        for name, size in scale.items()
        if not (name == "trace" and row.trace_method) and (row.parameter_count or name == "trace")
    }
    if all(parameter.exact for parameter in row.parameters):
        return figure_by_name
    return _with_errors(figure_by_name, entry_errors(report, row), row.trace_stderr)


def _with_errors(figure_by_name: dict[str, Figure], errors: EntryErrors, of_sum: float) -> dict[str, Figure]:
    """Give the numbers of an estimated diagonal the errors that follow from those of its entries.

    The errors of entries are not independent, for all come from the same probes. What holds all the same: the standard
    deviation of a sum is at most the sum of the standard deviations, and a mean of absolute values moves by no more
    than the mean error.

    Args:
        figure_by_name: the numbers.
        errors: of the entries.
        of_sum: the standard error of the sum, from its own spread over the probes; NaN where it is not known.
    """
    total, mean = errors.total, errors.mean
    if not isnan(of_sum):
        total, mean = of_sum, of_sum / max(errors.count, 1)
    too_few = unknown(errors.estimates, errors.total) if errors.count else ""
    stderr = {
        "trace": (total, 1),
        "diagonal_mean": (mean, 1),
        "diagonal_abs_mean": (errors.mean, errors.count),
        "diagonal_min": (errors.at_smallest, errors.count),
        "diagonal_max": (errors.at_largest, errors.count),
        "negative_share": (nan, 1),
    }
    doubt = {"negative_share": "the signs of an estimated diagonal's entries have no error bar"}
    return {
        name: replace(
            figure,
            stderr=stderr[name][0],
            choices=max(stderr[name][1], 1),
            degrees=errors.estimates.degrees,
            doubt=doubt.get(name, too_few),
            note="estimated diagonal",
        )
        for name, figure in figure_by_name.items()
    }


def _trace(report: Report, row: LayerSummary) -> dict[str, Figure]:
    record = report.record(row.name, TraceRecord) if row.trace_method else None
    if record is None:
        return {}
    error_estimates = Estimates(record.estimates, record.degrees, record.independent)
    if not says_estimates(report.format_version):
        error_estimates = trace_estimates(record.method, len(record.samples))
    figure = Figure(
        value=record.value,
        bound=rounding(report, record.value, record.rounding),
        data_stderr=record.data_stderr,
        matrix=record.matrix,
        note="" if record.converged else "not converged",
    )
    if not record.exact:
        figure = replace(
            figure,
            stderr=record.stderr,
            degrees=error_estimates.degrees,
            widening=record.widening,
            doubt=unknown(error_estimates, record.stderr),
            samples=record.samples if error_estimates.independent else None,
            stream=f"{record.method} {report.provenance.seed}",
        )
    return {"trace": figure}


def _eigen(report: Report, row: LayerSummary) -> dict[str, Figure]:
    record = report.record(row.name, EigenRecord) if row.eigen_method else None
    if record is None:
        return {}
    largest = max((abs(v) for v in record.values.tolist() if isfinite(v)), default=0.0)
    return eigenvalues(record, row.parameter_count, rounding(report, largest))


def _density(report: Report, row: LayerSummary) -> dict[str, Figure]:
    record = report.record(row.name, DensityRecord) if row.density_method else None
    if record is None:
        return {}
    probes, steps = record.nodes.shape
    error_estimates = Estimates(record.estimates, record.degrees, record.independent)
    if not says_estimates(report.format_version):
        error_estimates = density_estimates(probes)
    size = max(abs(edge) for edge in record.support)
    ends = [
        Figure(
            value=edge,
            bound=rounding(report, size, record.rounding),
            doubt="" if record.exact else "how far probes reach has no error bar; use eigs",
            matrix=record.matrix,
            only="" if record.exact else side,
        )
        for edge, side in zip(record.support, _REACHED, strict=True)
    ]
    weight = Figure(
        value=record.weight_at_zero,
        stderr=0.0 if record.exact else record.weight_at_zero_stderr,
        degrees=inf if record.exact else error_estimates.degrees,
        bound=_unsure_weight(record),
        doubt="" if record.exact else unknown(error_estimates, record.weight_at_zero_stderr),
        stream="" if record.exact else f"{steps} steps",
        matrix=record.matrix,
        precision=report.provenance.dtype,
        only="" if record.exact else "upper",
    )
    return {"weight_at_zero": weight, "support_min": ends[0], "support_max": ends[1]}


def _unsure_weight(record: DensityRecord) -> float:
    """Return how much more weight than is counted as zero can't be told from it by rounding."""
    if isnan(record.rounding):
        return 0.0
    shares = np.where(np.abs(record.nodes) <= record.rounding, record.weights, 0.0).sum(axis=1)
    return max(float(shares.mean()) - record.weight_at_zero, 0.0)
