"""The figures of a full Hessian: its norm, its condition number and its inertia."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite, nan, sqrt

import numpy as np

from curvcli.report.compare.figure import INERTIA, Figure, few, unknown
from curvcli.report.compare.rounding import rounding
from curvcli.report.hdf5.read import Report
from curvcli.report.records.estimates import Estimates
from curvcli.report.records.legacy import frobenius_estimates, says_estimates
from curvcli.report.records.quantities import BlockRecord, Float64
from curvcli.report.records.summaries import LayerSummary


def full_hessian(report: Report, row: LayerSummary) -> dict[str, Figure]:
    """Return the figures of a layer's full Hessian; none where it was not computed.

    Raises:
        ReportError: the report can't be read any more.
    """
    if not row.hessian_method:
        return {}
    # A block that was made whole is large, and the table has all that is asked of it but the matrix.
    one_matrix = "" if "+" in row.matrix else row.matrix
    estimated = row.hessian_method == "probes"
    record = report.record(row.name, BlockRecord) if estimated or not one_matrix else None
    matrix = record.matrix if record is not None else one_matrix
    # The norm of a matrix with eigenvalues of at most r is at most r √n.
    spread = row.hessian_rounding * sqrt(row.parameter_count)
    norm = Figure(value=row.frobenius_norm, bound=rounding(report, row.frobenius_norm, spread), matrix=matrix)
    if record is not None and not record.exact:
        norm = _with_error(norm, report, record)
    values = report.hessian_eigenvalues(row.name) if row.hessian_rounding > 0 else None
    condition = Figure(
        value=row.condition_number,
        bound=0.0 if values is None else _condition_bound(values, row.hessian_rounding),
        doubt="the condition number is only a lower bound" if row.condition_is_bound else "",
        note="lower bound" if row.condition_is_bound else "",
        matrix=matrix,
        precision=report.provenance.dtype,
        only="lower" if row.condition_is_bound else "",
    )
    counts: tuple[float, ...] = row.inertia or ()
    if row.inertia is None and not estimated:  # a whole block without counts has eigenvalues that are no numbers
        counts = (nan, nan, nan)
    # So many eigenvalues can't be told from zero, and are not counted as zero.
    unsure = 0.0
    if values is not None and row.inertia is not None:
        unsure = max(float(np.count_nonzero(np.abs(values) <= row.hessian_rounding)) - row.inertia[1], 0.0)
    inertia = {
        name: Figure(value=float(count), bound=unsure, matrix=matrix, precision=report.provenance.dtype)
        for name, count in zip(INERTIA, counts, strict=False)
    }
    return {"frobenius_norm": norm, "condition_number": condition, **inertia}


def _with_error(norm: Figure, report: Report, record: BlockRecord) -> Figure:
    error = record.frobenius_stderr
    error_estimates = Estimates(record.estimates, record.degrees, record.independent)
    if not says_estimates(report.format_version):
        error_estimates = frobenius_estimates()
    doubt = unknown(error_estimates, error) if isfinite(error) else few(1)
    return replace(norm, stderr=error, degrees=error_estimates.degrees, doubt=doubt)


def _condition_bound(values: Float64, shift: float) -> float:
    """Return by how much a condition number may be off where every eigenvalue may be by `shift`."""
    magnitudes = np.abs(values[np.isfinite(values)])
    if not len(magnitudes):
        return 0.0
    smallest, largest = float(magnitudes.min()), float(magnitudes.max())
    if shift >= smallest:
        return inf
    return (largest + shift) / (smallest - shift) - largest / smallest
