"""Which rows of the data are taken, and in which order: a random subset, with the shares of its classes, shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from curvcli.data.interface import Array, Column, Reader, Rows
from curvcli.errors import DataError
from curvcli.spec.loss import LossSpec
from curvcli.text import quoted
from curvcli.wording import option

# Losses whose targets are classes.
CLASSIFYING: Final = frozenset({"cross_entropy", "bce", "hinge"})
# Targets that are looked at together.
_BLOCK: Final = 1 << 16


@dataclass(frozen=True)
class Strata:
    """The class of every row.

    Attributes:
        classes: (rows,), its class's place among all classes.
        sizes: (classes,), how many rows each has.
    """

    classes: Array
    sizes: Array


class AnyOrder:
    """A reader that takes rows in any order: what it reads of, takes them ascending."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._reader.column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows, each at most once, in the order of ``rows``; see `Reader`."""
        if len(rows) < 2 or (rows[1:] > rows[:-1]).all():
            return self._reader.read(names, rows)
        order = np.argsort(rows)
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        stored = self._reader.read(names, rows[order])
        return {name: values[places] for name, values in stored.items()}


def chosen_rows(count: int, limit: int | None, seed: int) -> Rows:
    """A random subset of ``limit`` of ``count`` rows without repetition, ascending; all of them without a limit.

    The rows with the smallest of ``count`` raw Philox numbers are taken: unlike ``Generator.choice``, NumPy promises
    these never to change, so a seed means the same subset in every version. A smaller limit means a part of it.
    """
    if limit is None or limit >= count:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.argsort(_keys(count, seed), kind="stable")[:limit]).astype(np.int64)


def stratified_rows(strata: Strata, limit: int, seed: int) -> Rows:
    """A random subset in which each class has its share of all rows, ascending.

    Of each class the rows are those with the smallest of the numbers that `chosen_rows` goes by.
    """
    count = len(strata.classes)
    if limit >= count:
        return np.arange(count, dtype=np.int64)
    order = np.lexsort((_keys(count, seed), strata.classes))
    begins = np.concatenate([[0], np.cumsum(strata.sizes)[:-1]])
    taken = shares(strata.sizes, limit)
    parts = [order[begin : begin + many] for begin, many in zip(begins, taken, strict=True)]
    return np.sort(np.concatenate(parts)).astype(np.int64)


def shares(sizes: Array, limit: int) -> Array:
    """How many of each class are taken: its share of ``limit``, rounded by the largest remainders; (classes,).

    Of equal remainders the first class's is rounded up. No class gets more than it has, if ``limit`` is at most all.
    """
    total = int(sizes.sum())
    whole, remainders = zip(*(divmod(limit * int(size), total) for size in sizes), strict=True)
    taken = np.array(whole, dtype=np.int64)
    up = sorted(range(len(remainders)), key=lambda place: (-remainders[place], place))[: limit - int(taken.sum())]
    taken[up] += 1
    return taken


def shuffled(rows: Rows, count: int, seed: int) -> Rows:
    """Chosen rows in the random order in which a growing limit would choose them."""
    return rows[np.argsort(_keys(count, seed)[rows], kind="stable")]


def blocks(count: int) -> Iterator[Rows]:
    """All rows, some at a time."""
    for begin in range(0, count, _BLOCK):
        yield np.arange(begin, min(begin + _BLOCK, count), dtype=np.int64)


def strata_of(targets: Array, loss: LossSpec, column: str) -> Strata:
    """The classes of all rows, from their targets; what does not count makes a class of its own.

    Args:
        targets: (rows, …).
        loss: the declaration.
        column: for messages.

    Raises:
        DataError: these are not one class for each sample.
    """
    check_classes(loss, targets.shape[1:], column)
    labels = targets.reshape(-1)
    if labels.dtype.kind == "f":
        counted = labels[~np.isnan(labels)]
        if (counted != np.round(counted)).any():
            raise DataError(
                f"column {quoted(column)} holds fractions: {option('stratify')} needs one class for each sample.\n"
                "Leave it out, or choose samples where the data are made."
            )
    classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    return Strata(classes, sizes)


def check_classes(loss: LossSpec, per_sample: tuple[int, ...], column: str) -> None:
    """Refuse targets that are not one class for each sample, as far as the loss and their shape tell.

    Raises:
        DataError: they are not.
    """
    if loss.name not in CLASSIFYING:
        raise DataError(
            f"{option('stratify')} keeps the shares of classes, and the loss {loss.name} has none.\n"
            f"Leave it out: {option('limit')} alone draws a random subset."
        )
    if prod(per_sample) != 1:
        raise DataError(
            f"column {quoted(column)} has shape {per_sample} per sample: {option('stratify')} needs one class for each "
            "sample.\nLeave it out, or choose samples where the data are made."
        )


def _keys(count: int, seed: int) -> Array:
    return np.random.Philox(seed).random_raw(count)
