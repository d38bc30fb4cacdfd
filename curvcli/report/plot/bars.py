"""Bars per layer: the columns that are plotted, the trace and the top eigenvalue, with their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, isinf, nan
from operator import itemgetter
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from curvcli.report import columns
from curvcli.report.numbers import number, typeset
from curvcli.report.plot.names import elided, labels
from curvcli.report.plot.panels import numbered, pages
from curvcli.report.plot.scale import Scale, fitted
from curvcli.report.plot.style import INK, MUTED, NEGATIVE, OTHER, POSITIVE, WIDTH, Plot, new_figure, quiet
from curvcli.report.plot.view import Side, View
from curvcli.report.records.ends import LARGEST, ends
from curvcli.report.records.quantities import BlockRecord, EigenRecord
from curvcli.report.records.status import UNRELIABLE
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.table import Column
from curvcli.text import printable

MOST: Final = 62  # rows on a page whose names still read well
_MOST_TEXTS: Final = 26  # rows that have room for their numbers
_CHARACTER: Final = 8  # pixels of a name's
_TICK: Final = 80  # pixels, with the margins' share of the panel


_ERRORS: Final = {"trace": "stderr over probes", "top_eigenvalue": "residual ‖Hv − λv‖"}


@dataclass(frozen=True)
class Bar:
    """One number of one layer.

    Attributes:
        value: NaN where there is none.
        error: of the computation: a trace's standard error over probes, or an eigenvalue's residual; NaN if unknown.
        data_error: of a trace, how far another draw of the data could move it; NaN if unknown.
        sound: whether the requested tolerance is met, and the digits are to be relied on.
        why: what to say where there is no finite value.
    """

    value: float
    error: float = nan
    data_error: float = nan
    sound: bool = True
    why: str = "not computed"


def trace_bar(side: Side, row: LayerSummary) -> Bar:
    """Return a layer's trace, computed on its own or summed from its diagonal."""
    requested = row.trace_method or (row.parameters and all(p.method for p in row.parameters))
    if row.status == "nonfinite" or isinf(row.trace) or (requested and row.status == "done"):
        why = "not finite"
    else:
        why = "not computed" if row.status == "done" else row.status.replace("_", " ")
    unreliable = any(status in UNRELIABLE for status in (row.status, *(p.status for p in row.parameters)))
    sound = not unreliable and (row.status != "not_converged" or not row.trace_method)
    return Bar(row.trace, row.trace_stderr, row.trace_data_stderr, sound, why)


def eigenvalue_bar(side: Side, row: LayerSummary) -> Bar:
    """Return a layer's top eigenvalue, from its eigenpairs or from its full Hessian."""
    if row.eigen_method:
        record = side.report.record(row.name, EigenRecord)
        if record is not None and LARGEST in ends(record.which, record.values.tolist(), row.parameter_count):
            sound = bool(record.converged[0]) and row.status not in UNRELIABLE
            return Bar(float(record.values[0]), float(record.residuals[0]), nan, sound, "not finite")
    if row.hessian_method:
        block = side.report.record(row.name, BlockRecord)
        if block is not None and block.eigenvalues is not None and len(block.eigenvalues):
            return Bar(float(block.eigenvalues[0]), 0.0, sound=row.status not in UNRELIABLE, why="not finite")
    return Bar(nan)


def column_bar(column: Column, side: Side, row: LayerSummary) -> Bar:
    """Return a layer's number of a column, with the error that its own column says."""
    value = column.of_row(row)
    error = float(getattr(row, column.error)) if column.error else nan
    return Bar(nan if value is None else float(value), error, sound=row.status not in UNRELIABLE)


_MAKERS: Final[Mapping[str, Callable[[Side, LayerSummary], Bar]]] = {
    "trace": trace_bar,
    "top_eigenvalue": eigenvalue_bar,
}


def draw(view: View) -> Iterator[Plot]:
    """Yield one figure per 60 layers, with a panel per column that there is anything of."""
    held = _held(view)
    if not held:
        return
    names = [row.name for row in view.new.rows]
    texts, prefix = labels(names)
    every = pages(range(len(names)), MOST)
    scales = {column: _scale(sides) for column, sides in held.items()}
    for page, places in enumerate(every):
        heading = numbered(" and ".join(map(_title, held)).capitalize() + " per layer", page, len(every))
        notes = _notes(held, scales, prefix)
        figure = new_figure(view, heading, notes, _handles(view, held))
        for panel, (column, sides) in enumerate(held.items()):
            axes = figure.add_subplot(1, len(held), panel + 1)
            chosen = [[side[i] for i in places] for side in sides]
            shown = [texts[i] for i in places]
            _panel(axes, chosen, scales[column], shown if panel == 0 else None, _ticks(shown, len(held)))
            axes.set_xlabel(f"{_title(column)} ({column.unit})")
        _part_whole(figure, [names[i] for i in places])
        stem = "bars" if len(every) == 1 else f"bars-{page + 1}"
        words = "; ".join(_caption(_title(column), sides[0], names, places) for column, sides in held.items())
        yield Plot("bars", stem, heading, f"Horizontal bars, one row per layer. {words}.", figure)


def _held(view: View) -> dict[Column, list[list[Bar]]]:
    """Return the columns that any layer has a finite number of, with the bars of each side."""
    bars_by_column: dict[Column, list[list[Bar]]] = {}
    for column in columns.LAYERS.columns:
        if column.plotted:
            sides = [_bars(side, view, _MAKERS.get(column.name, partial(column_bar, column))) for side in view.sides]
            if any(isfinite(bar.value) for side in sides for bar in side):
                bars_by_column[column] = sides
    return bars_by_column


def _bars(side: Side, view: View, make: Callable[[Side, LayerSummary], Bar]) -> list[Bar]:
    rows = [side.row(row.name) for row in view.new.rows]
    return [_lacking(side) if row is None else make(side, row) for row in rows]


def _title(column: Column) -> str:
    return column.name.replace("_", " ")


def _lacking(side: Side) -> Bar:
    return Bar(nan, why=f"not in {elided(printable(side.label), 28)}")


def _scale(sides: Sequence[Sequence[Bar]]) -> Scale:
    bars = [bar for side in sides for bar in side]
    # An error that reaches zero is no reason for a logarithm.
    return fitted([bar.value for bar in bars]).covering([bar.value + s * _widest(bar) for bar in bars for s in (-1, 1)])


def _ticks(names: Sequence[str], panels: int) -> int:
    """Return how many ticks a panel has room for beside names of this length."""
    width = (WIDTH - _CHARACTER * max(map(len, names))) / panels
    return max(3, min(9, int(width / _TICK)))


def _widest(bar: Bar) -> float:
    return max((error for error in (bar.error, bar.data_error) if isfinite(error)), default=0.0)


def _panel(axes: Axes, sides: Sequence[Sequence[Bar]], scale: Scale, names: Sequence[str] | None, most: int) -> None:
    count = len(sides[0])
    texts = count <= _MOST_TEXTS
    scale.apply(axes, "x", most=most, margin=0.25 if texts else 0.03)
    reach = scale.transform(np.array([scale.low, scale.high]))
    beyond = bool(reach[1] > 0.3 * (reach[1] - reach[0]))
    height = min(0.78, 0.12 * max(count, 4)) / len(sides)
    size = 10.0 if count <= 20 else 8.5 if count <= 40 else 7.0
    for which, side in enumerate(sides):
        offset = (which - (len(sides) - 1) / 2) * height
        for place, bar in enumerate(side):
            _bar(axes, bar, place + offset, height * 0.92, base=which == 1, size=size, texts=texts, beyond=beyond)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    # One layer keeps room around it: a bar as high as the page says no more than a thin one.
    spare = max(0.0, 4 - count) / 2
    axes.set_ylim(count - 0.5 + spare, -0.5 - spare)
    axes.set_yticks(range(count), names if names is not None else [""] * count, fontsize=size)
    quiet(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _bar(axes: Axes, bar: Bar, y: float, height: float, *, base: bool, size: float, texts: bool, beyond: bool) -> None:
    if not isfinite(bar.value):
        axes.annotate(
            bar.why, (0, y), (4, 0), textcoords="offset points", va="center", fontsize=min(size, 8) - 0.5, color=MUTED
        )
        return
    colour = NEGATIVE if bar.value < 0 else POSITIVE
    looks = {"facecolor": "none" if base or not bar.sound else colour, "edgecolor": INK if base else colour}
    axes.barh(y, bar.value, height, linewidth=1.0, linestyle="-" if bar.sound else "--", **looks)  # type: ignore[arg-type]
    if isfinite(bar.data_error) and bar.data_error > 0:
        axes.plot(
            [bar.value - bar.data_error, bar.value + bar.data_error], [y, y], color=OTHER, linewidth=3.2, alpha=0.9
        )
    if isfinite(bar.error) and bar.error > 0:
        axes.errorbar(
            bar.value, y, xerr=bar.error, color=INK, linewidth=1.1, capsize=max(1.5, size / 3.4), capthick=1.1
        )
    if texts:
        # Left of a negative bar there may be a name; right of zero there is room, unless all is negative.
        leftwards = bar.value < 0 and not beyond
        axes.annotate(
            text(bar),
            (bar.value - _widest(bar) if leftwards else max(0.0, bar.value + _widest(bar)), y),
            (-6 if leftwards else 6, 0),
            textcoords="offset points",
            va="center",
            ha="right" if leftwards else "left",
            fontsize=size - 1,
            color=MUTED if base else INK,
        )


def text(bar: Bar) -> str:
    """Return the number with its own error, ``72.8 ± 1.4``."""
    error = f" ± {number(bar.error, 2)}" if isfinite(bar.error) and bar.error > 1e-3 * abs(bar.value) else ""
    return typeset(number(bar.value, 3 if error else 4) + error)


def _part_whole(figure: Figure, names: Sequence[str]) -> None:
    """Rule off a block that spans several layers: its numbers are no part of the row of layers."""
    spanning = [i for i, name in enumerate(names) if name.startswith("(whole")]
    for axes in figure.axes:
        for place in spanning:
            if place > 0:
                axes.axhline(place - 0.5, color=MUTED, linewidth=0.8, linestyle=":")


def _handles(view: View, held: dict[Column, list[list[Bar]]]) -> list[Artist]:
    bars = [bar for sides in held.values() for side in sides for bar in side if isfinite(bar.value)]
    handles: list[Artist] = []
    if view.base is not None:
        handles += [
            Patch(facecolor=POSITIVE, edgecolor=POSITIVE, label=elided(view.new.label, 28)),
            Patch(facecolor="none", edgecolor=INK, label=elided(view.base.label, 28)),
        ]
    if any(bar.value < 0 for bar in bars):
        handles.append(Patch(facecolor=NEGATIVE, label="negative"))
    if any(not bar.sound for bar in bars):
        handles.append(Patch(facecolor="none", edgecolor=POSITIVE, linestyle="--", label="not converged"))
    if any(bar.error > 0 for bar in bars):
        handles.append(Line2D([], [], color=INK, marker="|", linewidth=1.1, label="computation error"))
    if any(bar.data_error > 0 for bar in bars):
        handles.append(Line2D([], [], color=OTHER, linewidth=3.2, label="data spread"))
    return handles


def _notes(held: dict[Column, list[list[Bar]]], scales: dict[Column, Scale], prefix: str) -> list[str]:
    notes = [f"names below {prefix}"] if prefix else []
    errors = [column for column, sides in held.items() if any(bar.error > 0 for side in sides for bar in side)]
    if errors:
        error_names = (f"{_ERRORS.get(column.name, 'standard error')} ({_title(column)})" for column in errors)
        notes.append(f"errors: {', '.join(error_names)}")
    if any(bar.data_error > 0 for sides in held.values() for side in sides for bar in side):
        notes.append("data spread: stderr over batches")
    bent = {_title(c): scale.note.partition("within ")[2] for c, scale in scales.items() if not scale.linear}
    if bent:
        notes.append("log axes, linear within " + ", ".join(f"{limit} ({name})" for name, limit in bent.items()))
    return notes


def _caption(name: str, bars: Sequence[Bar], names: Sequence[str], places: Sequence[int]) -> str:
    finite = [(bars[i].value, names[i] or "(root)", bars[i]) for i in places if isfinite(bars[i].value)]
    if not finite:
        return f"{name}: none on this page"
    (_, low, least), (_, high, most) = min(finite, key=itemgetter(0)), max(finite, key=itemgetter(0))
    if low == high:
        return f"{name} of {high}: {text(most)}"
    return f"{name}: largest {text(most)} in {high}, smallest {text(least)} in {low}"
