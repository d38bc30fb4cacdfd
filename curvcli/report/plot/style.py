"""How every figure looks: colours, type, the heading, and the colours a page may replace for its dark theme."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from matplotlib import colormaps, style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from curvcli.report import units
from curvcli.report.plot.names import elided
from curvcli.report.plot.view import View

WIDTH: Final = 1200  # pixels
HEIGHT: Final = 800
DPI: Final = 100

# Only these four stand for "ink on paper"; a page replaces them by its own, so that figures follow a dark theme.
INK: Final = "#1f2328"
MUTED: Final = "#59636e"
GRID: Final = "#d8dee4"
PAPER: Final = "#ffffff"

# Okabe and Ito's palette: told apart under all common kinds of colour blindness, on white and on near-black.
POSITIVE: Final = "#0072b2"
NEGATIVE: Final = "#d55e00"
OTHER: Final = "#e69f00"
ZERO: Final = "#8c959f"

EIGENVALUE: Final = f"eigenvalue ({units.CURVATURE})"
CURVATURE: Final = f"diagonal entry ({units.CURVATURE})"
GRADIENT: Final = f"|gradient| ({units.GRADIENT})"

_ONE_ROW: Final = 4  # entries of a legend that fit beside a title

_RULES: Final[dict[str, Any]] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so figures are the same everywhere
    "font.size": 10,
    "text.parse_math": False,  # a layer's name may hold dollar signs
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
    "text.hinting": "none",  # hinted, the smallest letters are distorted
    "svg.hashsalt": "curvcli",  # otherwise ids in an SVG are random
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Plot:
    """One finished figure.

    Attributes:
        kind: e.g. ``histogram``.
        stem: name of its file, without suffix.
        title: what stands above it.
        caption: what it shows, in words and numbers, for who can't see it.
        figure: 1200×800 pixels.
    """

    kind: str
    stem: str
    title: str
    caption: str
    figure: Figure


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style while figures are made and saved, whatever the person's own matplotlibrc says."""
    with style.context(["default", _RULES]), warnings.catch_warnings():
        # A name in a script the font lacks shows as boxes; the page and the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # Near the largest float, matplotlib's arithmetic for margins and ticks overflows; what is drawn is right.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        yield


def new_figure(
    view: View,
    title: str,
    notes: Sequence[str] = (),
    handles: Sequence[Artist] = (),
    axis_labels: tuple[str, str] | None = None,
) -> Figure:
    """Make a figure with its heading; what is drawn below fills the rest.

    Args:
        view: names the model, the loss and the samples in the second line.
        title: the first line.
        notes: one line at the bottom, joined; below it stands what sets the two reports apart.
        handles: the legend's, on the right of the first line.
        axis_labels: along x and y, for all panels together.
    """
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI))
    lines = [elided(" · ".join(words), 202) for words in (notes, view.comparison) if words]
    below = 0.012 + 0.023 * len(lines) if lines else 0.0
    left, bottom = (0.03, below + 0.032) if axis_labels else (0.008, below)
    figure.set_layout_engine("constrained", rect=(left, bottom, 0.992 - left, 0.905 - bottom), w_pad=0.06, h_pad=0.05)
    if axis_labels is not None:
        # Not supxlabel: that one lies on the figure's edge, which the notes have taken.
        across = figure.text(0.5, below + 0.019, axis_labels[0], ha="center", va="center")
        upwards = figure.text(0.014, (bottom + 0.905) / 2, axis_labels[1], ha="center", va="center", rotation=90)
        across.set_in_layout(False)
        upwards.set_in_layout(False)
    crowded = len(handles) > _ONE_ROW
    for text in (
        figure.text(0.012, 0.962, title, fontsize=14, fontweight="bold", va="center"),
        figure.text(0.012, 0.925, view.heading(100 if crowded else 175), fontsize=9, color=MUTED, va="center"),
        *(
            figure.text(0.012, 0.017 + 0.023 * place, line, fontsize=8, color=MUTED, va="center")
            for place, line in enumerate(reversed(lines))
        ),
    ):
        text.set_in_layout(False)
    if handles:
        legend = figure.legend(
            handles=list(handles),
            loc="center right",
            bbox_to_anchor=(0.995, 0.945 if crowded else 0.962),
            ncols=-(-len(handles) // 2) if crowded else len(handles),
            fontsize=9,
            handlelength=1.6,
            columnspacing=1.4,
        )
        legend.set_in_layout(False)
    return figure


def quiet(axes: Axes, grid: str) -> None:
    """Draw grid lines along one axis, and ticks without marks across it."""
    axes.grid(visible=True, axis="x" if grid == "x" else "y")
    axes.tick_params(axis="both", length=3, width=0.8)


def absent(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty; an axis without a scale loses its ticks."""
    if axes.get_yscale() == "linear":
        axes.set_yticks([])
    if axes.get_xscale() == "linear":
        axes.set_xticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def colours(*, signed: bool) -> Colormap:
    """Return a map readable with any colour vision: blue above, red below zero; or dark to light; grey: no number."""
    return colormaps["RdBu" if signed else "viridis"].with_extremes(bad=ZERO)
