"""SVG files as elements of a page: small, in the page's colours, and with ids and styles that clash with no other's.

A figure repeats the same few styles thousands of times, draws curves finer than any screen, and names every group.
Sixty layers of that are eight megabytes; what is made here of them looks the same and is a fifth of it.
"""

from __future__ import annotations

import base64
import re
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from curvcli.report.plot.style import GRID, INK, MUTED, PAPER

Float64 = npt.NDArray[np.float64]

_THEME: Final = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}
_COLOURS: Final = 48  # of an image; a scatter plot has one hue, a heat map steps too fine to see
_FINE: Final = 0.12  # of 864 × 576 units: how far a simplified curve may be off
_SMALL: Final = 24.0  # the extent of a shape, such as a marker, that keeps its second decimal

# matplotlib escapes < and > in texts and attributes, so that whatever stands between them is a tag of its own making.
_TAG: Final = re.compile(r"<[a-zA-Z][^<>]*>")
_STYLE: Final = re.compile(r' style="([\w\s:;.,#()%\'/-]*)"')
_REMOVED: Final = re.compile(
    r"<!--.*?-->|<metadata>.*?</metadata>|<title>.*?</title>|<desc>.*?</desc>|<style.*?</style>", re.DOTALL
)
_PATH: Final = re.compile(r' d="([^"]*)"')
_NUMBERS: Final = re.compile(r'( (?:x|y|width|height|transform|points|viewBox)=")([^"]*)"')
_NUMBER: Final = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_TOKENS: Final = re.compile(r"[A-Za-z]|-?\d*\.?\d+(?:e-?\d+)?")
_IMAGE: Final = re.compile(r'"data:image/png;base64,([^"]*)"')


class Sheet:
    """The styles of all figures of a page, each once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, style: str) -> str:
        """Return the class of a style."""
        rule = ";".join(part.strip().replace(": ", ":") for part in style.split(";") if part.strip())
        return self._names.setdefault(rule, f"s{len(self._names)}")

    @property
    def rules(self) -> str:
        """The rules, for the head of the page."""
        return "".join(f".{name}{{{_themed(rule)}}}\n" for rule, name in self._names.items())


def inlined(svg: str, prefix: str, title: str, sheet: Sheet) -> str:
    """Return an SVG file as an element of a page.

    Args:
        svg: as matplotlib writes it.
        prefix: of its ids, which no other figure of the page has.
        title: what a screen reader calls it.
        sheet: gets its styles.
    """
    body = _REMOVED.sub("", svg[svg.index("<svg") :])
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))

    def tag(match: re.Match[str]) -> str:
        text = re.sub(r' id="([^"]*)"', lambda one: f' id="{prefix}-{one[1]}"' if one[1] in used else "", match[0])
        text = re.sub(r'(xlink:href="#|url\(#)', lambda one: f"{one[1]}{prefix}-", text)
        text = text.replace("xlink:href=", "href=")
        text = _STYLE.sub(lambda one: f' class="{sheet.name(one[1])}"', text)
        text = _PATH.sub(lambda one: f' d="{path(one[1])}"', text)
        text = _NUMBERS.sub(_attribute, text)
        return _IMAGE.sub(lambda one: f'"data:image/png;base64,{_palette(one[1])}"', text)

    body = _themed(_TAG.sub(tag, body))
    body = re.sub(r">\s*\n\s*<", "><", body)
    return body.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def path(commands: str) -> str:
    """Return the commands of a path, shorter: polygons without the points that no one sees, by relative steps."""
    tokens = _TOKENS.findall(commands)
    letters = {token for token in tokens if token.isalpha()}
    if not letters <= {"M", "L", "z"}:
        return re.sub(r"\s+", " ", _NUMBER.sub(_finely, commands)).strip()
    parts: list[str] = []
    for closed, points in _polygons(tokens):
        extent = float(np.ptp(points, axis=0).max(initial=0.0))
        scale = 100 if extent < _SMALL else 10
        kept = points if len(points) < 4 else points[simplified(points, _FINE)]
        grid = np.round(kept * scale).astype(np.int64)
        steps = np.diff(grid, axis=0)
        steps = steps[(steps != 0).any(axis=1)] if len(steps) > 1 else steps
        lines = "l" + " ".join(_pair(step, scale) for step in steps) if len(steps) else ""
        parts.append(f"M{_pair(grid[0], scale)}{lines}{'z' if closed else ''}")
    return "".join(parts)


def simplified(points: Float64, tolerance: float) -> npt.NDArray[np.intp]:
    """Return which points of a polygon stay, so that none of the others is farther off than the tolerance.

    By Douglas and Peucker (1973), Algorithms for the reduction of the number of points required to represent a line.

    Args:
        points: (n, 2).
        tolerance: in the same units.
    """
    kept = np.zeros(len(points), dtype=np.bool_)
    kept[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        inner, along = points[first + 1 : last] - points[first], points[last] - points[first]
        length = float(np.hypot(*along))
        # Off a chord without length every point is as far as it is from its ends.
        off = np.abs(inner[:, 0] * along[1] - inner[:, 1] * along[0]) / length if length else np.hypot(*inner.T)
        farthest = int(off.argmax())
        if off[farthest] > tolerance:
            middle = first + 1 + farthest
            kept[middle] = True
            spans += [(first, middle), (middle, last)]
    return np.flatnonzero(kept)


def _polygons(tokens: Sequence[str]) -> Iterator[tuple[bool, Float64]]:
    """Yield each polygon's points, and whether it is closed."""
    numbers: list[float] = []
    for token in (*tokens, "M"):
        if token == "M":
            if numbers:
                yield False, np.reshape(numbers, (-1, 2))
            numbers = []
        elif token == "z":
            if numbers:
                yield True, np.reshape(numbers, (-1, 2))
            numbers = []
        elif token != "L":
            numbers.append(float(token))


def _pair(point: npt.NDArray[np.int64], scale: int) -> str:
    x, y = (_short(number / scale) for number in point.tolist())
    return f"{x}{'' if y.startswith('-') else ' '}{y}"


def _short(number: float) -> str:
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0\.", r"\1.", text) if text not in {"-0", ""} else "0"


def _attribute(match: re.Match[str]) -> str:
    """Round places; what scales them stays as it is."""
    scales = "scale" in match[2] or "matrix" in match[2]
    return match[0] if scales else f'{match[1]}{_NUMBER.sub(_rounded, match[2])}"'


def _rounded(match: re.Match[str]) -> str:
    return _short(round(float(match[0]), 1))


def _finely(match: re.Match[str]) -> str:
    return _short(round(float(match[0]), 2))


def _palette(data: str) -> str:
    """Return a PNG with few colours, or as it is where that is no smaller."""
    try:
        raw = base64.b64decode(data)
        with Image.open(BytesIO(raw)) as image:
            stream = BytesIO()
            few = image.convert("RGBA").quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)
            few.save(stream, "png", optimize=True)
    except (Base64Error, OSError, ValueError):
        return data
    smaller = stream.getvalue() if len(stream.getvalue()) < len(raw) else raw
    return base64.b64encode(smaller).decode("ascii")


def _themed(text: str) -> str:
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    return text
