"""Text out of files, as it may be shown: nothing in it steers a terminal, or fills it.

Names of layers, keys of configs and cells of data stand in messages as they are in the files. Whoever quotes one cuts
it; whoever prints a message, on a terminal or into a log, sends it through `clean`.
"""

from __future__ import annotations

from typing import Final

_MOST_LINES: Final = 40
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
