"""Histograms of diagonals on a symmetric logarithmic axis, with the share of negative entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from curvcli.report.numbers import share
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import Scale, fitted
from curvcli.report.plot.style import CURVATURE, INK, MUTED, NEGATIVE, PAPER, POSITIVE, ZERO, Plot, absent, quiet
from curvcli.report.plot.view import Float64, Side, View

_BINS: Final = 60
_SAMPLE: Final = 1 << 16  # entries per layer that choose the axis; all are counted
_ZERO_ROOM: Final = 0.035  # share of the axis for the bar of zeros where nothing is negative
_MOST_ZEROS: Final = 2.0  # times the highest bin, above which the bar of zeros is cut
_TINY: Final = 0.02  # share of entries that may lie in the axis's linear part


@dataclass(frozen=True)
class Counts:
    """A histogram of one layer's diagonal.

    Attributes:
        edges: of the bins, (b + 1,); 0 is one of them.
        shares: of all finite entries that lie in each bin, exact zeros left out, (b,).
        zero: share of finite entries that are exactly zero.
        negative: share of finite entries below zero.
        certain: share below zero by more than two standard errors; ``None`` where the diagonal is exact.
        entries: finite ones.
        lost: entries that are not finite.
    """

    edges: Float64
    shares: Float64
    zero: float
    negative: float
    certain: float | None
    entries: int
    lost: int


def counted(values: Float64, errors: Float64 | None, edges: Float64) -> Counts:
    """Count a diagonal's entries.

    Args:
        values: (n,).
        errors: their standard errors, (n,), where they are estimates.
        edges: that cover them.
    """
    finite = np.isfinite(values)
    entries = int(finite.sum())
    kept = values[finite]
    whole = max(entries, 1)
    shares: Float64 = np.histogram(kept[kept != 0], bins=edges)[0] / whole
    certain = None if errors is None else np.count_nonzero(kept + 2 * errors[finite] < 0) / whole
    zero, negative = np.count_nonzero(kept == 0) / whole, np.count_nonzero(kept < 0) / whole
    return Counts(edges, shares, zero, negative, certain, entries, values.size - entries)


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one histogram per layer, over all its chosen parameters; all share one axis."""
    layers = [row.name for row in view.new.rows if _held(view.new, row.name)]
    if not layers:
        return
    scale = _scale(view, layers)
    edges = scale.edges(_BINS)
    new = {name: _counts(view.new, name, edges) for name in layers}
    base = {name: None if view.base is None else _counts(view.base, name, edges) for name in layers}

    def panel(axes: Axes, name: str) -> str:
        scale.apply(axes, "x", most=7, at_zero=_ZERO_ROOM if zeros else 0.0)
        quiet(axes, "y")
        return _panel(axes, new[name], base[name], scale, missing=_missing(view.new, name))

    zeros = any(counts is not None and counts.zero for counts in new.values())
    yield from small_multiples(
        view,
        "histogram",
        f"Histogram of the diagonal of the {view.of_diagonals}",
        layers,
        panel,
        axis_labels=(CURVATURE, "share of entries per bin"),
        notes=[scale.note, "bins are equally wide on it"],
        handles=_handles(view, [counts for counts in new.values() if counts is not None]),
        shared="x",
    )


def _held(side: Side, layer: str) -> bool:
    return any(side.report.array(layer, "diagonal", p.label) is not None for p in side.parameters(layer))


def _scale(view: View, layers: list[str]) -> Scale:
    samples = []
    for side in view.sides:
        for name in layers:
            diagonal = side.entries(name, "diagonal")
            if diagonal is not None:
                values = diagonal[0][np.isfinite(diagonal[0])]
                ends = [values.min(initial=0.0), values.max(initial=0.0)]
                samples.append(np.concatenate([values[:: max(1, values.size // _SAMPLE)], ends]))
    return fitted(np.concatenate(samples), linear=False, share=_TINY)


def _counts(side: Side, layer: str, edges: Float64) -> Counts | None:
    estimated = [p for p in side.parameters(layer) if not p.exact]
    diagonal = side.entries(layer, "diagonal")
    if diagonal is None:
        return None
    errors = _errors(side, layer) if estimated else None
    return counted(diagonal[0], errors, edges)


def _errors(side: Side, layer: str) -> Float64 | None:
    """Return the standard errors of all entries, 0 where they are exact; ``None`` when all are."""
    parts = []
    estimated = False
    for p in side.parameters(layer):
        diagonal = side.report.array(layer, "diagonal", p.label)
        if diagonal is None:
            continue
        errors = side.report.array(layer, "diagonal_stderr", p.label)
        estimated = estimated or errors is not None
        parts.append((np.zeros(diagonal.shape) if errors is None else np.asarray(errors, dtype=np.float64)).ravel())
    return np.concatenate(parts) if estimated else None


def _missing(side: Side, layer: str) -> str:
    """Return which parameters of a layer the histogram is without."""
    parameters = side.parameters(layer)
    return ", ".join(p.label for p in parameters if side.report.array(layer, "diagonal", p.label) is None)


def _panel(axes: Axes, new: Counts | None, base: Counts | None, scale: Scale, *, missing: str) -> str:
    if new is None or not new.entries:
        absent(axes, "no finite entry")
        return "no finite entry"
    _draw_bins(axes, new)
    if base is not None:
        axes.stairs(base.shares, base.edges, color=INK, linewidth=1.1)
    highest = max(float(new.shares.max(initial=0.0)), 0.0 if base is None else float(base.shares.max(initial=0.0)))
    _draw_zeros(axes, new, scale, highest)
    beside = [f"was {share(base.negative)}"] if base is not None else []
    beside += [f"{share(new.certain)} by over 2 stderr"] if new.certain is not None else []
    lines = [f"negative {share(new.negative)}" + (f" ({', '.join(beside)})" if beside else "")]
    if new.zero or (base is not None and base.zero):
        lines.append(f"zero {share(new.zero)}" + (f" (was {share(base.zero)})" if base is not None else ""))
    if new.lost:
        lines.append(f"not finite {new.lost}")
    if missing:
        lines.append(f"without {elided(missing, 30)}")
    return ", ".join(lines)


def _draw_bins(axes: Axes, counts: Counts) -> None:
    below = counts.edges[:-1] < 0
    for side, colour in ((below, NEGATIVE), (~below, POSITIVE)):
        axes.stairs(np.where(side, counts.shares, 0.0), counts.edges, fill=True, color=colour)


def _draw_zeros(axes: Axes, counts: Counts, scale: Scale, highest: float) -> None:
    """Mark exact zeros by a grey bar; where they far outnumber all else, it is cut, and its number stands beside it."""
    top = 1.15 * (min(counts.zero, _MOST_ZEROS * highest or 1.0) if counts.zero > highest else highest) or 1.0
    if counts.zero:
        after = counts.edges[counts.edges > 0][0]
        # Left of zero where no entries are; else astride it, narrow enough to show the bins on both sides.
        ends = np.array([-0.4, 0.4] if scale.low else [-1.5, 0.0]) * float(scale.transform(float(after)))
        left, right = scale.inverse(ends).tolist()
        axes.bar(left, counts.zero, right - left, align="edge", color=ZERO, edgecolor=PAPER, linewidth=0.5, zorder=3)
        cut = counts.zero > top
        for height in (0.86, 0.9) if cut else ():
            axes.plot([left, right], [height * top, (height + 0.03) * top], color=PAPER, linewidth=2.0, zorder=4)
        if counts.zero > highest:
            where: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": 8, "color": MUTED}
            axes.annotate(share(counts.zero), (right, min(counts.zero, top)), (4, 0), **where)
    axes.set_ylim(0, top)
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda part, _: f"{100 * part:g}%"))


def _handles(view: View, counts: list[Counts]) -> list[Artist]:
    handles: list[Artist] = [Patch(facecolor=POSITIVE, label="positive")]
    if any(histogram.negative for histogram in counts):
        handles.append(Patch(facecolor=NEGATIVE, label="negative"))
    if any(histogram.zero for histogram in counts):
        handles.append(Patch(facecolor=ZERO, label="exactly zero"))
    if view.base is not None:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, label=elided(view.base.label, 40)))
    return handles
