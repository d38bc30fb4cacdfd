"""The figures by name, drawn and turned into the bytes of files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from html import escape
from importlib import import_module
from io import BytesIO
from typing import Any, Final, Literal

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from curvcli.report.plot import kinds
from curvcli.report.plot.names import stems
from curvcli.report.plot.style import Plot, styled
from curvcli.report.plot.view import View

Image = Literal["png", "svg", "page"]

_DECIMALS: Final = 5  # of a position, as a share of the figure: a hundredth of a pixel

KINDS: Final[dict[str, Callable[[View], Iterator[Plot]]]] = {
    name: import_module(f"curvcli.report.plot.{name}").draw for name in kinds.KINDS
}


@dataclass(frozen=True)
class Picture:
    """A figure as files.

    Attributes:
        kind: e.g. ``histogram``.
        stem: a name for its files, without suffix; no other figure has it.
        title: what stands above it.
        caption: what it shows, in words and numbers.
        images: the bytes of a PNG (1200×800) or an SVG, by format; ``page`` is an SVG whose text is text, in whatever
            font there is: a page of many figures is small, and can be searched.
    """

    kind: str
    stem: str
    title: str
    caption: str
    images: dict[Image, bytes]


def pictures(view: View, chosen: Collection[str], images: Collection[Image]) -> Iterator[Picture]:
    """Yield figures of these kinds, one at a time; those that the report holds nothing for are left out.

    Equal reports give equal bytes, for one version of matplotlib.

    Args:
        view: what is drawn.
        chosen: kinds, keys of `KINDS`.
        images: formats.

    Raises:
        ReportError: the report can't be read any more.
    """
    with styled():
        several = view.course is not None
        drawn = (
            plot
            for kind, make in KINDS.items()
            if kind in chosen and kinds.KINDS[kind].many == several
            for plot in make(view)
        )
        names: list[str] = []
        for plot in drawn:
            names.append(plot.stem)
            *_, stem = stems(names)
            made: dict[Image, bytes] = {}
            _lay_out(plot.figure)
            for image, save in _SAVED.items():
                if image in images:
                    made[image] = save(plot)
            yield Picture(plot.kind, stem, plot.title, plot.caption, made)


def _lay_out(figure: Figure) -> None:
    """Place all panels, once for all formats, on a fine grid: the solver's last digits differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(_DECIMALS))
    for axes in figure.axes:
        axes.set_position(tuple(round(number, _DECIMALS) for number in axes.get_position(original=True).bounds))


def _png(plot: Plot) -> bytes:
    stream = BytesIO()
    canvas: Any = FigureCanvasAgg(plot.figure)  # untyped upstream
    canvas.print_png(stream, metadata={"Title": plot.title, "Software": None})
    return stream.getvalue()


def _page(plot: Plot) -> bytes:
    with rc_context({"svg.fonttype": "none"}):
        return _svg(plot)


def _svg(plot: Plot) -> bytes:
    stream = BytesIO()
    canvas: Any = FigureCanvasSVG(plot.figure)  # untyped upstream
    canvas.print_svg(stream, metadata={"Date": None, "Creator": "curvcli"})
    # A hundredth of a pixel is enough, and halves the file.
    text = re.sub(
        r' (?:d|x|y)="[^"]*"', lambda attribute: re.sub(r"(\.\d\d)\d+", r"\1", attribute[0]), stream.getvalue().decode()
    )
    # What a screen reader says of it; matplotlib has no place for these two.
    description = f"<title>{escape(plot.title)}</title>\n <desc>{escape(plot.caption)}</desc>\n <metadata>"
    return re.sub(r"<metadata>", lambda _: description, text, count=1).encode()


_SAVED: Final[dict[Image, Callable[[Plot], bytes]]] = {"png": _png, "svg": _svg, "page": _page}
