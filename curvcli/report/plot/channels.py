"""Sums of diagonals per output channel, with their standard errors where they are estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from curvcli.report import units
from curvcli.report.numbers import number, typeset
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import Scale, fitted
from curvcli.report.plot.style import INK, MUTED, NEGATIVE, OTHER, POSITIVE, Plot, absent, quiet
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.summaries import ParameterSummary

MOST: Final = 512  # channels of a panel, those of the largest sums; more would hide each other's errors
_OUTPUT: Final = "out"
_CROWDED: Final = 128  # channels whose error bars have no room for caps
_SURE: Final = 2  # standard errors
_SMALL: Final = 0.5  # share of the channels that may lie in the linear part of a logarithmic axis
_DECADES: Final = 4


@dataclass(frozen=True, eq=False)
class Sums:
    """One parameter's diagonal, summed over all axes but that of the output channels.

    Attributes:
        values: (channels,).
        errors: their standard errors, (channels,); None where the diagonal is exact.
    """

    values: Float64
    errors: Float64 | None

    @property
    def finite(self) -> npt.NDArray[np.intp]:
        """The channels whose sum is a number."""
        return np.flatnonzero(np.isfinite(self.values))

    @property
    def reach(self) -> Float64:
        """How far the error bars reach from the values; 0 without one."""
        if self.errors is None:
            return np.zeros(self.values.shape)
        return np.where(np.isfinite(self.errors), self.errors, 0.0)


def sums_of(side: Side, layer: str, parameter: ParameterSummary) -> Sums | None:
    """Return a parameter's sums; ``None`` where it has no output channels, or their errors are not in the report.

    Args:
        side: that has the parameter.
        layer: its layer.
        parameter: with or without a diagonal.
    """
    values, errors = (side.report.array(layer, name, parameter.label) for name in ("channel_sums", "channel_stderr"))
    if values is not None and errors is not None:
        return Sums(np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64))
    if not parameter.exact or _OUTPUT not in parameter.axes or len(parameter.axes) < 2 or not min(parameter.shape):
        return None
    diagonal = side.report.array(layer, "diagonal", parameter.label)
    if diagonal is None:
        return None
    others = tuple(i for i, axis in enumerate(parameter.axes) if axis != _OUTPUT)
    with np.errstate(invalid="ignore", over="ignore"):
        return Sums(np.asarray(diagonal, dtype=np.float64).sum(axis=others), None)


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one panel per parameter with output channels: a point per channel, and its error bar."""
    held = [(row.name, p) for row in view.new.rows for p in view.new.parameters(row.name)]
    new = {p.name: (layer, p, sums) for layer, p in held if (sums := sums_of(view.new, layer, p)) is not None}
    if not new:
        return
    base = {name: _counterpart(view.base, layer, p, sums) for name, (layer, p, sums) in new.items()}
    everything = [sums for sums in (*(one[2] for one in new.values()), *base.values()) if sums is not None]
    notes = ["each panel has its own axis, logarithmic away from zero where few channels outweigh all others"]
    if any(sums.errors is not None for sums in everything):
        notes.append("bars: one standard error over probes")
    if any(len(sums.finite) > MOST for sums in everything):
        notes.append(f"the {MOST} channels of the largest sums where there are more; numbers are of all")

    def panel(axes: Axes, name: str) -> str:
        return _panel(axes, new[name][2], base[name])

    yield from small_multiples(
        view,
        "channels",
        f"Diagonal of the {view.of_diagonals}, summed per output channel",
        list(new),
        panel,
        axis_labels=("output channel", f"sum of diagonal entries ({units.CURVATURE})"),
        notes=notes,
        handles=_handles(view, everything),
        shared="",
    )


def _counterpart(base: Side | None, layer: str, parameter: ParameterSummary, new: Sums) -> Sums | None:
    """Return the sums of the same parameter in the other report; ``None`` when it has other channels there."""
    for other in base.parameters(layer) if base is not None else ():
        if other.label == parameter.label:
            sums = sums_of(base, layer, other) if base is not None else None
            if sums is not None and sums.values.shape == new.values.shape:
                return sums
    return None


def _panel(axes: Axes, new: Sums, base: Sums | None) -> str:
    quiet(axes, "y")
    channels = new.finite
    if not channels.size:
        absent(axes, "no finite sum")
        return "no finite sum"
    drawn = [sums for sums in (new, base) if sums is not None]
    ends = [(sums.values + sign * sums.reach)[sums.finite] for sums in drawn for sign in (-1, 1)]
    sizes = np.concatenate([np.maximum(np.abs(sums.values), sums.reach) for sums in drawn])
    scale = fitted(sizes, decades=_DECADES, share=_SMALL)
    span = np.concatenate(ends)
    # What the errors do not tell from zero needs no decades of its own.
    Scale(float(span.min(initial=0.0)), float(span.max(initial=0.0)), scale.threshold).apply(
        axes, "y", most=7, margin=0.06
    )
    axes.set_xlim(-0.6, len(new.values) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.axhline(0, color=MUTED, linewidth=0.8)
    if base is not None:
        _points(axes, base, base.finite, OTHER, "D")
    negative = new.values < 0
    _points(axes, new, channels[~negative[channels]], POSITIVE, "o")
    _points(axes, new, channels[negative[channels]], POSITIVE if base is not None else NEGATIVE, "v")
    return _caption(new, channels)


def _points(axes: Axes, sums: Sums, channels: npt.NDArray[np.intp], colour: str, marker: str) -> None:
    if len(channels) > MOST:
        channels = np.sort(channels[np.argsort(-np.abs(sums.values[channels]), kind="stable")[:MOST]])
    crowded = len(sums.values) > _CROWDED
    reach = sums.reach[channels]
    axes.errorbar(
        channels,
        sums.values[channels],
        yerr=reach if reach.any() else None,
        color=colour,
        ecolor=INK,
        marker=marker,
        linestyle="",
        markersize=2.5 if crowded else 4.5,
        elinewidth=0.6 if crowded else 1.0,
        capsize=0 if crowded else 2.0,
    )


def _caption(sums: Sums, channels: npt.NDArray[np.intp]) -> str:
    """Say which channels are the ends, and of how many even the sign is open."""
    values, reach = sums.values[channels], sums.reach[channels]
    most, least = int(values.argmax()), int(values.argmin())
    words = [f"largest {_text(values[most], reach[most])} in channel {channels[most]}"]
    # An error that is no number tells nothing of the sign either.
    unsure = 0 if sums.errors is None else int(np.sum(~(np.abs(values) >= _SURE * sums.errors[channels])))
    if unsure:
        words.append(f"{unsure} of {len(values)} within {_SURE} stderr of 0")
    elif most != least:
        words.append(f"smallest {_text(values[least], reach[least])} in {channels[least]}")
    if len(channels) < len(sums.values):
        words.append(f"{len(sums.values) - len(channels)} not finite")
    return ", ".join(words)


def _text(value: float, error: float) -> str:
    shown = number(value, 3) + (f" ± {number(error, 2)}" if error > 0 else "")
    return typeset(shown)


def _handles(view: View, everything: list[Sums]) -> list[Artist]:
    def dot(colour: str, marker: str, label: str) -> Artist:
        return Line2D([], [], color=colour, marker=marker, linestyle="", label=label)

    if view.base is not None:
        handles = [dot(POSITIVE, "o", elided(view.new.label, 40)), dot(OTHER, "D", elided(view.base.label, 40))]
    else:
        handles = [dot(POSITIVE, "o", "positive")]
        if any((sums.values < 0).any() for sums in everything):
            handles.append(dot(NEGATIVE, "v", "negative"))
    if any(sums.reach.any() for sums in everything):
        handles.append(Line2D([], [], color=INK, marker="|", linewidth=1.0, label="standard error"))
    return handles
