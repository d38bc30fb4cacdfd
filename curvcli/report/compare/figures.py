"""The numbers of a layer with what is known of their errors: what is compared, and what a threshold is held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, isnan, nan
from typing import Final, Literal

from curvcli.report.compare.diagonals import EntryErrors, entry_errors
from curvcli.report.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord
from curvcli.report.read import Report
from curvcli.report.records import Array
from curvcli.report.summaries import LayerSummary, ParameterSummary

LOSS: Final = "loss"
DIAGONAL: Final = ("diagonal_min", "diagonal_max", "diagonal_mean", "diagonal_abs_mean", "negative_share")
INERTIA: Final = ("positive_eigenvalues", "zero_eigenvalues", "negative_eigenvalues")
# What can be compared, in the order in which it is shown; between the ends also eigenvalue_2, eigenvalue_3 …
COMPARED: Final = (
    LOSS,
    "gradient_norm",
    "trace",
    *DIAGONAL,
    "top_eigenvalue",
    "smallest_eigenvalue",
    "weight_at_zero",
    "support_min",
    "support_max",
    "frobenius_norm",
    "condition_number",
    *INERTIA,
)
# What can only be held against a threshold: how well something was computed is no property of the network.
ONLY_BOUNDED: Final = (
    "trace_stderr",
    "trace_data_stderr",
    "diagonal_relative_stderr",
    "largest_residual",
    "eigenvalue_count",
    "converged_count",
    "parameter_count",
    "products",
)

# The ends of the spectrum, as `Figure.stream` and `EigenRecord.which` name them.
LARGEST: Final = "largest"
SMALLEST: Final = "smallest"

ENDS: Final = {"top_eigenvalue": LARGEST, "smallest_eigenvalue": SMALLEST}

# The spread of fewer estimates than this says too little: eight of them agree by chance often enough.
_FEWEST: Final = 8
# Estimates of two possible values, as of a block with two parameters, are all equal in one of 2ⁿ⁻¹ cases.
FEWEST_EQUAL: Final = 20
# What curvcli draws for the Frobenius norm of a block too large for memory; a report does not say it.
_FROBENIUS_PROBES: Final = 16
# Probes reach up to the ends of the spectrum and not beyond.
_REACHED: Final[tuple[Literal["lower", "upper"], ...]] = ("upper", "lower")
# Exact is up to rounding: so many units in the last place of the largest number that was summed up.
_ROUNDING: Final = {"float32": 64 * 2.0**-23, "float64": 64 * 2.0**-52}


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """One number of one layer.

    Attributes:
        value: NaN where the computation gave that; what was not computed has no figure.
        stderr: standard error over probes; 0 for an exact number, NaN where it is not known.
        degrees: of freedom of `stderr`.
        choices: among how many entries this one was chosen, as the largest or smallest; else 1.
        bound: how far the true value may be off besides, for certain: an eigenvalue's residual, and rounding.
        data_stderr: how far another draw of the data could move it; no error of the estimate, and never part of it.
        samples: (probes,) independent estimates whose mean is the value; ``None`` where they are not independent.
        stream: where it comes from: equal probes for equal streams, or which end of the spectrum an eigenvalue is.
        doubt: why a difference to another report's figure can't be judged; empty where it can.
        note: what a reader should know.
        matrix: what it is a number of; empty where that is the same in all reports.
        precision: of the computation, where what counts as zero depends on it; else empty.
        only: whether the value is no more than a ``lower`` or an ``upper`` bound of the true one; else empty.
    """

    value: float
    stderr: float = 0.0
    degrees: float = inf
    choices: int = 1
    bound: float = 0.0
    data_stderr: float = nan
    samples: Array | None = None
    stream: str = ""
    doubt: str = ""
    note: str = ""
    matrix: str = ""
    precision: str = ""
    only: Literal["", "lower", "upper"] = ""


def loss_figure(report: Report) -> Figure:
    """Return the loss, which is exact but for rounding."""
    value = report.provenance.loss_value
    return Figure(value=value, bound=_rounding(report, value))


def figures(report: Report, row: LayerSummary) -> dict[str, Figure]:
    """Return what was computed of a layer, in the order of `COMPARED`.

    Arrays are read only where they hold errors that the tables do not: of estimated diagonals, traces and densities,
    and of eigenpairs.

    Raises:
        ReportError: the report can't be read any more.
    """
    found = _gradient(report, row) | _diagonal(report, row) | _trace(report, row)
    found |= _eigen(report, row) | _density(report, row) | _block(report, row)
    return {name: found[name] for name in sorted(found, key=_place)}


def bounded(report: Report, row: LayerSummary) -> dict[str, Figure]:
    """Return all that a threshold may be held against: the `figures`, and how well they were computed."""
    extra = {
        "trace_stderr": row.trace_stderr,
        "trace_data_stderr": row.trace_data_stderr,
        "diagonal_relative_stderr": row.diagonal_relative_stderr,
        "parameter_count": float(row.parameter_count),
        "products": float(row.products),
    }
    found = figures(report, row) | {name: Figure(value=value) for name, value in extra.items() if not isnan(value)}
    if row.eigen_method:
        found |= {
            "largest_residual": Figure(value=row.largest_residual),
            "eigenvalue_count": Figure(value=float(row.eigenvalue_count)),
            "converged_count": Figure(value=float(row.converged_count)),
        }
    return found


def known(name: str) -> bool:
    """Whether any report could hold a quantity of this name."""
    rank = name.removeprefix("eigenvalue_")
    return name in COMPARED or name in ONLY_BOUNDED or (rank != name and rank.isdecimal() and int(rank) > 1)


def _place(name: str) -> tuple[int, int]:
    if name in COMPARED:
        return COMPARED.index(name), 0
    return COMPARED.index("top_eigenvalue"), int(name.removeprefix("eigenvalue_"))


def _rounding(report: Report, scale: float) -> float:
    """Return the bound for rounding of a number that was made of others of this size."""
    return _ROUNDING.get(report.provenance.dtype, 0.0) * abs(scale) if isfinite(scale) else 0.0


def _gradient(report: Report, row: LayerSummary) -> dict[str, Figure]:
    value = row.gradient_norm
    if isnan(value) and not (_has_diagonal(row) and row.status == "nonfinite"):
        return {}
    return {"gradient_norm": Figure(value=value, bound=_rounding(report, value))}


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
    found = {
        name: Figure(value=getattr(row, name), bound=_rounding(report, size), matrix="hessian")
        for name, size in scale.items()
        if not (name == "trace" and row.trace_method) and (row.parameter_count or name == "trace")
    }
    if all(parameter.exact for parameter in row.parameters):
        return found
    return _with_errors(found, entry_errors(report, row))


def _with_errors(found: dict[str, Figure], errors: EntryErrors) -> dict[str, Figure]:
    """Give the numbers of an estimated diagonal the errors that follow from those of its entries.

    The errors of entries are not independent, for all come from the same probes. What holds all the same: the standard
    deviation of a sum is at most the sum of the standard deviations, and a mean of absolute values moves by no more
    than the mean error.
    """
    unknown = _unknown(errors.probes, errors.total) if errors.count else ""
    degrees = max(errors.probes - 1.0, 1.0)
    stderr = {
        "trace": (errors.total, 1),
        "diagonal_mean": (errors.mean, 1),
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
            degrees=degrees,
            doubt=doubt.get(name, unknown),
            note="estimated diagonal",
        )
        for name, figure in found.items()
    }


def _trace(report: Report, row: LayerSummary) -> dict[str, Figure]:
    record = report.record(row.name, TraceRecord) if row.trace_method else None
    if record is None:
        return {}
    independent = record.method in {"hutchinson", "hutch++"}
    probes = len(record.samples)
    figure = Figure(
        value=record.value,
        bound=_rounding(report, record.value),
        data_stderr=record.data_stderr,
        matrix=record.matrix,
        note="" if record.converged else "not converged",
    )
    if not record.exact:
        figure = replace(
            figure,
            stderr=record.stderr,
            degrees=max(probes - 1.0, 1.0),
            doubt=_unknown(probes, record.stderr),
            samples=record.samples if independent else None,
            stream=f"{record.method} {report.provenance.seed}",
        )
    return {"trace": figure}


def _unknown(probes: int, stderr: float) -> str:
    """Say why the spread of so many probes is no error bar; empty where it is."""
    if probes < _FEWEST or isnan(stderr):
        return _few(probes)
    return f"{probes} equal probes are too few for an error bar" if not stderr and probes < FEWEST_EQUAL else ""


def _few(probes: int) -> str:
    """Say that an error bar can't be had."""
    return f"{probes} probes are too few for an error bar" if probes else "it does not say how many probes it is from"


def _eigen(report: Report, row: LayerSummary) -> dict[str, Figure]:
    """Return the eigenvalues; which of them are the ends of the spectrum depends on what was asked for."""
    record = report.record(row.name, EigenRecord) if row.eigen_method else None
    if record is None or not len(record.values):
        return {}
    largest = max((abs(v) for v in record.values.tolist() if isfinite(v)), default=0.0)
    rounding = _rounding(report, largest)

    def figure(place: int, end: str = "") -> Figure:
        done, value, residual = bool(record.converged[place]), float(record.values[place]), record.residuals[place]
        return Figure(
            value=value,
            bound=rounding + (float(residual) if isfinite(residual) else 0.0),
            doubt="" if done else "not converged",
            note="" if done else "not converged",
            stream=_end(record, value, end),
            matrix=record.matrix,
        )

    found = {f"eigenvalue_{i + 1}": figure(i) for i in range(1, len(record.values) - 1)}
    return found | {
        "top_eigenvalue": figure(0, LARGEST),
        "smallest_eigenvalue": figure(len(record.values) - 1, SMALLEST),
    }


def _end(record: EigenRecord, value: float, end: str) -> str:
    """Return which eigenvalue it is: one end of the spectrum, or one of those that were asked for."""
    if end and record.which in {end, "both"}:
        return end
    # All eigenvalues of that magnitude were looked for: if one is positive, the largest is among them.
    if record.which == "magnitude" and ((end == LARGEST and value > 0) or (end == SMALLEST and value < 0)):
        return end
    if record.which == LARGEST and not end:
        return LARGEST
    return f"{len(record.values)} {record.which}"


def _density(report: Report, row: LayerSummary) -> dict[str, Figure]:
    record = report.record(row.name, DensityRecord) if row.density_method else None
    if record is None:
        return {}
    probes, steps = record.nodes.shape
    size = max(abs(edge) for edge in record.support)
    ends = [
        Figure(
            value=edge,
            bound=_rounding(report, size),
            doubt="" if record.exact else "how far probes reach has no error bar; use eigs",
            matrix=record.matrix,
            only="" if record.exact else side,
        )
        for edge, side in zip(record.support, _REACHED, strict=True)
    ]
    weight = Figure(
        value=record.weight_at_zero,
        stderr=0.0 if record.exact else record.weight_at_zero_stderr,
        degrees=inf if record.exact else max(probes - 1.0, 1.0),
        doubt="" if record.exact else _unknown(probes, record.weight_at_zero_stderr),
        stream="" if record.exact else f"{steps} steps",
        matrix=record.matrix,
        precision=report.provenance.dtype,
        only="" if record.exact else "upper",
    )
    return {"weight_at_zero": weight, "support_min": ends[0], "support_max": ends[1]}


def _block(report: Report, row: LayerSummary) -> dict[str, Figure]:
    if not row.hessian_method:
        return {}
    # A block that was made whole is large, and the table has all that is asked of it but the matrix.
    one_matrix = "" if "+" in row.matrix else row.matrix
    estimated = row.hessian_method == "probes"
    record = report.record(row.name, BlockRecord) if estimated or not one_matrix else None
    matrix = record.matrix if record is not None else one_matrix
    norm = Figure(value=row.frobenius_norm, bound=_rounding(report, row.frobenius_norm), matrix=matrix)
    if record is not None and not record.exact:
        error = record.frobenius_stderr
        norm = replace(
            norm,
            stderr=error,
            degrees=_FROBENIUS_PROBES - 1.0,
            doubt=_few(1) if isnan(error) else _unknown(_FROBENIUS_PROBES, error),
        )
    condition = Figure(
        value=row.condition_number,
        doubt="the condition number is only a lower bound" if row.condition_is_bound else "",
        note="lower bound" if row.condition_is_bound else "",
        matrix=matrix,
        precision=report.provenance.dtype,
        only="lower" if row.condition_is_bound else "",
    )
    counts: tuple[float, ...] = row.inertia or ()
    if row.inertia is None and not estimated:  # a whole block without counts has eigenvalues that are no numbers
        counts = (nan, nan, nan)
    inertia = {
        name: Figure(value=float(count), matrix=matrix, precision=report.provenance.dtype)
        for name, count in zip(INERTIA, counts, strict=False)
    }
    return {"frobenius_norm": norm, "condition_number": condition, **inertia}
