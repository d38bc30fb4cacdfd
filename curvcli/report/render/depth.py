"""What the table and the Markdown show of diagonals drawn as sparklines, and of one layer with all that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite, isnan
from typing import Any, Final

import numpy as np

from curvcli.report import columns
from curvcli.report.hdf5.read import Report
from curvcli.report.numbers import FULL, number, or_dash, share
from curvcli.report.records.matrices import HESSIAN, named
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.render.cells import lengths, shown
from curvcli.report.render.layers import contents, split_section
from curvcli.report.render.section import Section, Shown
from curvcli.report.render.sparklines import Histogram, Scale, bars, extent, histograms, smallest
from curvcli.text import printable

_MOST_IN_TABLE: Final = 1 << 20  # entries per parameter: a table of a large model is not to wait for all of them
_MOST_IN_DEPTH: Final = 1 << 24
_DECADES: Final = 8
_BINS_IN_DEPTH: Final = 24
_MOST_EIGENVALUES: Final = 20
_DENSITY_WIDTH: Final = 60
_DENSITY_DECADES: Final = 4

Line = tuple[str, str]


def with_sparklines(report: Report, section: Section, *, ascii: bool) -> Section:
    """Return the table of layers with a column that draws each diagonal, all on one scale.

    Args:
        report: whose diagonals are read.
        section: the table.
        ascii: whether to draw with ASCII.

    Raises:
        ReportError: they can't be read any more.
    """
    largest = max((extent(row.parameters) for row in report.layers), default=0.0)
    scale = Scale.of(largest, 0.0, decades=_DECADES, bins=_DECADES)
    drawn: dict[str, Histogram] = {}
    for row in report.layers:
        if parameter_histograms := list(histograms(report, row, scale, most=_MOST_IN_TABLE).values()):
            drawn[row.name] = sum(parameter_histograms[1:], parameter_histograms[0])
    if not drawn:
        return section
    legend = [f"diagonal: entries by decade, {_axis(scale, ascii)}; zeros and smaller ones are not drawn"]
    if sampled := sum(histogram.looked_at < histogram.size for histogram in drawn.values()):
        legend.append(f"diagonal: about a million entries of each large parameter are drawn ({sampled} layers)")
    column = Shown(
        "diagonal",
        lambda row: drawn[row.name].line(ascii=ascii) if row.name in drawn else "-",
        False,
        3,
        drawn=True,
        legend=tuple(legend),
    )
    *others, last = section.columns
    return replace(section, columns=(*others, column, last))


def depth_sections(report: Report, name: str, *, ascii: bool) -> Iterator[Section]:
    """Yield all that is known of one layer.

    Args:
        report: whose arrays of this layer are read.
        name: of the layer.
        ascii: whether to draw with ASCII.

    Raises:
        ReportError: they can't be read any more.
    """
    row = report.summary(name)
    yield _list("layer " + (printable(name) or "(root)"), _layer(row))
    if row.parameters:
        names = {name for name in ("rounding", "verified") for p in row.parameters if not isnan(getattr(p, name))}
        yield Section("parameters", shown(columns.PARAMETERS, contents((row,)) | names), row.parameters)
        yield from _diagonal(report, row, ascii)
    if (trace := report.record(name, TraceRecord)) is not None:
        yield _list("trace", _trace(trace))
    if (eigen := report.record(name, EigenRecord)) is not None:
        yield _eigenvalues(eigen)
    if (density := report.record(name, DensityRecord)) is not None:
        yield _list("spectral density", _density(density, ascii))
    if (block := report.record(name, BlockRecord)) is not None:
        yield _list(named(block.matrix), _block(block))
    if row.split:
        yield split_section((row,))


def _list(title: str, lines: Iterator[Line]) -> Section:
    columns = (
        Shown("", lambda line: line[0], False, 0),
        Shown("", lambda line: line[1], False, 0, prose=True),
    )
    return Section(title, columns, tuple(lines))


def _layer(row: LayerSummary) -> Iterator[Line]:
    yield "kind", printable(row.kind)
    yield "position", str(row.index)
    count = len(row.parameters)
    yield "entries", f"{row.parameter_count}" + (f" in {count} parameter{'' if count == 1 else 's'}" if count else "")
    yield "method", f"{printable(row.method)}, {'exact' if row.exact else 'not exact'}" if row.method else "-"
    yield "spent", f"{row.products} products, {number(row.seconds, 3)} s"
    yield "status", row.status
    for label, field in (("gradient norm", "gradient_norm"), ("trace", "trace")):
        value = getattr(row, field)
        if not isnan(value):
            summed = field == "trace" and not row.trace_method and row.trace_stderr > 0
            yield label, or_dash(value) + (f" ± {number(row.trace_stderr, 2)}" if summed else "")
    if not isnan(row.diagonal_rounding):
        yield "rounding", f"up to {or_dash(row.diagonal_rounding)} in every entry of the diagonal"
    if not isnan(row.diagonal_min):
        yield (
            "diagonal",
            f"{or_dash(row.diagonal_min)} … {or_dash(row.diagonal_max)}, mean {or_dash(row.diagonal_mean)}",
        )
        yield "negative share", share(row.negative_share)


def _diagonal(report: Report, row: LayerSummary, ascii: bool) -> Iterator[Section]:
    """Yield the histogram of each parameter's diagonal, all on one scale."""
    largest = extent(row.parameters)
    least = smallest(report, row, most=_MOST_IN_DEPTH)
    scale = Scale.of(largest, least, decades=_BINS_IN_DEPTH // 2, bins=_BINS_IN_DEPTH)
    by_label = histograms(report, row, scale, most=_MOST_IN_DEPTH)
    if not by_label:
        return
    columns = (
        Shown("parameter", printable),
        Shown("diagonal", lambda label: by_label[label].line(ascii=ascii), False, 0, drawn=True),
        Shown("zero", lambda label: share(by_label[label].zeros / by_label[label].looked_at), True, 1),
    )
    footer = [
        f"{_axis(scale, ascii)}" + (", smaller ones are not drawn" if any(h.below for h in by_label.values()) else "")
    ]
    footer += [
        f"{printable(label)}: {h.looked_at} of {h.size} entries, spread evenly, are drawn"
        for label, h in by_label.items()
        if h.looked_at < h.size
    ]
    yield Section(
        "distribution of the diagonal",
        columns,
        [label for label, h in by_label.items() if h.looked_at],
        (*footer,),
    )


def _axis(scale: Scale, ascii: bool) -> str:
    low, high = f"1e{scale.low}", f"1e{scale.high}"
    return f"from -{high} over -{low} {'|' if ascii else '│'} {low} to {high}, logarithmic"


def _trace(record: TraceRecord) -> Iterator[Line]:
    yield "value", _full(record.value)
    if not record.exact:
        yield "± stderr", f"{or_dash(record.stderr, 'nonfinite')} over {record.probes} probes"
    yield from _rounding(record.rounding, "")
    if not isnan(record.data_stderr):
        batches = f" ({len(record.batches)} batches)" if len(record.batches) else ""
        yield "± data", f"{or_dash(record.data_stderr)} for another draw of the data{batches}"
    if not record.exact:
        yield "tolerance", "met" if record.converged else "not met"
    yield from _origin(record, record.exact)


def _eigenvalues(record: EigenRecord) -> Section:
    """Return the eigenvalues, of many the first and the last; some eigenvalue lies within each one's residual."""
    count = len(record.values)
    ranks = list(range(count))
    if count > _MOST_EIGENVALUES:
        ranks = [*ranks[: _MOST_EIGENVALUES // 2], *ranks[-_MOST_EIGENVALUES // 2 :]]
    largest = float(np.max(np.abs(record.values), initial=0.0))
    columns = (
        Shown("rank", lambda rank: str(rank + 1), True, 0),
        Shown("eigenvalue", lambda rank: _full(record.values[rank]), True, 0),
        Shown("± residual", lambda rank: or_dash(float(record.residuals[rank]), "nonfinite"), True, 0),
        Shown("relative", lambda rank: _relative(float(record.residuals[rank]), largest), True, 1),
        *([] if record.rounding is None else [Shown("due to rounding", _of_rank(record.rounding), True, 2)]),
        Shown("converged", lambda rank: "yes" if record.converged[rank] else "no", False, 0),
    )
    origin = [f"{label}: {text}" for label, text in _origin(record)]
    footer = [
        f"some eigenvalue lies within ± residual of each; relative to the largest magnitude, "
        f"tolerance {number(record.tolerance, 6)}",
        f"which: {record.which}",
        *origin,
    ]
    if count > len(ranks):
        footer.insert(0, f"{len(ranks)} of {count}, the first and the last")
    return Section("eigenvalues", columns, ranks, tuple(footer))


def _of_rank(values: Any) -> Any:
    return lambda rank: or_dash(float(values[rank]), "nonfinite")


def _density(record: DensityRecord, ascii: bool) -> Iterator[Line]:
    line, axis = _curve(record, ascii)
    if line:
        yield "density", line
        yield "", axis
    yield "support", f"{_full(record.support[0])} … {_full(record.support[1])}"
    error = "" if record.exact or isnan(record.weight_at_zero_stderr) else f" ± {share(record.weight_at_zero_stderr)}"
    bound = "" if record.exact else "at most "
    yield "weight at zero", bound + share(record.weight_at_zero, "nonfinite") + error
    yield from _rounding(record.rounding, "of any eigenvalue")
    yield "bandwidth", or_dash(record.bandwidth)
    yield "nodes", f"{record.nodes.shape[1]} per probe, {record.nodes.shape[0]} probes" if not record.exact else "all"
    yield from _origin(record, record.exact)


def _curve(record: DensityRecord, ascii: bool) -> Line:
    """Return the density's largest value in each of equal parts of the grid, logarithmically, and what the ends are."""
    finite = record.grid[np.isfinite(record.density)]
    values = np.nan_to_num(record.density, nan=0.0, posinf=0.0)
    largest = float(values.max(initial=0.0))
    if not len(finite) or largest <= 0:
        return "", ""
    width = min(_DENSITY_WIDTH, len(values))
    heights = np.array([part.max() for part in np.array_split(values, width)])
    with np.errstate(divide="ignore"):
        drawn = np.maximum(np.log10(heights / largest) + _DENSITY_DECADES, 0.0)
    ends = f"{or_dash(float(record.grid[0]))} … {or_dash(float(record.grid[-1]))}"
    # The bars' outer blanks would be stripped; the brackets keep them.
    return f"[{bars(drawn, ascii=ascii)}]", f"over {ends}, logarithmic, the top {_DENSITY_DECADES} decades"


def _block(record: BlockRecord) -> Iterator[Line]:
    yield "inertia", "-" if record.inertia is None else "{} positive, {} zero, {} negative".format(*record.inertia)
    condition = or_dash(record.condition)
    yield "condition", f"≥ {condition}" if record.condition_is_bound and not isnan(record.condition) else condition
    error = f" ± {or_dash(record.frobenius_stderr)}" if not record.exact and isfinite(record.frobenius_stderr) else ""
    yield "Frobenius norm", _full(record.frobenius) + error
    if record.eigenvalues is not None and len(record.eigenvalues):
        yield "eigenvalues", f"{_full(record.eigenvalues[-1])} … {_full(record.eigenvalues[0])}"
    yield from _rounding(record.rounding, "of any eigenvalue")
    if not isnan(record.asymmetry):
        yield "asymmetry", f"{or_dash(record.asymmetry)} of the largest entry, before averaging"
    if record.entries is not None:
        yield "kept", f"{lengths(record.entries.shape)} entries"
    yield from _origin(record, record.exact)


def _rounding(rounding: float, of: str) -> Iterator[Line]:
    if not isnan(rounding):
        yield "± rounding", f"{or_dash(rounding)} {of}".rstrip()


def _origin(record: Any, exact: bool | None = None) -> Iterator[Line]:
    """Yield how something was computed."""
    verdict = "" if exact is None else ", exact" if exact else ", estimated"
    yield "method", f"{printable(record.method)}{verdict}, {record.products} products"
    if record.matrix != HESSIAN:
        yield "matrix", record.matrix
    if record.reason:
        yield "reason", printable(record.reason)


def _relative(residual: float, largest: float) -> str:
    return or_dash(residual / largest, "nonfinite") if largest else "-"


def _full(value: Any) -> str:
    return number(value, FULL)
