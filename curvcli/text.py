"""Text out of files, as it may be shown: nothing in it steers a terminal, or fills it.

Names of layers, keys of configs and cells of data stand in messages as they are in the files. Whoever quotes one cuts
it; whoever prints a message, on a terminal or into a log, sends it through `clean`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_MOST_LINES: Final = 40
# Comparing spellings takes quadratic time.
_MOST_COMPARED: Final = 100
_MOST_WIDE: Final = 2000


def printable(text: str) -> str:
    """Return `text` on one line, with control characters written out: a model's names are not to steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, most: int = 40) -> str:
    """Return a name or a value, of so many characters at most."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quoted(text: str, most: int = 40) -> str:
    """Return a name or a value in quotes, of so many characters at most."""
    return repr(cut(text, most))


def nearest(word: str, names: Iterable[str], *, most: int = 3) -> list[str]:
    """The names that are spelled most like a word, the nearest first; then some of those that contain it."""
    from difflib import get_close_matches  # slow to import, and for mistakes only

    unique = list(dict.fromkeys(names))
    near = get_close_matches(cut(word, _MOST_COMPARED), unique, n=most, cutoff=0.5)
    return [*near, *[name for name in unique if word and word in name and name not in near][:most]]


def did_you_mean(word: str, names: Iterable[str], otherwise: str = "", *, most: int = 1) -> str:
    """``did you mean trace or trace_stderr?``, for the end of a message about a word that is not known.

    Args:
        word: as it was written.
        names: what there is.
        otherwise: what is said where nothing is near.
        most: names that are suggested.
    """
    near = [cut(name, _MOST_COMPARED) for name in nearest(word, names, most=most)[:most]]
    return f"did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?" if near else otherwise


def clean(text: str) -> str:
    """A message with control and direction characters written out, and with only the beginning of what is endless."""
    lines = text.split("\n")
    shown = [_narrow(line) for line in lines[:_MOST_LINES]]
    if left := len(lines) - len(shown):
        shown.append(f"… and {left} lines more")
    return "\n".join(shown)


def visible(text: str) -> str:
    """Whole output with control and direction characters written out, its lines kept."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _narrow(line: str) -> str:
    if len(line) <= _MOST_WIDE:
        return printable(line)
    half = _MOST_WIDE // 2
    return f"{printable(line[:half])} … ({len(line)} characters) … {printable(line[-half:])}"
