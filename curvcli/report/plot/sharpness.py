"""Sharpness: how mini-batches differ from each other and from all the data, and the relative flatness of kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from curvcli.report.numbers import number, typeset
from curvcli.report.plot.names import elided, labels
from curvcli.report.plot.scale import power_text
from curvcli.report.plot.style import INK, MUTED, OTHER, POSITIVE, Plot, absent, new_figure
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.studies import StudyRecord, StudyRow
from curvcli.report.units import CURVATURE, LOSS

# Values that are further apart than this are drawn on a log axis.
_WIDE: Final = 50.0
_BINS: Final = 24
# Kernels that have room; those of the most are drawn where there are more.
_MOST: Final = 40
_ALONG: Final = "minibatch_curvature"
_LARGEST: Final = "minibatch_eigenvalue"
_TITLE: Final = "Sharpness of mini-batches and of kernels"


def draw(view: View) -> Iterator[Plot]:
    """Yield the figure of the study, if a report has one with mini-batches or kernels."""
    new, base = _record(view.new), None if view.base is None else _record(view.base)
    if new is None:
        return
    batches, kernels = _batches(new), _kernels(new)
    if batches is None and not kernels:
        return
    title = _TITLE if batches is not None and kernels else "Sharpness of mini-batches"
    title = "Relative flatness of kernels" if batches is None else title
    figure = new_figure(view, title, _notes(new), _handles(view, batches is not None, base is not None))
    panels, captions = (batches is not None) + bool(kernels), []
    if batches is not None:
        axes = figure.add_subplot(1, panels, 1)
        captions.append(_histogram(axes, new, None if base is None else _batches(base)))
    if kernels:
        axes = figure.add_subplot(1, panels, panels)
        captions.append(_dots(axes, kernels, [] if base is None else _kernels(base)))
    yield Plot("sharpness", "sharpness", title, "; ".join(captions) + ".", figure)


def _record(side: Side) -> StudyRecord | None:
    kept = any(study.name == "sharpness" for study in side.report.studies)
    return side.report.study("sharpness") if kept else None


def _batches(record: StudyRecord) -> tuple[Float64, Float64] | None:
    """The finite figures of mini-batches, along their gradients and largest."""
    arrays = {one.name: one.values for one in record.arrays}
    if _ALONG not in arrays or _LARGEST not in arrays:
        return None
    along, largest = (arrays[name][np.isfinite(arrays[name])] for name in (_ALONG, _LARGEST))
    return along, largest


def _kernels(record: StudyRecord) -> list[StudyRow]:
    rows = [row for row in record.tables.get("relative_flatness", ()) if np.isfinite(row.relative_flatness)]
    if len(rows) > _MOST:
        chosen = {id(row) for row in sorted(rows, key=lambda row: -abs(row.relative_flatness))[:_MOST]}
        rows = [row for row in rows if id(row) in chosen]
    return rows


# -- mini-batches -----------------------------------------------------------------------------------------------------


def _histogram(axes: Axes, new: StudyRecord, base: tuple[Float64, Float64] | None) -> str:
    batches = _batches(new)
    values = np.concatenate([*(batches or ()), *(base or ())])
    axes.set_xlabel(f"curvature ({CURVATURE})")
    axes.set_ylabel("share of mini-batches")
    if batches is None or not values.size:
        absent(axes, "not finite")
        return "mini-batches: not finite"
    axes.grid(visible=True, axis="y")
    edges = _edges(axes, values)
    for one, colour in zip(batches, (POSITIVE, OTHER), strict=True):
        axes.hist(one, edges.tolist(), weights=_shares(one), color=colour, alpha=0.55, linewidth=0)
    for one, style in zip(base or (), ("-", "--"), strict=False):
        shares = _shares(one)
        axes.hist(one, edges.tolist(), weights=shares, color=INK, histtype="step", linewidth=1.1, linestyle=style)
    rows = {row.name: row for row in new.tables["sharpness"]}
    for name, colour in (("gradient_curvature", POSITIVE), ("largest_eigenvalue", OTHER)):
        if name in rows and edges[0] <= rows[name].value <= edges[-1]:
            axes.axvline(rows[name].value, color=colour, linewidth=1.6, linestyle="--")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    along, largest = (float(one.mean()) if one.size else float("nan") for one in batches)
    return f"mini-batches: mean curvature along the gradient {number(along, 3)}, mean λmax {number(largest, 3)}"


def _shares(values: Float64) -> Float64:
    return np.full(len(values), 1 / max(len(values), 1))


def _edges(axes: Axes, values: Float64) -> Float64:
    """Return the bins' edges, on an axis that is logarithmic where values of one sign are far apart."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _WIDE * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value, [value, 1e-9])))
        return np.geomspace(low, high, _BINS + 1)
    axes.locator_params(axis="x", nbins=6)
    room = (high - low) or abs(high) or 1.0
    return np.linspace(min(low, 0.0) if low < room else low, high if high > low else low + room, _BINS + 1)


# -- kernels ----------------------------------------------------------------------------------------------------------


def _dots(axes: Axes, new: list[StudyRow], base: list[StudyRow]) -> str:
    names = [row.name for row in new]
    texts, prefix = labels(names)
    places = np.arange(len(new))[::-1]
    before = {row.name: row for row in base}
    values = [row.relative_flatness for row in (*new, *base)]
    positive = [value for value in values if value > 0]
    if len(positive) == len(values) and max(positive) > _WIDE * min(positive):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value, [value, 1e-9])))
    else:
        axes.locator_params(axis="x", nbins=6)
        axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.grid(visible=True)
    for place, row in zip(places, new, strict=True):
        error = row.relative_flatness_stderr if np.isfinite(row.relative_flatness_stderr) else 0.0
        axes.errorbar(row.relative_flatness, place, xerr=error or None, fmt="o", color=POSITIVE, capsize=3)
        if row.name in before:
            axes.plot(before[row.name].relative_flatness, place, "D", color=INK, markersize=5, fillstyle="none")
    axes.set_yticks(places, [elided(text, 30) for text in texts], fontsize=10 if len(new) <= 20 else 8)
    if prefix:
        axes.set_title(f"names below {elided(prefix, 40)}", fontsize=9, color=MUTED)
    axes.set_ylim(-0.6, len(new) - 0.4)
    axes.set_xlabel(f"relative flatness ({LOSS})")
    most = max(new, key=lambda row: abs(row.relative_flatness))
    return f"relative flatness of {len(new)} kernels, the most {number(most.relative_flatness, 3)} of {most.name}"


def _handles(view: View, batches: bool, base: bool) -> list[Artist]:
    handles: list[Artist] = []
    if batches:
        handles = [
            Patch(facecolor=POSITIVE, alpha=0.55, label="along its gradient"),
            Patch(facecolor=OTHER, alpha=0.55, label="largest eigenvalue"),
            Line2D([], [], color=MUTED, linewidth=1.6, linestyle="--", label="of all the data"),
        ]
    if base and view.base is not None:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, label=elided(view.base.label, 30)))
    return handles


def _notes(record: StudyRecord) -> list[str]:
    shown = ("largest_eigenvalue", "batch_sharpness", "batch_largest_eigenvalue", "noise_scale")
    notes = []
    for row in record.tables["sharpness"]:
        if row.name in shown and np.isfinite(row.value):
            error = f" ± {number(row.stderr, 2)}" if row.stderr > 0 else ""
            notes.append(typeset(f"{row.name.replace('_', ' ')} {number(row.value, 3)}{error}"))
    return notes
