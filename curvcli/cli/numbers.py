"""Numbers and sizes as options: finite, and such as a report can keep."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

import click

from curvcli.analysis.options.kinds import Size
from curvcli.spec.mistakes import shown
from curvcli.spec.table import LARGEST
from curvcli.text import quoted

# Before Python turns a text of a million digits into a number, in quadratic time.
_MOST_DIGITS: Final = 40


class Whole(click.IntRange):
    """A whole number from `min` to 2⁶³ − 1."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text, or a number of a config file, to a number."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            self.fail(f"{shown(value)} is not a whole number.", param, ctx)
        if isinstance(value, str) and len(value) > _MOST_DIGITS:
            self.fail(f"{quoted(value)} is not a whole number of at most {LARGEST}.", param, ctx)
        number = int(super().convert(value, param, ctx))  # type: ignore[arg-type]  # click reads text, whatever it says
        if number > LARGEST:
            self.fail(f"it is larger than {LARGEST}.", param, ctx)
        return number


class Real(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text, or a number of a config file, to a number."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            self.fail(f"{shown(value)} is not a number.", param, ctx)
        try:
            finite = isfinite(float(value))
        except (ValueError, OverflowError):
            finite = isinstance(value, str) and len(value) <= _MOST_DIGITS  # for click to say what is wrong
        if not finite:
            self.fail(f"{shown(value)} is not a finite number.", param, ctx)
        return float(super().convert(value, param, ctx))  # type: ignore[arg-type]  # as above


class ByteSize(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """A number of bytes: 500M, 4GiB, or a plain number."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text, or a number of a config file, to bytes."""
        try:
            return Size().read(value)
        except ValueError:
            self.fail(f"{shown(value)} is not a size; write 500M or 4GiB.", param, ctx)


class WholeOrWord(Whole):
    """A whole number, or one word."""

    def __init__(self, least: int, most: int, word: str) -> None:
        super().__init__(least, most)
        self._word = word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word as it is; anything else to a number."""
        if value == self._word:
            return value
        if isinstance(value, str) and not value.strip().lstrip("+-").isdecimal():
            self.fail(f"{quoted(value)} is neither a whole number nor {self._word}.", param, ctx)
        return super().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What help calls the value."""
        return f"N|{self._word}"


class RealOrWord(Real):
    """A finite number above another, or a word."""

    def __init__(self, above: float, words: tuple[str, ...]) -> None:
        super().__init__(above, min_open=True)
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A word as it is; anything else to a number."""
        return value if value in self._words else super().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What help calls the value."""
        return "|".join(("NUMBER", *self._words))
