"""Layer names as labels of a figure, and as names of files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from curvcli.text import printable

LONGEST = 44
_LONGEST_STEM = 79
_HEADS = (0.6, 1.0, 0.3, 0.0)  # where to cut, the first that tells all names apart


def elided(text: str, most: int, front: float = 0.33) -> str:
    """Return `text` in at most so many characters, the share `front` of them from its beginning, the rest its end."""
    if len(text) <= most:
        return text
    head = round((most - 1) * front)
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def labels(names: Sequence[str], most: int = LONGEST) -> tuple[list[str], str]:
    """Return a short label per layer, and what all of them have been shortened by.

    Args:
        names: distinct, in any order.
        most: characters per label.

    Returns:
        The labels, distinct; and the path in front that they share, e.g. ``vgg_16/``, which they leave out: empty
        where there is none, or no label needed it to be short enough.
    """
    shown = [printable(name) or "(root)" for name in names]
    paths = [name for name in shown if not name.startswith("(")]
    prefix = _shared(paths) if len(paths) > 1 and max(map(len, paths)) > most // 2 else ""
    bare = [name.removeprefix(prefix) for name in shown]
    for head in _HEADS:
        short = [elided(name, most, head) for name in bare]
        if len(set(short)) == len(short):
            return short, prefix
    short = [f"{i + 1}: {elided(name, most - 5, _HEADS[0])}" for i, name in enumerate(bare)]
    return short, prefix


def stems(texts: Iterable[str]) -> Iterable[str]:
    """Return names of files that any system takes, each once, also where case does not count."""
    taken: set[str] = set()
    for text in texts:
        safe = re.sub(r"[^A-Za-z0-9_.-]+", ".", text).strip(".") or "figure"
        base = elided(safe, _LONGEST_STEM).replace("…", "..")  # the end tells layers and parameters apart
        stem, number = base, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{base}-{number}"
        taken.add(stem.casefold())
        yield stem


def _shared(paths: Sequence[str]) -> str:
    """Return the longest common beginning that ends in ``/`` or ``.`` and leaves something of every name."""
    first, last = min(paths), max(paths)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    cut = max(first.rfind("/", 0, same), first.rfind(".", 0, same)) + 1
    return first[:cut] if all(len(path) > cut for path in paths) else ""
