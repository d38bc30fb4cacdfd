"""What each layer's rounding does to the loss, against the bits: predicted, and measured points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

_TINY: Final = 0.1  # share of the rises that may lie in the axis's linear part


@dataclass(frozen=True)
class Rises:
    """What a figure of rises against bits is drawn from.

    Attributes:
        kind: of plot.
        title: of the figure.
        table: with a row per layer and number of bits.
        layer: the column with the layer's name.
        bits: the column with the bits.
        bits_of: what these are of.
        predicted: what predicts, by column: how it is drawn, and its name.
        measured: the column of what was measured.
        quadratic: the one of `predicted` that a panel's title has.
    """

    kind: str
    title: str
    table: str
    layer: str
    bits: str
    bits_of: str
    predicted: Mapping[str, tuple[str, Line, str]]
    measured: str
    quadratic: str


_WEIGHTS: Final = Rises(
    NAME,
    "Rise of the loss with one layer quantised",
    "quantization",
    "quantized_layer",
    "bits",
    "bits per weight",
    {
        "quadratic_rise": (NEGATIVE, "-", "gᵀδ + ½δᵀHδ"),
        "predicted_rise": (OTHER, "--", "gᵀδ + ½ΣH_jjδ_j²"),
        "hawq_v2": (MUTED, ":", "HAWQ-V2"),
    },
    "measured_rise",
    "quadratic_rise",
)


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one panel per layer; all share both axes."""
    yield from draw_rises(view, _WEIGHTS)


def draw_rises(view: View, about: Rises) -> Iterator[Plot]:
    """Yield pages of one panel per layer, as a figure of rises has them; all share both axes."""
    new = rows_by(view.new, about.table, about.layer)
    if not new:
        return
    base = {} if view.base is None else rows_by(view.base, about.table, about.layer)
    every = [row for rows in (*new.values(), *base.values()) for row in rows]
    columns = (*about.predicted, about.measured)
    scale = fitted(np.array([getattr(row, column) for row in every for column in columns]), share=_TINY)
    widths = sorted({getattr(row, about.bits) for row in every})

    def curve(rows: list[StudyRow], column: str) -> tuple[list[int], Float64]:
        values = np.array([getattr(row, column) for row in rows], float)
        return [getattr(row, about.bits) for row in rows], np.where(np.isfinite(values), values, np.nan)

    def panel(axes: Axes, name: str) -> str:
        _ticks(axes, scale, widths)
        for column, (colour, line, _) in about.predicted.items():
            axes.plot(*curve(new[name], column), color=colour, linestyle=line, linewidth=1.5)
        if name in base:
            axes.plot(*curve(base[name], about.measured), color=INK, linewidth=1.1, marker="D", markersize=4)
        axes.plot(*curve(new[name], about.measured), "o", color=POSITIVE, markersize=7)
        row = min(new[name], key=lambda row: getattr(row, about.bits))
        figures = (number(getattr(row, column), 3) for column in (about.measured, about.quadratic))
        return typeset(f"{getattr(row, about.bits)} bits: {', predicted '.join(figures)}")

    yield from small_multiples(
        view,
        about.kind,
        about.title,
        list(new),
        panel,
        axis_labels=(about.bits_of, f"{RISE}, all others as they are"),
        notes=[scale.note] if scale.note else [],
        handles=_handles(view, about, paired=bool(base)),
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


def _handles(view: View, about: Rises, *, paired: bool) -> list[Artist]:
    label = "measured" if not paired else elided(view.new.label, 30)
    handles: list[Artist] = [Line2D([], [], color=POSITIVE, marker="o", linestyle="", markersize=7, label=label)]
    if paired and view.base is not None:
        name = elided(view.base.label, 30)
        handles.append(Line2D([], [], color=INK, linewidth=1.1, marker="D", markersize=4, label=name))
    handles += [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.5, label=name)
        for colour, line, name in about.predicted.values()
    ]
    return handles
