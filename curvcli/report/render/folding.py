"""Text on lines of a width: folded between words and behind the separators of a name, and never within a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len

_PARTS: Final = re.compile(r"[^/._+:-]*[/._+:-]+|[^/._+:-]+")


def folded(text: str, width: int) -> list[str]:
    """Return the lines of a text, each of `width` cells at most.

    A word that is longer is folded behind a slash, a dot and the like; what is too long all the same, as between two
    slashes, is shortened with an ellipsis in its middle.
    """
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        gap = " " if line else ""
        for part in _parts(word, width):
            if cell_len(line) + len(gap) + cell_len(part) <= width:
                line += gap + part
            else:
                lines.append(line)
                line = part
            gap = ""
    return [one for one in (*lines, line) if one]


def _parts(word: str, width: int) -> Iterator[str]:
    if cell_len(word) <= width:
        yield word
        return
    for part in _PARTS.findall(word):
        yield part if cell_len(part) <= width else shortened(part, width)


def shortened(text: str, width: int) -> str:
    """Return the beginning and the end of a text, with an ellipsis between them, in `width` cells."""
    if cell_len(text) <= width:
        return text
    head, tail = "", ""
    front, back = iter(text), iter(reversed(text))
    while True:
        # From both ends in turn, the end first: that is where names differ.
        tail_more = next(back) + tail
        if cell_len(head) + cell_len(tail_more) + 1 > width:
            return f"{head}…{tail}"
        tail = tail_more
        head_more = head + next(front)
        if cell_len(head_more) + cell_len(tail) + 1 > width:
            return f"{head}…{tail}"
        head = head_more
