"""How strongly layers are coupled: a matrix of all pairs, and what each layer's own block leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from curvcli.report.numbers import number, share, typeset
from curvcli.report.plot.names import labels
from curvcli.report.plot.style import INK, MUTED, OTHER, PAPER, POSITIVE, Plot, colours, new_figure, quiet
from curvcli.report.plot.view import Float64, View
from curvcli.report.records.studies import StudyRow

_TITLE: Final = "How strongly layers are coupled"
_NOTE: Final = "coupling: ‖H_ij‖² / (‖H_ii‖ ‖H_jj‖) in Frobenius norms"
# Up to so many layers, each cell has its number; up to so many, each line its name.
_NUMBERED: Final = 12
_NAMED: Final = 48
_LONGEST: Final = 22
# A cell whose standard error is more than this share of it is marked.
_UNSURE: Final = 0.5


def draw(view: View) -> Iterator[Plot]:
    """Yield the matrix, if the report has one."""
    report = view.new.report
    summary = next((study for study in report.studies if study.name == "coupling"), None)
    if summary is None or not (rows := summary.tables.get("coupled_layers")):
        return
    values, errors = (report.study_array("coupling", name) for name in ("coupling", "coupling_stderr"))
    names, prefix = labels([row.name for row in rows], _LONGEST)
    unsure = errors > _UNSURE * np.abs(values)
    notes = [
        _NOTE,
        *(["a dot: the standard error is more than half of it"] if unsure.any() else []),
        *(["grey: a block is zero"] if np.isnan(values).any() else []),
        *([f"names below {prefix}"] if prefix else []),
    ]
    figure = new_figure(view, _TITLE, notes)
    left, right = figure.subplots(1, 2, width_ratios=[2.4, 1])
    _matrix(left, values, unsure, names)
    _outside(right, rows)
    yield Plot("coupling", "coupling", _TITLE, _caption(rows), figure)


def _matrix(axes: Axes, values: Float64, unsure: Float64, names: list[str]) -> None:
    count = len(names)
    others = values[~np.eye(count, dtype=bool)]
    finite = others[np.isfinite(others)]
    norm = Normalize(0.0, max(1.0, float(finite.max(initial=0.0))))
    shown = np.where(np.isfinite(values), values, np.nan)
    image = axes.imshow(shown, norm=norm, cmap=colours(signed=False), aspect="auto")
    step = -(-count // _NAMED)
    axes.set_xticks(range(0, count, step), names[::step], rotation=90, fontsize=8 if count > _NUMBERED else 9)
    axes.set_yticks(range(0, count, step), names[::step], fontsize=8 if count > _NUMBERED else 9)
    axes.set_title("coupling of each pair", pad=6)
    for i, j in np.ndindex(count, count):
        bright = float(norm(values[i, j])) > 0.6
        if count <= _NUMBERED and np.isfinite(values[i, j]):
            text = typeset(number(float(values[i, j]), 2))
            axes.text(j, i, text, ha="center", va="center", fontsize=9, color=INK if bright else PAPER)
        if unsure[i, j]:
            axes.plot(j + 0.32, i - 0.32, "o", markersize=3, color=INK if bright else PAPER)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.ax.minorticks_off()


def _outside(axes: Axes, rows: tuple[StudyRow, ...]) -> None:
    places = np.arange(len(rows))
    shares = np.array([row.outside for row in rows])
    errors = np.array([row.outside_stderr for row in rows])
    axes.barh(places, 100 * shares, color=OTHER, height=0.7)
    axes.barh(places, 100 * (1 - shares), left=100 * shares, color=POSITIVE, height=0.7)
    estimated = np.isfinite(errors) & (errors > 0)
    axes.errorbar(
        100 * shares[estimated],
        places[estimated],
        xerr=100 * errors[estimated],
        fmt="none",
        ecolor=INK,
        elinewidth=1,
        capsize=2,
    )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_yticks([])  # the layers are those of the matrix beside it
    quiet(axes, "x")
    axes.set_title("squares outside (left) and inside its own block, %", pad=6, color=MUTED, fontsize=9)


def _caption(rows: tuple[StudyRow, ...]) -> str:
    words = [
        f"{row.name}: {share(row.outside)} outside its own block"
        + (f", coupled most to {row.partner} by {number(row.partner_coupling, 3)}" if row.partner else "")
        for row in rows
    ]
    return "; ".join(words) + "."
