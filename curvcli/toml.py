"""TOML that others may have written: a file of bounded size, and a text without keys that nest for ever."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from curvcli.errors import CurvcliError, UsageError
from curvcli.files import TEXT_LIMIT, read_bounded

_MOST_DEEP: Final = 32
_MOST_TOLD: Final = 120
# More parts of a dotted key than that; the parser takes quadratic time for them. Bounded words keep the search linear.
_DOTTED: Final = re.compile(
    r"""(?:(?:[\w-]{1,99}|"[^"\n]{0,99}"|'[^'\n]{0,99}')[ \t]*\.[ \t]*){%d}""" % _MOST_DEEP  # noqa: UP031 - the pattern has braces of its own
)


class TomlError(ValueError):
    """A text is not TOML; the message says what is wrong and where."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a text.

    Raises:
        TomlError: it is not TOML, or nested absurdly.
    """
    if _DOTTED.search(text):
        raise TomlError(f"a key of more than {_MOST_DEEP} parts; nothing here is nested so deep.")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(_sentence(str(error))) from None
    except (RecursionError, ValueError, OverflowError):  # a whole number of 5,000 digits, a date of month 0
        raise TomlError("nested too deep, or with an impossible value; this is not TOML.") from None


def read_tables(path: Path, what: str) -> dict[str, Any]:
    """Read a file's tables.

    Args:
        path: of the file.
        what: it is, with its article, for messages: ``a config file``.

    Raises:
        UsageError: it can't be read, is too large, or is not TOML.
    """
    try:
        return parse_toml(read_toml_text(path, what))
    except TomlError as error:
        raise UsageError(f"{path}: {error}") from None


def read_toml_text(path: Path, what: str, *, shown: str | None = None, error: type[CurvcliError] = UsageError) -> str:
    """Read a file of UTF-8 text, with or without byte order mark.

    Args:
        path: of the file.
        what: it is, with its article, for messages: ``a dataset spec``.
        shown: what a message about its text calls it; the path if None.
        error: to raise.

    Raises:
        CurvcliError: of the class `error`; there is no such file, it is too large or no file, or is not UTF-8.
    """
    data = read_bounded(path, what, TEXT_LIMIT, error=error)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"{shown or path}: not UTF-8 text (byte {cause.start}); save it as UTF-8.") from None


def _sentence(message: str) -> str:
    """``line 3, column 7: invalid value``, from the message that ends in ``(at line 3, column 7)``."""
    match = re.fullmatch(r"(.*?) ?\(at (.*)\)", message, flags=re.DOTALL)
    what, where = match.groups() if match else (message, "the file")
    return f"{where}: {what[:1].lower()}{what[1:_MOST_TOLD]}; this is not TOML."


def toml_value(value: Any) -> str:
    """A text, number, truth value, or a list of these, as TOML; NumPy's scalars are numbers.

    Raises:
        TypeError: it is something else.
    """
    value = value.item() if hasattr(value, "item") and not getattr(value, "ndim", 0) else value
    value = value.tolist() if hasattr(value, "tolist") else value
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
    raise TypeError(f"{type(value).__name__} is nothing that TOML has")
