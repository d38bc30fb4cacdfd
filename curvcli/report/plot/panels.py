"""Small multiples: one panel per layer, as many pages as they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import ceil
from typing import Any, Final, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from curvcli.report.plot.names import elided, labels
from curvcli.report.plot.style import MUTED, Plot, new_figure
from curvcli.report.plot.view import View

MOST: Final = 12  # panels on a page of 1200×800 that still read well

# Characters that fit above a panel, by the number of columns: of its name, and of its numbers.
NAMED: Final = {1: 110, 2: 58, 3: 40, 4: 30}
SAID: Final = {1: 150, 2: 85, 3: 58, 4: 46}

_T = TypeVar("_T")


def pages(items: Sequence[_T], most: int = MOST) -> list[Sequence[_T]]:
    """Split `items` into pages of nearly equal length, at most `most` long."""
    bounds = np.linspace(0, len(items), max(1, ceil(len(items) / most)) + 1).round().astype(int)
    return [items[a:b] for a, b in pairwise(bounds.tolist())]


def numbered(text: str, page: int, count: int) -> str:
    """Return a title with its page, where there are several."""
    return text if count == 1 else f"{text} ({page + 1} of {count})"


def shape(count: int) -> tuple[int, int]:
    """Return rows and columns for so many panels."""
    columns = 1 if count == 1 else 2 if count <= 4 else 3 if count <= 9 else 4
    return ceil(count / columns), columns


def small_multiples(
    view: View,
    kind: str,
    title: str,
    layers: Sequence[str],
    draw: Callable[[Axes, str], str],
    *,
    axis_labels: tuple[str, str],
    notes: Sequence[str] = (),
    handles: Sequence[Artist] = (),
    shared: str = "xy",
) -> Iterator[Plot]:
    """Yield the pages of one kind.

    Args:
        view: what is drawn.
        kind: names the files.
        title: without the page.
        layers: one panel each.
        draw: fills a panel and returns its numbers, which stand above it and in the caption.
        axis_labels: along x and y, for all panels.
        notes: at the bottom.
        handles: the legend's.
        shared: which axes are the same in all panels and labelled at the edge only.
    """
    every = pages(layers)
    texts, prefix = labels(layers, NAMED[shape(max(map(len, every)))[1]])
    text_of = dict(zip(layers, texts, strict=True))
    for number, names in enumerate(every):
        rows, columns = shape(len(names))
        heading = numbered(title, number, len(every))
        shared_notes = [*notes, *([f"names below {prefix}"] if prefix else [])]
        figure = new_figure(view, heading, shared_notes, handles, axis_labels)
        size = 11.0 if rows == 1 else 9.5 if columns < 4 else 8.5
        words = []
        for place, name in enumerate(names):
            axes = figure.add_subplot(rows, columns, place + 1)
            axes.tick_params(labelsize=size - 1)
            caption = draw(axes, name)
            # Two blank lines keep the room; the texts themselves must not make a panel narrower.
            axes.set_title(" \n ", fontsize=size, pad=3)
            _above(axes, text_of[name], size + 6, fontsize=size, fontweight="bold")
            _above(axes, elided(caption, SAID[columns], 0.7), 3.5, fontsize=size - 1, color=MUTED)
            words.append(f"{name or '(root)'}: {caption}")
            if "x" in shared and place + columns < len(names):
                axes.tick_params(labelbottom=False)
            if "y" in shared and place % columns:
                axes.tick_params(labelleft=False)
        stem = kind if len(every) == 1 else f"{kind}-{number + 1}"
        yield Plot(kind, stem, heading, "; ".join(words) + ".", figure)


def _above(axes: Axes, text: str, points: float, **looks: Any) -> None:
    where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(text, (0, 1), (0, points), **where, **looks).set_in_layout(False)
