"""Histograms of the saliencies of weights, ½ H_jj w_j², one per layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from curvcli.report.numbers import number, share, typeset
from curvcli.report.plot.histogram import counted
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.scale import fitted
from curvcli.report.plot.sensitivity import NAME, rows_by
from curvcli.report.plot.style import NEGATIVE, POSITIVE, Plot, absent, quiet
from curvcli.report.plot.view import Float64, View
from curvcli.report.units import LOSS

_BINS: Final = 60
_SAMPLE: Final = 1 << 16  # saliencies per layer that choose the axis; all are counted
_TINY: Final = 0.05  # share of saliencies that may lie in the axis's linear part


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one histogram per layer; all share the axis of saliencies."""
    kernels = {name: rows[0].kernels for name, rows in rows_by(view.new, "quantization", "quantized_layer").items()}
    held = set(view.new.report.study_arrays(NAME)) if kernels else set()
    values = {
        layer: np.concatenate([view.new.report.study_array(NAME, f"saliency/{name}").ravel() for name in names])
        for layer, names in kernels.items()
        if all(f"saliency/{name}" in held for name in names)
    }
    if not values:
        return
    scale = fitted(np.concatenate([_some(one) for one in values.values()]), linear=False, share=_TINY)
    edges = scale.edges(_BINS)

    def panel(axes: Axes, layer: str) -> str:
        scale.apply(axes, "x", most=7, at_zero=0.03)
        quiet(axes, "y")
        counts = counted(values[layer], None, edges)
        if not counts.entries:
            absent(axes, "no finite entry")
            return "no finite entry"
        below = edges[:-1] < 0
        for side, colour in ((below, NEGATIVE), (~below, POSITIVE)):
            axes.stairs(np.where(side, counts.shares, 0.0), edges, fill=True, color=colour)
        axes.locator_params(axis="y", nbins=5)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda part, _: f"{100 * part:g}%"))
        words = [f"sum {number(float(np.nansum(values[layer])), 3)}", f"negative {share(counts.negative)}"]
        words += [f"zero {share(counts.zero)}"] if counts.zero else []
        return typeset(", ".join(words))

    handles: list[Artist] = [Patch(facecolor=POSITIVE, label="positive")]
    if any(bool((one < 0).any()) for one in values.values()):
        handles.append(Patch(facecolor=NEGATIVE, label="negative"))
    yield from small_multiples(
        view,
        "saliency",
        "Saliency of weights",
        list(values),
        panel,
        axis_labels=(f"½ H_jj w_j² ({LOSS})", "share of weights per bin"),
        notes=[scale.note, "bins are equally wide on it; exact zeros are left out"],
        handles=handles,
        shared="x",
    )


def _some(values: Float64) -> Float64:
    """Return saliencies that choose the axis, the outermost among them."""
    finite = values[np.isfinite(values)]
    ends = [finite.min(initial=0.0), finite.max(initial=0.0)]
    return np.concatenate([finite[:: max(1, finite.size // _SAMPLE)], ends])
