"""What the values of a column tell: whole numbers or fractions, their range, names of classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from curvcli.data.catalogue import Catalogue
from curvcli.data.classes import text_of
from curvcli.data.interface import Array, Column

# Bytes that are read of a column to judge it by.
_JUDGED_BY = 1 << 27
# What targets, row numbers and samples' names are usually called, without marks between words.
_TARGETS = re.compile(
    r"y|ys|ytrue|y(train|test|val|valid)?|labels?|targets?|(train|test|val)?labels?|class|classes|classid|classlabel|"
    r"category|outcome|truth|groundtruth|gt|t|species|answers?|[a-z0-9]*(label|target)s?"
)
_IDENTITIES = re.compile(r"|id|ids|idx|index|row|rowid|sampleid|unnamed.*|level0|indexlevel0")


@dataclass(frozen=True)
class Values:
    """The values of a column, or of several joined along the last axis.

    Attributes:
        columns: described.
        numbers: (k, …); texts as the numbers of their names in alphabetical order.
        names: of classes, alphabetical; empty for numbers.
        complete: whether all rows were read.
    """

    columns: tuple[Column, ...]
    numbers: Array
    names: tuple[str, ...]
    complete: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return tuple(self.numbers.shape[1:])

    @property
    def integers(self) -> bool:
        """Whether they are stored as whole numbers, flags or names."""
        return self.numbers.dtype.kind in "biu"

    @cached_property
    def finite(self) -> Array:
        """All that are numbers, flat."""
        flat = self.numbers.reshape(-1)
        return flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat

    @property
    def has_nan(self) -> bool:
        """Whether some are missing."""
        return self.numbers.dtype.kind == "f" and bool(np.isnan(self.numbers).any())

    @cached_property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return self.integers or bool((self.finite == np.round(self.finite)).all())

    @property
    def low(self) -> float:
        """The least."""
        return float(self.finite.min()) if self.finite.size else 0.0

    @property
    def high(self) -> float:
        """The largest."""
        return float(self.finite.max()) if self.finite.size else 0.0

    def only(self, *numbers: float) -> bool:
        """Whether there are none but these, and at least two of them."""
        held = set(np.unique(self.finite)[: len(numbers) + 1].tolist())
        return held <= set(map(float, numbers)) and len(held) > min(1, len(numbers) - 1)

    @cached_property
    def range(self) -> str:
        """For a sentence."""
        return f"{self.low:g} to {self.high:g}"


class Stored:
    """The columns of the data, each read once when its values are asked for.

    Attributes:
        columns: by name; those of another number of rows than most are left out when inputs and target are matched.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.columns: Mapping[str, Column] = catalogue.columns
        self._values: dict[tuple[str, ...], Values] = {}

    def values(self, names: Sequence[str]) -> Values:
        """Of a column, or of several joined.

        Raises:
            DataError: they can't be read.
        """
        key = tuple(names)
        if key not in self._values:
            self._values[key] = self._read(key)
        return self._values[key]

    def _read(self, names: tuple[str, ...]) -> Values:
        columns = tuple(self.columns[name] for name in names)
        row = sum(prod(column.shape) * max(column.dtype.itemsize, 8) for column in columns)
        most = max(1, _JUDGED_BY // row)
        read = self._catalogue.read(names, most)
        complete = columns[0].rows <= most
        if len(names) > 1:
            joined = np.concatenate(
                [
                    read[name].reshape(len(read[name]), *(c.shape or (1,)))
                    for name, c in zip(names, columns, strict=True)
                ],
                axis=-1,
            )
            return Values(columns, joined, (), complete)
        values = read[names[0]]
        if not columns[0].text:
            return Values(columns, values, (), complete)
        texts = np.array([text_of(one) for one in values.ravel()], dtype=object)
        classes = sorted(set(texts))
        numbers = {name: number for number, name in enumerate(classes)}
        counted = np.array([numbers[text] for text in texts], dtype=np.int64).reshape(values.shape)
        return Values(columns, counted, tuple(classes), complete)


def plain(name: str) -> str:
    """A name in small letters, without marks."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def like_a_target(name: str) -> bool:
    """Whether targets are usually called so."""
    return _TARGETS.fullmatch(plain(name.rpartition("/")[2].rpartition(".")[2])) is not None


def like_an_identity(name: str) -> bool:
    """Whether numbers of rows are usually called so."""
    return _IDENTITIES.fullmatch(plain(name)) is not None
