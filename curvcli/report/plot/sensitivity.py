"""What each layer's rounding does to the loss, against the bits: predicted, and measured points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from curvcli.report.numbers import number, typeset
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import Scale, fitted
from curvcli.report.plot.style import INK, MUTED, NEGATIVE, OTHER, POSITIVE, Plot
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.studies import StudyRow
from curvcli.report.studies.rows import study_rows

NAME: Final = "sensitivity"
RISE: Final = "rise of the loss"
Line = Literal["-", "--", ":"]

_BITS: Final = "bits per weight"
# What predicts, by column: how it is drawn, and its name.
_PREDICTED: Final[dict[str, tuple[str, Line, str]]] = {
    "quadratic_rise": (NEGATIVE, "-", "gᵀδ + ½δᵀHδ"),
    "predicted_rise": (OTHER, "--", "gᵀδ + ½ΣH_jjδ_j²"),
    "hawq_v2": (MUTED, ":", "HAWQ-V2"),
}
_COLUMNS: Final = (*_PREDICTED, "measured_rise")
_TINY: Final = 0.1  # share of the rises that may lie in the axis's linear part


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one panel per layer; all share both axes."""
    new = rows_by(view.new, "quantization", "quantized_layer")
    if not new:
        return
    base = {} if view.base is None else rows_by(view.base, "quantization", "quantized_layer")
    every = [row for rows in (*new.values(), *base.values()) for row in rows]
    scale = fitted(np.array([getattr(row, column) for row in every for column in _COLUMNS]), share=_TINY)
    widths = sorted({row.bits for row in every})

    def panel(axes: Axes, name: str) -> str:
        _ticks(axes, scale, widths)
        for column, (colour, line, _) in _PREDICTED.items():
            axes.plot(*_curve(new[name], column), color=colour, linestyle=line, linewidth=1.5)
        if name in base:
            axes.plot(*_curve(base[name], "measured_rise"), color=INK, linewidth=1.1, marker="D", markersize=4)
        axes.plot(*_curve(new[name], "measured_rise"), "o", color=POSITIVE, markersize=7)
        row = min(new[name], key=lambda row: row.bits)
        return typeset(f"{row.bits} bits: {number(row.measured_rise, 3)}, predicted {number(row.quadratic_rise, 3)}")

    yield from small_multiples(
        view,
        NAME,
        "Rise of the loss with one layer quantised",
        list(new),
        panel,
        axis_labels=(_BITS, f"{RISE}, all others as they are"),
        notes=[scale.note] if scale.note else [],
        handles=_handles(view, paired=bool(base)),
    )


def rows_by(side: Side, table: str, column: str) -> dict[str, list[StudyRow]]:
    """Return the rows of a table of the study by the layer that stands in a column, in the report's order."""
    layers: dict[str, list[StudyRow]] = {}
    for row in study_rows(side.report.studies, table):
        layers.setdefault(getattr(row, column), []).append(row)
    return layers


def _ticks(axes: Axes, scale: Scale, widths: list[int]) -> None:
    axes.set_xlim(widths[0] - 0.5, widths[-1] + 0.5)
    axes.set_xticks(widths)
    scale.apply(axes, "y", most=7, at_zero=0.03)
    axes.grid(visible=True)
    axes.axhline(0, color=MUTED, linewidth=0.8)


def _curve(rows: list[StudyRow], column: str) -> tuple[list[int], Float64]:
    values = np.array([getattr(row, column) for row in rows], float)
    return [row.bits for row in rows], np.where(np.isfinite(values), values, np.nan)


def _handles(view: View, *, paired: bool) -> list[Artist]:
    label = "measured" if not paired else elided(view.new.label, 30)
    handles: list[Artist] = [Line2D([], [], color=POSITIVE, marker="o", linestyle="", markersize=7, label=label)]
    if paired and view.base is not None:
        name = elided(view.base.label, 30)
        handles.append(Line2D([], [], color=INK, linewidth=1.1, marker="D", markersize=4, label=name))
    handles += [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.5, label=name)
        for colour, line, name in _PREDICTED.values()
    ]
    return handles
