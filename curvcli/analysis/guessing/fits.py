"""Ways in which stored columns can become one input of a model: as they are, reshaped, permuted, in another dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np

from curvcli.analysis.guessing.stored import Values
from curvcli.models.base import Port

_CHANNELS: Final = frozenset({1, 3, 4})
# Numbers of one sample from which bytes are taken for an image's.
_LEAST_PIXELS: Final = 16
# Bytes up to this have a range of their own, such as 17 grey levels.
_HALF: Final = 127
_INTEGERS: Final = frozenset({"int32", "int64"})

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fit:
    """A way for some columns to be an input.

    Attributes:
        columns: joined if several.
        entries: of the spec's table, besides the columns.
        cost: 0 as stored; more for every change.
        why: each entry, in a few words.
        doubtful: entries that nothing in the file tells, with what may stand instead.
    """

    columns: tuple[str, ...]
    entries: Mapping[str, Any]
    cost: int
    why: Mapping[str, str] = field(default_factory=dict)
    doubtful: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def table(self) -> dict[str, Any]:
        """Of the spec."""
        first: dict[str, Any] = (
            {"column": self.columns[0]} if len(self.columns) == 1 else {"columns": list(self.columns)}
        )
        return first | dict(self.entries)


@dataclass(frozen=True)
class _Step:
    """One change."""

    entries: Mapping[str, Any]
    cost: int
    why: str = ""
    doubtful: tuple[str, ...] = ()


def fits(port: Port, names: Sequence[str], shape: Shape, values: Callable[[], Values]) -> list[Fit]:
    """All ways, the cheapest first; none where the columns can't be this input.

    Args:
        port: the input; where its shape is not known, its dtype is not either.
        names: of the columns.
        shape: of one row of them, joined.
        values: reads them.
    """
    shapes = list(_shapes(shape, None if port.shape is None else port.shape[1:]))
    if not shapes:
        return []
    dtypes = list(_dtypes(port, shape, values))
    ways = []
    for step in shapes:
        for number in dtypes:
            doubtful = {key: one.doubtful for one in (step, number) if one.doubtful for key in one.entries}
            why = {key: one.why for one in (step, number) for key in one.entries}
            ways.append(Fit(tuple(names), {**number.entries, **step.entries}, step.cost + number.cost, why, doubtful))
    return sorted(ways, key=lambda fit: fit.cost)


def _shapes(stored: Shape, wanted: tuple[int | None, ...] | None) -> Iterator[_Step]:
    if wanted is None:
        yield from _usual_shapes(stored)
        return
    if _agree(stored, wanted):
        yield _Step({}, 0)
        return
    text = "×".join("?" if n is None else str(n) for n in wanted) or "one number"
    for letters, others in (("HWC", "CHW"), ("CHW", "HWC"), ("TC", "CT")):
        places = [letters.index(letter) for letter in others]
        if len(stored) == len(letters) and _agree([stored[place] for place in places], wanted):
            yield _Step({"layout": f"N{letters}->N{others}"}, 1, f"the model takes {text}")
    plain = [n for n in stored if n != 1]
    filled = _filled(stored, wanted)
    if filled is None:
        return
    if plain == [n for n in filled if n != 1]:
        yield _Step({"shape": list(filled)}, 1, f"the model takes {text}")
    elif len(stored) == 1 or len(wanted) == 1:
        # Nothing tells in which order the axes were joined; with one channel there is one order.
        several = len([n for n in (filled if len(stored) == 1 else stored) if n != 1]) > 2
        doubtful = ("another order of the axes",) if several else ()
        yield _Step({"shape": list(filled)}, 2, f"the model takes {text}", doubtful)


def _usual_shapes(stored: Shape) -> Iterator[_Step]:
    """Where the file does not tell what the model takes, and only trying does."""
    yield _Step({}, 0)
    tried = "found by trying"
    match len(stored):
        case 3 if stored[-1] in _CHANNELS:
            yield _Step({"layout": "NHWC->NCHW"}, 1, tried)
        case 3 if stored[0] in _CHANNELS:
            yield _Step({"layout": "NCHW->NHWC"}, 1, tried)
        case 2:
            yield _Step({"shape": [1, *stored]}, 1, tried)
        case 0:
            yield _Step({"shape": [1]}, 1, tried)
    if len(stored) > 1:
        yield _Step({"shape": [prod(stored)]}, 2, tried)


def _agree(stored: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(stored) == len(wanted) and all(w in (None, s) for s, w in zip(stored, wanted, strict=True))


def _filled(stored: Shape, wanted: Sequence[int | None]) -> Shape | None:
    """The wanted shape with its one open size, for a sample of as many numbers; None where there is none."""
    size_of_others = prod(n for n in wanted if n is not None)
    free = sum(n is None for n in wanted)
    size = prod(stored)
    if free > 1 or size_of_others == 0 or size % size_of_others or (not free and size != size_of_others):
        return None
    return tuple(size // size_of_others if n is None else n for n in wanted)


def _dtypes(port: Port, shape: Shape, values: Callable[[], Values]) -> Iterator[_Step]:
    held = values()
    declared = port.shape is not None
    takes_integers = declared and port.dtype.startswith(("int", "uint", "bool"))
    as_stored = _Step({}, 0)
    if takes_integers:
        if not held.whole or (port.rows is not None and not 0 <= held.low <= held.high < port.rows):
            return
        stored = np.dtype(held.numbers.dtype).name
        cast = {"dtype": port.dtype} if port.dtype in _INTEGERS and stored != port.dtype else {}
        yield _Step(cast, int(bool(cast)), f"the model takes {port.dtype}" if cast else "")
        return
    if not held.integers:
        yield as_stored
        if not declared and held.whole:
            yield _Step({"dtype": "int64"}, 1, "the model takes whole numbers, found by trying")
        return
    pixels = held.low >= 0 and (held.high > 1 if held.numbers.dtype == np.uint8 else 128 <= held.high <= 255)
    if pixels and prod(shape) >= _LEAST_PIXELS:
        yield _Step(
            {"scale": 1 / (255 if held.high > _HALF else held.high)},
            1,
            f"pixels, here from {held.range}, are usually brought to 0 to 1",
            ("another, with mean and std", "none"),
        )
        return
    if not declared:
        yield as_stored
    yield _Step({"dtype": "float64"}, 1, "whole numbers, and the model takes fractions")
