"""The loss along a direction, or in a plane of two, beside its quadratic model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from curvcli.report.numbers import number, typeset
from curvcli.report.plot.names import elided
from curvcli.report.plot.scale import power_text
from curvcli.report.plot.style import INK, MUTED, NEGATIVE, POSITIVE, Plot, absent, colours, new_figure
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.studies import StudyRecord, StudyRow

# Losses that are further apart than this are drawn on a log axis.
_WIDE: Final = 300.0
_LEVELS: Final = 16
# Room above and below the measured losses, of their range: the quadratic model may leave it.
_MARGIN: Final = 0.08
_LINE: Final = "towards"


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice of one report.

    Attributes:
        rows: of its directions.
        coordinates: along each, ascending.
        loss: at the points, one axis per direction.
        quadratic: the model there.
    """

    rows: tuple[StudyRow, ...]
    coordinates: tuple[Float64, ...]
    loss: Float64
    quadratic: Float64

    @classmethod
    def of(cls, record: StudyRecord) -> Slice:
        """What a record holds."""
        rows = record.tables["slice"]
        coordinates = tuple(record.array(f"coordinate_{i + 1}") for i in range(len(rows)))
        return cls(rows, coordinates, record.array("loss"), record.array("quadratic"))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the directions."""
        return tuple(row.name for row in self.rows)

    @property
    def axis_labels(self) -> tuple[str, ...]:
        """What stands along the axes."""
        return tuple(typeset(elided(f"along {row.name} ({row.about})", 90)) for row in self.rows)


def draw(view: View) -> Iterator[Plot]:
    """Yield the figure of the slice, if there is one."""
    new, base = _slice(view.new), None if view.base is None else _slice(view.base)
    if new is None:
        return
    if base is not None and base.names != new.names:
        view.notes.append("slice: the other report has other directions, and is not drawn")
        base = None
    if len(new.rows) == 1:
        yield _curve(view, new, base)
    else:
        yield _plane(view, new, base)


def _slice(side: Side) -> Slice | None:
    kept = any(study.name == "slice" and study.tables.get("slice") for study in side.report.studies)
    return Slice.of(side.report.study("slice")) if kept else None


# -- one dimension ----------------------------------------------------------------------------------------------------


def _curve(view: View, new: Slice, base: Slice | None) -> Plot:
    (row,) = new.rows
    title = f"The loss along {row.name}" if row.name != _LINE else "The loss on the way to the other model"
    figure = new_figure(view, title, _notes(new), _handles(view, new, base), (new.axis_labels[0], "loss"))
    axes = figure.add_subplot(1, 1, 1)
    axes.grid(visible=True)
    axes.tick_params(labelsize=10)
    measured = np.concatenate([one.loss[np.isfinite(one.loss)] for one in (new, base) if one is not None])
    if not measured.size:
        absent(axes, "not finite")
        return Plot("slice", "slice", title, "not finite.", figure)
    _upwards(axes, measured)
    (t,) = new.coordinates
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
    axes.plot(t, _finite(new.quadratic), color=NEGATIVE, linewidth=1.4, linestyle="--")
    if base is not None:
        axes.plot(base.coordinates[0], _finite(base.loss), color=INK, linewidth=1.1)
    axes.plot(t, _finite(new.loss), "o-", color=POSITIVE, linewidth=1.6, markersize=4 if len(t) <= 101 else 0)
    if row.name == _LINE:
        axes.axvline(1, color=MUTED, linewidth=0.8, linestyle=":")
        axes.plot([0, 1], [new.loss[t == end][0] for end in (0, 1)], color=MUTED, linewidth=1.1, linestyle="-.")
    return Plot("slice", "slice", title, f"{row.name}: {_said(row)}.", figure)


def _upwards(axes: Axes, measured: Float64) -> None:
    """Scale the axis of losses by the measured ones alone."""
    low, high = float(measured.min()), float(measured.max())
    if low > 0 and high > _WIDE * low:
        axes.set_yscale("log")
        axes.set_ylim(low / (high / low) ** _MARGIN, high * (high / low) ** _MARGIN)
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value, [value, 1e-9])))
        return
    room = _MARGIN * (high - low) or max(abs(low), 1.0) * _MARGIN
    axes.set_ylim(low - room, high + room)


def _finite(values: Float64) -> Float64:
    """Return `values` with a gap where there is no number."""
    return np.where(np.isfinite(values), values, np.nan)


def _handles(view: View, new: Slice, base: Slice | None) -> list[Artist]:
    label = "measured" if base is None else elided(view.new.label, 30)
    handles: list[Artist] = [
        Line2D([], [], color=POSITIVE, linewidth=1.6, marker="o", markersize=4, label=label),
        Line2D([], [], color=NEGATIVE, linewidth=1.4, linestyle="--", label="quadratic model"),
    ]
    if new.names == (_LINE,):
        handles.append(Line2D([], [], color=MUTED, linewidth=1.1, linestyle="-.", label="between both losses"))
    if base is not None and view.base is not None:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, label=elided(view.base.label, 30)))
    return handles


def _notes(new: Slice) -> list[str]:
    lost = int((~np.isfinite(new.loss)).sum())
    return [
        *(typeset(f"{row.name}: {_said(row)}") for row in new.rows),
        *([f"no finite loss at {lost} of {new.loss.size} points"] if lost else []),
    ]


def _said(row: StudyRow) -> str:
    """Return a direction's figures."""
    words = [f"slope {number(row.slope)}", f"curvature {number(row.curvature)}"]
    if not np.isnan(row.barrier):
        words.append(f"barrier {number(row.barrier, 3)} at {number(row.barrier_at, 3)}")
    return ", ".join(words)


# -- two dimensions ---------------------------------------------------------------------------------------------------


def _plane(view: View, new: Slice, base: Slice | None) -> Plot:
    title = f"The loss in the plane of {new.names[0]} and {new.names[1]}"
    panels = [("measured" if base is None else elided(view.new.label, 30), new, new.loss)]
    if base is not None and view.base is not None:
        panels.append((elided(view.base.label, 30), base, base.loss))
    panels.append(("quadratic model", new, new.quadratic))
    figure = new_figure(view, title, _notes(new), (), (new.axis_labels[0], new.axis_labels[1]))
    measured = np.concatenate([values[np.isfinite(values)] for _, _, values in panels[:-1]])
    caption = "; ".join(f"{row.name}: {_said(row)}" for row in new.rows)
    levels, norm = _levels(measured)
    filled = None
    for place, (label, one, values) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        axes.set_title(label)
        drawn = None if levels is None or norm is None else _contours(axes, one, values, levels, norm)
        if drawn is None:
            absent(axes, "not finite" if levels is None else "no contours")
        else:
            filled = filled or drawn
    if filled is not None:
        _scale_beside(figure, filled)
    return Plot("slice", "slice", title, f"{caption}.", figure)


def _levels(measured: Float64) -> tuple[Float64 | None, Normalize | None]:
    """Return where contours run, evenly over the losses or over their logarithms."""
    if not measured.size:
        return None, None
    low, high = float(measured.min()), float(measured.max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    if low > 0 and high > _WIDE * low:
        return np.geomspace(low, high, _LEVELS), LogNorm(low, high)
    return np.linspace(low, high, _LEVELS), Normalize(low, high)


def _contours(axes: Axes, one: Slice, values: Float64, levels: Float64, norm: Normalize) -> Any:
    """Draw the contours of a panel; what has no number stays empty, what is off the levels has their ends' colours."""
    x, y = one.coordinates
    lowest = levels[0] / 10 if isinstance(norm, LogNorm) else -np.inf  # a logarithm has to have something to draw
    heights = np.ma.masked_invalid(np.maximum(values, lowest).T)
    if heights.mask.all():
        return None
    filled = axes.contourf(x, y, heights, levels=levels, norm=norm, cmap=colours(signed=False), extend="both")
    axes.contour(x, y, heights, levels=levels, colors=[INK], linewidths=0.4)
    marks = [(0.0, 0.0), *([(1.0, 0.0)] if one.names[0] == _LINE else [])]
    for mark in marks:
        axes.plot(*mark, "o", color=NEGATIVE, markersize=7)
    return filled


def _scale_beside(figure: Figure, drawn: Any) -> None:
    """Draw what the colours of all panels mean."""
    bar = figure.colorbar(drawn, ax=figure.axes, fraction=0.04, pad=0.02, label="loss")
    ticks = np.asarray(drawn.levels)[:: max(1, len(drawn.levels) // 5)]
    bar.set_ticks(ticks.tolist(), labels=[typeset(number(tick, 3)) for tick in ticks])
    bar.ax.minorticks_off()
