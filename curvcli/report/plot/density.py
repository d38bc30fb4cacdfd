"""Spectral densities: how the eigenvalues of each layer are spread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from curvcli.report.numbers import number, share, typeset
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import power_text
from curvcli.report.plot.style import EIGENVALUE, INK, MUTED, POSITIVE, Plot, absent
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.quantities import DensityRecord
from curvcli.report.units import DENSITY

_FLOOR: Final = 1e-5  # of the highest point; below it lie tails of the Gaussians that smooth the density
_BAND: Final = "± standard error over probes"


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one density per layer, each on its own axes."""
    layers = [row.name for row in view.new.rows if row.density_method]
    if not layers:
        return
    banded = any(_banded(record) for name in layers if (record := view.new.report.record(name, DensityRecord)))

    def panel(axes: Axes, name: str) -> str:
        base = None if view.base is None else _density(view.base, name)
        return _panel(axes, _density(view.new, name), base)

    yield from small_multiples(
        view,
        "density",
        "Spectral density",
        layers,
        panel,
        axis_labels=(EIGENVALUE, f"density ({DENSITY})"),
        notes=["ticks at the bottom: smallest and largest eigenvalue seen", "log axis upwards"],
        handles=_handles(view, banded=banded),
        shared="",
    )


def _density(side: Side, layer: str) -> DensityRecord | None:
    row = side.row(layer)
    return side.report.record(layer, DensityRecord) if row is not None and row.density_method else None


def _banded(record: DensityRecord) -> bool:
    return bool(np.any(record.density_stderr > 0))


def _panel(axes: Axes, new: DensityRecord | None, base: DensityRecord | None) -> str:
    if new is None or not np.any(np.isfinite(new.density) & (new.density > 0)):
        absent(axes, "not finite")
        return "not finite"
    highest = float(np.nanmax(new.density))
    if base is not None and np.any(np.isfinite(base.density)):
        highest = max(highest, float(np.nanmax(base.density)))
    floor = _FLOOR * highest
    axes.set_yscale("log")
    axes.set_ylim(floor, 2 * highest)
    axes.grid(visible=True)
    axes.locator_params(axis="x", nbins=5)
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value, [value, 1e-9])))
    if _banded(new):
        under, above = (_over(new.density + sign * new.density_stderr, floor) for sign in (-1, 1))
        axes.fill_between(new.grid, under, above, color=POSITIVE, alpha=0.3, linewidth=0)
    axes.plot(new.grid, _over(new.density, floor), color=POSITIVE, linewidth=1.5)
    axes.plot(
        new.support, [0, 0], "|", color=POSITIVE, markersize=11, transform=axes.get_xaxis_transform(), clip_on=False
    )
    if base is not None:
        axes.plot(base.grid, _over(base.density, floor), color=INK, linewidth=1.1, linestyle="--")
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
    low, high = new.support
    bound = "" if new.exact else "at most "
    return typeset(f"{number(low, 3)} … {number(high, 3)}, {bound}{share(new.weight_at_zero)} zero to rounding")


def _over(values: Float64, floor: float) -> Float64:
    """Return `values` with those below the axis at its edge, where a logarithm can draw them."""
    return np.maximum(values, floor / 10)


def _handles(view: View, *, banded: bool) -> list[Artist]:
    label = "density" if view.base is None else elided(view.new.label, 40)
    handles: list[Artist] = [Line2D([], [], color=POSITIVE, linewidth=1.5, label=label)]
    if banded:
        handles.append(Patch(facecolor=POSITIVE, alpha=0.3, label=_BAND))
    if view.base is not None:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, linestyle="--", label=elided(view.base.label, 40)))
    return handles
