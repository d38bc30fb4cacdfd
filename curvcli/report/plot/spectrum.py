"""Eigenvalues by rank: those that were requested with their residuals, or all of a full Hessian."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from curvcli.report.numbers import number, share, typeset
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import fitted
from curvcli.report.plot.style import EIGENVALUE, INK, MUTED, NEGATIVE, POSITIVE, ZERO, Plot, absent
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.quantities import BlockRecord, EigenRecord

_DECADES: Final = 5  # of magnitude on either side; smaller eigenvalues of float32 work are rounding
_LOOKS: Final = {1: (POSITIVE, "o"), 0: (ZERO, "o"), -1: (NEGATIVE, "v")}  # by sign
_MANY: Final = 60  # eigenvalues from which on they are drawn as a line


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of one layer.

    Attributes:
        values: descending, (k,).
        residuals: (k,).
        converged: (k,), bool.
        signs: 1, 0 or −1 of each, 0 for those that are zero to rounding, (k,).
        whole: whether these are all that the layer has.
    """

    values: Float64
    residuals: Float64
    converged: npt.NDArray[np.bool_]
    signs: npt.NDArray[np.int_]
    whole: bool


def spectrum(side: Side, layer: str) -> Spectrum | None:
    """Return all eigenvalues of a layer where its full Hessian is known, otherwise those that were computed."""
    row = side.row(layer)
    if row is None:
        return None
    if row.hessian_method:
        block = side.report.record(layer, BlockRecord)
        if block is not None and block.eigenvalues is not None:
            values = block.eigenvalues
            # Descending, so the inertia says which ones count as zero; the signs of those are noise.
            counts = block.inertia
            signs = _signs(values) if counts is None else np.repeat([1, 0, -1], counts)
            return Spectrum(values, np.zeros(values.shape), np.ones(values.shape, dtype=np.bool_), signs, whole=True)
    if row.eigen_method:
        eigen = side.report.record(layer, EigenRecord)
        if eigen is not None and len(eigen.values):
            whole = len(eigen.values) == row.parameter_count
            return Spectrum(eigen.values, eigen.residuals, eigen.converged, _signs(eigen.values), whole)
    return None


def _signs(values: Float64) -> npt.NDArray[np.int_]:
    return np.where(values < 0, -1, np.where(values == 0, 0, 1))


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one spectrum per layer; all share the axis of eigenvalues."""
    spectrum_by_layer = {row.name: spectrum(view.new, row.name) for row in view.new.rows}
    new = {name: one for name, one in spectrum_by_layer.items() if one is not None}
    if not new:
        return
    base = {name: None if view.base is None else spectrum(view.base, name) for name in new}
    everything = [one for one in (*new.values(), *base.values()) if one is not None]
    ends = [one.values + sign * one.residuals for one in everything for sign in (-1, 1)]
    scale = fitted(np.concatenate([one.values for one in everything]), decades=_DECADES).covering(np.concatenate(ends))
    notes = [scale.note, "bars: ± residual ‖Hv − λv‖" if any(one.residuals.any() for one in everything) else ""]

    def panel(axes: Axes, name: str) -> str:
        scale.apply(axes, "y", most=8, margin=0.07, at_zero=0.04)
        axes.grid(visible=True, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rank, _: f"{rank:.0f}" if rank >= 1 else ""))
        return _panel(axes, new[name], base[name])

    yield from small_multiples(
        view,
        "spectrum",
        "Eigenvalues by rank",
        list(new),
        panel,
        axis_labels=("rank among those computed", EIGENVALUE),
        notes=[note for note in notes if note],
        handles=_handles(view, everything),
        shared="y",
    )


def _panel(axes: Axes, new: Spectrum, base: Spectrum | None) -> str:
    if not np.isfinite(new.values).any():
        absent(axes, "not finite")
        return "not finite"
    axes.axhline(0, color=MUTED, linewidth=0.8)
    if base is not None:
        _draw(axes, base, base=True)
    _draw(axes, new, base=False)
    count = max(len(new.values), 0 if base is None else len(base.values))
    room = max(0.5, 0.03 * count)
    axes.set_xlim(1 - room, count + room)
    values = new.values[np.isfinite(new.values)]
    count_text = f"{len(values)} computed: " if not new.whole else f"all {len(values)}: "
    ends = " … ".join(number(value, 3) for value in (values[[0]] if len(values) == 1 else values[[0, -1]]))
    missing = int(np.count_nonzero(~new.converged))
    text = count_text + typeset(ends) + (f", {missing} not converged" if missing else "")
    if not new.whole:
        return text
    zero = np.count_nonzero(new.signs == 0) / len(new.signs)
    text += f", negative {share(np.count_nonzero(new.signs < 0) / len(new.signs))}"
    return text + (f", zero to rounding {share(zero)}" if zero else "")


def _draw(axes: Axes, eigenvalues: Spectrum, *, base: bool) -> None:
    ranks = np.arange(1, len(eigenvalues.values) + 1)
    if len(eigenvalues.values) > _MANY:
        for sign, (colour, _) in _LOOKS.items():
            values = np.where(eigenvalues.signs == sign, eigenvalues.values, np.nan)
            looks = {"color": INK, "linestyle": "--", "linewidth": 1.1} if base else {"color": colour, "linewidth": 2.0}
            axes.plot(ranks, values, **looks)  # type: ignore[arg-type]
        return
    errors = np.where(eigenvalues.residuals > 0, eigenvalues.residuals, np.nan)
    for sign, (own_colour, marker) in _LOOKS.items():
        for sound in (True, False):
            chosen = (eigenvalues.signs == sign) & (eigenvalues.converged == sound) & np.isfinite(eigenvalues.values)
            colour = INK if base else own_colour
            axes.errorbar(
                ranks[chosen],
                eigenvalues.values[chosen],
                yerr=errors[chosen],
                color=colour,
                fmt="D" if base else marker,
                markersize=4.5 if base else 5.5,
                markerfacecolor="none" if base or not sound else colour,
                linewidth=1.0,
                capsize=2,
            )


def _handles(view: View, everything: list[Spectrum]) -> list[Artist]:
    def dot(colour: str, marker: str, label: str, fill: str | None = None) -> Artist:
        return Line2D(
            [], [], color=colour, marker=marker, linestyle="", markerfacecolor=fill or colour, label=elided(label, 40)
        )

    handles = [dot(POSITIVE, "o", "eigenvalue" if view.base is None else view.new.label)]
    if any((one.signs < 0).any() for one in everything):
        handles.append(dot(NEGATIVE, "v", "negative"))
    if any((one.signs == 0).any() for one in everything):
        handles.append(dot(ZERO, "o", "zero to rounding"))
    if any(not one.converged.all() for one in everything):
        handles.append(dot(POSITIVE, "o", "not converged", "none"))
    if view.base is not None:
        handles.append(dot(INK, "D", view.base.label, "none"))
    return handles
