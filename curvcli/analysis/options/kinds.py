"""Kinds of option values: what each takes, and the sentence about what it does not."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from curvcli.spec.mistakes import listed, shown
from curvcli.spec.table import LARGEST


class Kind(Protocol):
    """What an option takes."""

    def read(self, value: object) -> object:
        """The value as the record keeps it.

        Raises:
            ValueError: it is not of this kind; the message continues a sentence that begins with the option.
        """
        ...


# Before Python turns a text of a million digits into a number, in quadratic time.
_MOST_DIGITS: Final = 40


def _numeral(value: object) -> object:
    """A text of digits as the number it may stand for, which the kinds of numbers take too."""
    if not isinstance(value, str) or len(value) > _MOST_DIGITS:
        return value
    for kind in (int, float):
        with suppress(ValueError):
            return kind(value)
    return value


@dataclass(frozen=True)
class Whole:
    """A whole number from ``least`` to ``most``, or to what a report can keep, 2⁶³ − 1."""

    least: int
    most: int = LARGEST

    def read(self, value: object) -> int:
        """NumPy's whole numbers and numerals too, but no truth values."""
        original, value = value, _numeral(value)
        if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
            raise ValueError(f"must be a whole number, found {shown(original)}")  # noqa: TRY004 - one error for all mistakes
        number = int(value)
        if number < self.least:
            raise ValueError(f"must be {self.least} or more, found {shown(number)}")
        if number > self.most:
            raise ValueError(f"must be {self.most} or less, found {shown(number)}")
        return number


@dataclass(frozen=True)
class WholeOr:
    """A whole number from ``least`` to ``most``, or a word."""

    least: int
    most: int
    word: str

    def read(self, value: object) -> int | str:
        """As `Whole`, and the word as it is written."""
        if value == self.word:
            return self.word
        try:
            return Whole(self.least, self.most).read(value)
        except ValueError as error:
            raise ValueError(f"{error}; or {self.word}") from None


@dataclass(frozen=True)
class Number:
    """A finite number from ``least``, or above it, to ``most``."""

    least: float
    most: float | None = None
    above: bool = False

    def read(self, value: object) -> float:
        """NumPy's numbers and numerals too, but no truth values."""
        original, value = value, _numeral(value)
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
            raise ValueError(f"must be a number, found {shown(original)}")  # noqa: TRY004 - likewise
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if not isfinite(number):
            raise ValueError(f"must be a finite number, found {shown(value)}")
        if number < self.least or (self.above and number == self.least):
            raise ValueError(
                f"must be {'above ' if self.above else ''}{self.least:g}{' or more' * (not self.above)}, "
                f"found {number:g}"
            )
        if self.most is not None and number > self.most:
            raise ValueError(f"must be {self.most:g} or less, found {number:g}")
        return number


@dataclass(frozen=True)
class NumberOr:
    """A finite number above ``above``, or one of some words."""

    above: float
    words: tuple[str, ...]

    def read(self, value: object) -> float | str:
        """As `Number`, and a word as it is written."""
        if isinstance(value, str) and value in self.words:
            return str(value)
        try:
            return Number(self.above, above=True).read(value)
        except ValueError as error:
            raise ValueError(f"{error}; or {' or '.join(self.words)}") from None


@dataclass(frozen=True)
class OneOf:
    """One of some words."""

    words: Sequence[str]

    def read(self, value: object) -> str:
        """Exactly as it is written."""
        if isinstance(value, str) and value in self.words:
            return str(value)
        raise ValueError(f"must be {listed(self.words, most=len(self.words))}, found {shown(value)}")


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def read(self, value: object) -> bool:
        """NumPy's too; nothing else, though Python has a truth value of everything."""
        if isinstance(value, bool | np.bool_):
            return bool(value)
        raise ValueError(f"must be True or False, found {shown(value)}")


@dataclass(frozen=True)
class Size:
    """A number of bytes: a whole number, or text such as ``500M`` or ``4GiB``.

    The units are powers of 1024 however they are spelled, as those of other tools that limit memory.
    """

    def read(self, value: object) -> int:
        """Bytes."""
        if isinstance(value, int) and value > LARGEST:
            raise ValueError(f"must be a size, such as 500M or 4GiB; found {shown(value)}")
        matched = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{0,18})?)\s*([kmgt]?)(i?b)?\s*", str(value), re.IGNORECASE)
        if matched is None or float(matched[1]) == 0:
            raise ValueError(f"must be a size, such as 500M or 4GiB; found {shown(value)}")
        return int(float(matched[1]) * 1024 ** " kmgt".index(matched[2].lower() or " "))

    @staticmethod
    def spelled(size: int) -> str:
        """A size as typed, ``256MiB``; in bytes where it is no multiple of a unit."""
        for exponent, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
            if size and size % 1024**exponent == 0:
                return f"{size // 1024**exponent}{unit}"
        return str(size)


@dataclass(frozen=True)
class Text:
    """Text."""

    def read(self, value: object) -> str:
        """As it stands."""
        if isinstance(value, str):
            return str(value)
        raise ValueError(f"must be text, found {shown(value)}")


@dataclass(frozen=True)
class Names:
    """Any number of names or patterns."""

    def read(self, value: object) -> tuple[str, ...]:
        """A list or a tuple; a single one too."""
        if isinstance(value, str):
            return (str(value),)
        if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise ValueError(f"must be names, found {shown(value)}")


@dataclass(frozen=True)
class Several:
    """Several values of one kind: a list, or text with commas between them; each once."""

    of: Whole | Number | NumberOr

    def read(self, value: object) -> tuple[Any, ...]:
        """In the order in which they stand; a single one too."""
        several = list(value) if isinstance(value, list | tuple) else [value]
        words = [word for one in several for word in (one.split(",") if isinstance(one, str) else [one])]
        return tuple(dict.fromkeys(self.of.read(word.strip() if isinstance(word, str) else word) for word in words))


@dataclass(frozen=True)
class File:
    """The path of a file or a directory."""

    def read(self, value: object) -> Path:
        """Text, or a path."""
        if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
            return Path(value)
        raise ValueError(f"must be a path, found {shown(value)}")
