"""A kernel's diagonal: a heat map over channels, and small maps over its taps for the channels of most curvature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan, prod
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from curvcli.report.numbers import number, share, typeset
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import shape
from curvcli.report.plot.scale import Scale, fitted, power_text
from curvcli.report.plot.style import Plot, colours, new_figure
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.summaries import ParameterSummary
from curvcli.report.units import CURVATURE
from curvcli.text import printable
from curvcli.wording import shell_option

MOST_PIXELS: Final = 512  # per side of a heat map: more than a screen shows of it
MOST_KERNELS: Final = 16  # drawn when nobody chose layers
MOST_MAPS: Final = 12
_OUTPUTS: Final = ("out", "gates", "feature")
_TINY: Final = 0.05  # share of cells that may lie in the linear part of the colours
_UNIT: Final = f"mean diagonal entry ({CURVATURE})"


@dataclass(frozen=True, eq=False)
class Channels:
    """A kernel's diagonal by channel, whatever its framework's layout.

    Attributes:
        mean: over the taps, (in, out).
        maps: over the inputs, (out, height, width); ``None`` for a kernel without taps, or with one.
        sizes: mean absolute entry by output channel, (out,).
        rows: what the first axis of `mean` is.
        columns: what the second is.
        taps: the names of the axes averaged over.
    """

    mean: Float64
    maps: Float64 | None
    sizes: Float64
    rows: str
    columns: str
    taps: tuple[str, ...]


def by_channel(diagonal: Float64, axes: Sequence[str]) -> Channels:
    """Sort a kernel's axes by their names into taps, inputs and outputs.

    Args:
        diagonal: of at least 2 axes.
        axes: their names: those of taps begin with ``kernel``; ``out`` and the like is the output, of unknown ones
            the last; all others are inputs, taken together. A depthwise kernel has one filter per input, so there
            the input stands for the output.
    """
    taps = [i for i, name in enumerate(axes) if name.startswith("kernel")]
    channels = [i for i in range(len(axes)) if i not in taps]
    outward = ("in",) if "multiplier" in axes else _OUTPUTS
    named = [i for i in channels if axes[i] in outward]
    output = named[0] if named else channels[-1] if channels else None
    inputs = [i for i in channels if i != output]
    outputs = [] if output is None else [output]
    sizes = [prod(diagonal.shape[i] for i in group) for group in (inputs, outputs)]
    ordered = diagonal.transpose(*inputs, *outputs, *taps).reshape(*sizes, *(diagonal.shape[i] for i in taps))
    spatial = tuple(range(2, ordered.ndim))
    maps = None
    if prod(ordered.shape[2:]) > 1:
        maps = ordered.mean(axis=0)
        maps = maps[:, None, :] if maps.ndim == 2 else maps.mean(axis=tuple(range(1, maps.ndim - 2)))
    return Channels(
        mean=ordered.mean(axis=spatial),
        maps=maps,
        sizes=np.abs(ordered).mean(axis=(0, *spatial)),
        rows=" × ".join(axes[i] for i in inputs) or "all",
        columns=axes[output] if output is not None else "all",
        taps=tuple(axes[i] for i in taps),
    )


def shrunk(plane: Float64, most: int = MOST_PIXELS) -> tuple[Float64, tuple[int, int]]:
    """Return `plane` as means over blocks, so that no side is longer than `most`, and the blocks' shape."""
    blocks = tuple(-(-length // most) or 1 for length in plane.shape)
    for axis, block in enumerate(blocks):
        if block > 1:
            starts = np.arange(0, plane.shape[axis], block)
            counts = np.diff(np.append(starts, plane.shape[axis]))
            sums = np.add.reduceat(plane, starts, axis=axis)
            plane = sums / (counts[:, None] if axis == 0 else counts[None, :])
    return plane, (blocks[0], blocks[1])


def draw(view: View) -> Iterator[Plot]:
    """Yield one figure per parameter of two axes or more: its heat map; beside it maps, or the change from the base."""
    held = [
        (row.name, p)
        for row in view.new.rows
        for p in view.new.parameters(row.name)
        if len(p.shape) > 1 and min(p.shape) > 0 and view.new.report.array(row.name, "diagonal", p.label) is not None
    ]
    if len(held) > MOST_KERNELS and not view.all_kernels:
        largest = sorted(held, key=lambda item: -abs(item[1].trace) if not isnan(item[1].trace) else np.inf)
        kept = {id(p) for _, p in largest[:MOST_KERNELS]}
        view.notes.append(
            f"{MOST_KERNELS} of {len(held)} kernels, those of the largest traces: "
            f"{shell_option('layer')} chooses others"
        )
        held = [(name, p) for name, p in held if id(p) in kept]
    for layer, p in held:
        yield _figure(view, layer, p)


def _figure(view: View, layer: str, p: ParameterSummary) -> Plot:
    new = _channels(view.new, layer, p)
    base = None if view.base is None else _counterpart(view.base, layer, p, new)
    change = None if base is None else new.mean - base.mean
    plane, blocks = shrunk(new.mean)
    name = printable(p.name)
    title = f"Diagonal of {elided(name, 70)}  {' × '.join(map(str, p.shape))}"
    notes = [f"mean over {' and '.join(new.taps)}"] if new.taps else []
    if max(blocks) > 1:
        notes.append(f"one pixel is the mean of {blocks[0]} × {blocks[1]} entries")
    if not p.exact:
        relative = p.diagonal_relative_stderr
        notes.append("estimated" + (f", relative standard error {share(relative)}" if np.isfinite(relative) else ""))
    if not new.mean.any():
        notes.append("every entry is zero")
    if lost := int(np.count_nonzero(~np.isfinite(new.mean))):
        notes.append(f"grey: not finite ({lost} of {new.mean.size})")
    if change is not None and base is not None:
        notes += _largest_change(change, base.mean)
    figure = new_figure(view, title, notes)
    parts: Any = [figure]
    if change is not None or new.maps is not None:
        parts = figure.subfigures(1, 2, width_ratios=(1, 1) if change is not None else (3, 2.2))
    label = printable(view.new.label) if change is not None else ""
    _heat_map(parts[0], plane, fitted(plane, share=_TINY), kernel=new, blocks=blocks, title=label)
    words = [f"heat map of {new.rows} × {new.columns}, {_range(plane)}"]
    if change is not None and view.base is not None:
        difference, _ = shrunk(change)
        over = f"change from {printable(view.base.label)}"
        scale = _signed(fitted(difference, share=_TINY))
        _heat_map(parts[1], difference, scale, kernel=new, blocks=blocks, title=over, unit=f"change of {_UNIT}")
        words.append(f"and its {over}, {_range(difference)}")
    elif new.maps is not None:
        chosen = _maps(parts[1], new)
        words.append(f"and maps over {' × '.join(new.taps[-2:])} of {new.columns} {', '.join(map(str, chosen))}")
    stem = f"kernel-{layer or 'root'}-{p.label}"
    return Plot("kernel", stem, title, f"{name}: {' '.join(words)}.", figure)


def _channels(side: Side, layer: str, p: ParameterSummary) -> Channels:
    array = side.report.array(layer, "diagonal", p.label)
    with np.errstate(invalid="ignore", over="ignore"):
        return by_channel(np.asarray(array, dtype=np.float64), p.axes)


def _counterpart(base: Side, layer: str, p: ParameterSummary, new: Channels) -> Channels | None:
    """Return the same kernel of the other report, also in another layout; ``None`` when it has none of this shape."""
    candidates = [other for other in base.parameters(layer) if other.label == p.label] or [
        other for other in base.parameters(layer) if len(other.shape) == len(p.shape)
    ]
    for other in candidates:
        if len(other.shape) > 1 and base.report.array(layer, "diagonal", other.label) is not None:
            channels = _channels(base, layer, other)
            if channels.mean.shape == new.mean.shape:
                return channels
    return None


def _signed(scale: Scale) -> Scale:
    """Return `scale` around zero: a change of one sign only is still a change."""
    reach = max(-scale.low, scale.high)
    return Scale(-reach, reach, scale.threshold)


def _heat_map(
    part: Any, plane: Float64, scale: Scale, *, kernel: Channels, blocks: tuple[int, int], title: str, unit: str = _UNIT
) -> None:
    axes = part.add_subplot()
    extent = (-0.5, plane.shape[1] * blocks[1] - 0.5, plane.shape[0] * blocks[0] - 0.5, -0.5)
    # Pixels are square where that fills the picture; otherwise a plane of few rows would be a hair.
    near_square = 0.8 <= extent[1] / extent[2] <= 1.25
    image = _image(axes, plane, scale, extent=extent, aspect="equal" if near_square else "auto")
    axes.set_xlabel(_words(kernel.columns, kernel))
    axes.set_ylabel(_words(kernel.rows, kernel))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_title(elided(title, 60), fontsize=10, fontweight="bold")
    _colour_bar(part, image, [axes], scale, unit)


def _words(axis: str, kernel: Channels) -> str:
    if axis not in ("in", "out"):
        return axis
    return f"{axis} channel" if kernel.taps else f"{axis}put"


def _maps(part: Any, kernel: Channels) -> list[int]:
    """Draw the maps of the output channels with the largest mean absolute entry, and return which these are."""
    assert kernel.maps is not None
    order = np.argsort(np.where(np.isfinite(kernel.sizes), -kernel.sizes, np.inf), kind="stable")
    chosen: list[int] = order[:MOST_MAPS].tolist()
    scale = fitted(kernel.maps[chosen], share=_TINY)
    flat = kernel.maps.shape[1] == 1
    tall = kernel.maps.shape[2] == 1 and not flat
    rows, columns = sorted(shape(len(chosen)), reverse=True)  # higher than wide
    if flat or tall:
        rows, columns = (len(chosen), 1) if flat else (1, len(chosen))
    every = []
    for place, channel in enumerate(chosen):
        axes = part.add_subplot(rows, columns, place + 1)
        image = _image(axes, kernel.maps[channel], scale, aspect="auto" if flat or tall else "equal")
        axes.set_xticks([])
        axes.set_yticks([])
        # Beside each other, they leave room for numbers only; what these are stands above all of them.
        axes.set_title(f"{channel}" if tall else f"{kernel.columns} {channel}", fontsize=9, pad=3)
        every.append(axes)
    part.suptitle(f"{kernel.columns} channels of most curvature, mean over {kernel.rows}", fontsize=9.5)
    _colour_bar(part, image, every, scale)
    return chosen


def _image(axes: Axes, plane: Float64, scale: Scale, **looks: Any) -> Any:
    chosen = colours(signed=scale.low < 0)
    return axes.imshow(np.ma.masked_invalid(plane), norm=scale.norm(), cmap=chosen, interpolation="nearest", **looks)


def _colour_bar(part: Any, image: Any, axes: list[Axes], scale: Scale, unit: str = _UNIT) -> None:
    norm = scale.norm()
    bar = part.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=40, pad=0.03)
    bar.set_label(unit, fontsize=9)
    bar.outline.set_visible(False)
    bar.solids.set_rasterized(True)  # otherwise 256 slivers in an SVG
    bar.ax.tick_params(labelsize=8.5, length=3)
    if scale.linear:
        bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: typeset(number(value))))
        return
    ticks = Scale(float(norm.vmin or 0), float(norm.vmax or 1), scale.threshold).ticks(8)
    bar.ax.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value, ticks)))


def _largest_change(change: Float64, old: Float64) -> list[str]:
    """Say how large a change is beside the kernel's own entries: the colours fill their range also with rounding."""
    largest, size = (float(np.abs(plane[np.isfinite(plane)]).max(initial=0.0)) for plane in (change, old))
    if not largest:
        return ["no change"] if np.isfinite(change).all() else []
    return [f"largest change {number(largest / size, 2)} of the largest entry" if size else "changed from zero"]


def _range(plane: Float64) -> str:
    finite = plane[np.isfinite(plane)]
    return f"from {number(finite.min(), 3)} to {number(finite.max(), 3)}" if finite.size else "without a finite entry"
