"""What the loss does as weights are removed: by saliency, by size, and by Optimal Brain Surgeon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from curvcli.report.numbers import number, typeset
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import fitted
from curvcli.report.plot.sensitivity import RISE, Line, rows_by
from curvcli.report.plot.style import INK, MUTED, NEGATIVE, OTHER, POSITIVE, Plot
from curvcli.report.plot.view import Float64, View
from curvcli.report.records.studies import StudyRow

# By column: how it is drawn, and its name.
_CURVES: Final[dict[str, tuple[str, Line, str, str]]] = {
    "pruned_measured": (POSITIVE, "-", "o", "least ½H_jjw_j², measured"),
    "pruned_predicted": (NEGATIVE, "--", "", "predicted"),
    "magnitude_measured": (OTHER, "-", "s", "least |w_j|, measured"),
    "obs_measured": (INK, "-", "^", "OBS, measured"),
    "obs_predicted": (MUTED, ":", "", "OBS, predicted"),
}
_TINY: Final = 0.1  # share of the rises that may lie in the axis's linear part


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one panel per layer, and of all layers together; all share both axes."""
    layers = rows_by(view.new, "pruning", "pruned_layer")
    if not layers:
        return
    every = [row for rows in layers.values() for row in rows]
    drawn = {c: look for c, look in _CURVES.items() if any(np.isfinite(getattr(row, c)) for row in every)}
    scale = fitted(np.array([getattr(row, column) for row in every for column in drawn]), share=_TINY)

    def panel(axes: Axes, name: str) -> str:
        scale.apply(axes, "y", most=7, at_zero=0.03)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75])
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(visible=True)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for column, (colour, line, marker, _) in drawn.items():
            looks: dict[str, Any] = {"linestyle": line, "marker": marker, "linewidth": 1.5, "markersize": 5}
            axes.plot(*_curve(layers[name], column), color=colour, **looks)
        row = max(layers[name], key=lambda row: row.sparsity)
        by_size = number(row.magnitude_measured, 3)
        return typeset(f"{row.sparsity:.0%} removed: {number(row.pruned_measured, 3)}, by |w| {by_size}")

    handles: list[Artist] = [
        Line2D([], [], color=colour, linestyle=line, marker=marker, label=name)
        for colour, line, marker, name in drawn.values()
    ]
    yield from small_multiples(
        view,
        "pruning",
        "Rise of the loss with weights removed",
        list(layers),
        panel,
        axis_labels=("share of the weights that are removed", RISE),
        notes=[scale.note] if scale.note else [],
        handles=handles,
    )


def _curve(rows: list[StudyRow], column: str) -> tuple[list[float], Float64]:
    values = np.array([getattr(row, column) for row in rows], float)
    return [row.sparsity for row in rows], np.where(np.isfinite(values), values, np.nan)
