"""The gradient against the curvature, one point per entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from curvcli.report.numbers import share
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import fitted, power_text
from curvcli.report.plot.style import CURVATURE, GRADIENT, MUTED, NEGATIVE, OTHER, POSITIVE, Plot, absent
from curvcli.report.plot.view import Float64, Side, View

MOST: Final = 8000  # points of a panel; more only add ink
_TINY: Final = 0.02  # share of entries that may lie in an axis's linear part


@dataclass(frozen=True, eq=False)
class Points:
    """The entries of one layer.

    Attributes:
        curvature: of those that are drawn, (n,).
        gradient: its magnitude, (n,).
        entries: how many there are, drawn or not.
        lost: how many are not finite in either array.
        negative: share of all finite curvatures below zero.
        zero: share that is exactly zero.
    """

    curvature: Float64
    gradient: Float64
    entries: int
    lost: int
    negative: float
    zero: float


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one scatter plot per layer that has both arrays of a parameter; all share both axes."""
    points_by_layer = {row.name: _points(view.new, row.name) for row in view.new.rows}
    new = {name: points for name, points in points_by_layer.items() if points is not None}
    if not new:
        return
    base = {name: None if view.base is None else _points(view.base, name) for name in new}
    everything = [points for points in (*new.values(), *base.values()) if points is not None]
    x = fitted(np.concatenate([points.curvature for points in everything]), linear=False, share=_TINY)
    y = fitted(np.concatenate([points.gradient for points in everything]), linear=False, share=_TINY)
    notes = [x.note, f"upwards within ±{power_text(y.threshold or 0.0, [y.threshold or 0.0])}"]
    if any(points.entries - points.lost > MOST for points in everything):
        notes.append(f"{MOST} entries drawn at random where there are more; shares are of all")

    zoom = 3.0 if len(new) == 1 else 1.6 if len(new) <= 4 else 1.0

    def panel(axes: Axes, name: str) -> str:
        x.apply(axes, "x", most=7, at_zero=0.03)
        y.apply(axes, "y", most=7, at_zero=0.03)
        axes.grid(visible=True)
        return _panel(axes, new[name], base[name], paired=view.base is not None, zoom=zoom)

    yield from small_multiples(
        view,
        "scatter",
        "Gradient against curvature",
        list(new),
        panel,
        axis_labels=(CURVATURE, GRADIENT),
        notes=notes,
        handles=_handles(view, negative=x.low < 0),
    )


def _points(side: Side, layer: str) -> Points | None:
    arrays = side.entries(layer, "diagonal", "gradient")
    if arrays is None:
        return None
    diagonal, gradient = arrays
    places = np.flatnonzero(np.isfinite(diagonal) & np.isfinite(gradient))
    lost = diagonal.size - places.size
    if places.size > MOST:
        # At random: every so many-th entry would be of the same few channels where the array's shape divides it.
        places = np.sort(np.random.default_rng(0).choice(places, MOST, replace=False))
    finite = diagonal[np.isfinite(diagonal)]
    shares = (float(np.count_nonzero(chosen) / max(finite.size, 1)) for chosen in (finite < 0, finite == 0))
    return Points(diagonal[places], np.abs(gradient[places]), diagonal.size, lost, *shares)


def _panel(
    axes: Axes,
    new: Points,
    base: Points | None,
    *,
    paired: bool,
    zoom: float,
) -> str:
    curvature, gradient = new.curvature, new.gradient
    if not curvature.size:
        absent(axes, "no finite entry")
        return "no finite entry"
    size, opacity = (14.0, 0.8) if curvature.size < 200 else (7.0, 0.6) if curvature.size < 2000 else (4.0, 0.4)
    looks = {"s": size * zoom, "alpha": opacity, "linewidths": 0, "rasterized": curvature.size > 500}
    if base is not None:
        axes.scatter(base.curvature, base.gradient, color=OTHER, marker="D", **looks)  # type: ignore[arg-type]
    below = curvature < 0
    for chosen, colour, marker in ((~below, POSITIVE, "o"), (below, POSITIVE if paired else NEGATIVE, "v")):
        axes.scatter(curvature[chosen], gradient[chosen], color=colour, marker=marker, **looks)  # type: ignore[arg-type]
    axes.axvline(0, color=MUTED, linewidth=0.8)
    numbers = [f"{new.entries} entr{'y' if new.entries == 1 else 'ies'}", f"negative {share(new.negative)}"]
    numbers += [f"zero {share(new.zero)}"] if new.zero else []
    numbers += [f"{new.lost} not finite"] if new.lost else []
    return ", ".join(numbers)


def _handles(view: View, *, negative: bool) -> list[Artist]:
    def dot(colour: str, marker: str, label: str) -> Artist:
        return Line2D([], [], color=colour, marker=marker, linestyle="", label=label)

    if view.base is not None:
        return [dot(POSITIVE, "o", elided(view.new.label, 40)), dot(OTHER, "D", elided(view.base.label, 40))]
    return [
        dot(POSITIVE, "o", "positive curvature" if negative else "one entry"),
        *([dot(NEGATIVE, "v", "negative curvature")] if negative else []),
    ]
