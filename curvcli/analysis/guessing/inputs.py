"""Which columns are the model's inputs: by name, then by shape and dtype, then by usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from typing import Final

from curvcli.analysis.guessing.fits import Fit, fits
from curvcli.analysis.guessing.said import Guesses
from curvcli.analysis.guessing.stored import Stored, like_a_target, like_an_identity, plain
from curvcli.data.interface import Column
from curvcli.models.base import Port
from curvcli.spec.mistakes import listed
from curvcli.text import quoted
from curvcli.wording import option

_AROUND = re.compile(r"^(servingdefault|inputs?(?=[a-z]))|(?<=[a-z])inputs?$")
_USUAL: Final = (
    re.compile(
        r"xs?|x(train|test|val|valid)?|inputs?|(input|args?|arg|kerastensor|inputlayer)[0-9]*|(train|test|val)?data|"
        r"features?|images?|imgs?|(train|test)images|pixels?|pixelvalues|[a-z0-9]+input|signals?|points?|samples?"
    ),
    re.compile(r"(input|token|text|word)?ids|tokens?|inputtokens|sequences?|input[0-9]*|x"),
    re.compile(r"(attention|att|padding)?masks?"),
    re.compile(r"(tokentype|segment|type)(ids?)?|segments?"),
)
_NAMED, _WRITTEN_ALIKE, _CALLED_ALIKE, _USUALLY, _OTHER = range(5)
_MOST_TRIED: Final = 48
_MOST_COLUMNS: Final = 12
_HOW = (
    "the same name",
    "almost the same name",
    "almost the same name",
    "a usual name for it",
    "the only column that fits by shape and dtype",
)


@dataclass
class Matched:
    """Fits for every input.

    Attributes:
        ways: for each input, the likeliest first.
        whys: how the columns were found, by input.
        tried: inputs whose ways are of several columns, which only running the model tells apart.
    """

    ways: dict[str, list[Fit]] = field(default_factory=dict)
    whys: dict[str, str] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)

    @property
    def columns(self) -> set[str]:
        """All that are used."""
        return {name for ways in self.ways.values() for way in ways for name in way.columns}

    def combinations(self) -> Iterable[dict[str, Fit]]:
        """One way for each input, those with the fewest changes first."""
        several = list(islice(product(*self.ways.values()), 4096))
        several.sort(key=lambda ways: sum(way.cost for way in ways))
        return (dict(zip(self.ways, ways, strict=True)) for ways in several[:_MOST_TRIED])


class Matcher:
    """Matches inputs with columns."""

    def __init__(self, ports: Sequence[Port], stored: Stored, guesses: Guesses, target: Sequence[str]) -> None:
        """Say what there is.

        Args:
            ports: the model's inputs.
            stored: the data's columns.
            guesses: are told.
            target: columns that were named as the target.
        """
        self._ports, self._stored, self._guesses = ports, stored, guesses
        self._kept_for_target = set(target)
        self._matched = Matched()

    def match(self, named: Mapping[str, Sequence[str]]) -> Matched:
        """Every input with its ways; what can't be matched is a mistake.

        Args:
            named: columns by input, as a person named them.
        """
        for port in self._ports:
            if port.name in named:
                self._take(port, named[port.name], "as requested", requested=True)
        for level in (_NAMED, _WRITTEN_ALIKE, _CALLED_ALIKE):
            self._by_name(level)
        self._numbered()
        self._by_name(_USUALLY)
        for port in self._left:
            self._by_shape(port)
        self._matched.ways = {
            port.name: self._matched.ways[port.name] for port in self._ports if port.name in self._matched.ways
        }
        return self._matched

    @property
    def _left(self) -> list[Port]:
        return [port for port in self._ports if port.name not in self._matched.ways]

    @property
    def _free(self) -> list[Column]:
        taken = self._matched.columns | self._kept_for_target
        return [column for name, column in self._stored.columns.items() if name not in taken and not column.text]

    def _ways(self, port: Port, names: Sequence[str]) -> list[Fit]:
        columns = [self._stored.columns[name] for name in names]
        if len(columns) == 1:
            shape = columns[0].shape
        else:
            shapes = [column.shape or (1,) for column in columns]
            if any(one[:-1] != shapes[0][:-1] for one in shapes) or any(one.rows != columns[0].rows for one in columns):
                return []
            shape = (*shapes[0][:-1], sum(one[-1] for one in shapes))
        return fits(port, names, shape, partial(self._stored.values, names))

    def _take(self, port: Port, names: Sequence[str], why: str, *, requested: bool = False) -> None:
        ways = self._ways(port, names)
        if ways:
            self._matched.ways[port.name] = ways
            self._matched.whys[port.name] = why
        else:
            self._matched.ways[port.name] = []
            otherwise = "" if requested else f" Name another with {option('input', f'{port.name}=COLUMN')}."
            self._guesses.mistake(
                f"inputs.{port.name}: column {_told(names)} ({why}) holds {self._held(names)}; the model takes "
                f"{_taken(port)}.{otherwise}"
            )

    def _held(self, names: Sequence[str]) -> str:
        column = self._stored.columns[names[0]]
        shape = "×".join(map(str, column.shape)) or "one number"
        return f"{'text' if column.text else column.dtype} of {shape} per sample" + (
            f", and {len(names) - 1} others" if len(names) > 1 else ""
        )

    def _by_name(self, level: int) -> None:
        """Take the columns whose names say it; of several that fit as well, the first."""
        for port in self._left:
            near = [c for c in self._free if _level(port.name, c.name) == level]
            if level == _USUALLY:
                # Of two inputs that any array might be called after, none is.
                alone = len(self._left) == 1 or not _USUAL[0].fullmatch(plain(port.name))
                near = [c for c in near if alone and not like_a_target(c.name)]
            fitting = [c for c in near if self._ways(port, [c.name])]
            if level == _NAMED and near and not fitting:
                self._take(port, [near[0].name], _HOW[level])
            elif fitting:
                self._choose(port, fitting, _HOW[level])

    def _choose(self, port: Port, columns: Sequence[Column], why: str) -> None:
        least = min(self._ways(port, [c.name])[0].cost for c in columns)
        best = [c for c in columns if self._ways(port, [c.name])[0].cost == least]
        if len(best) == 1:
            self._take(port, [best[0].name], why)
            return
        if port.shape is None and len(self._ports) == 1:
            # Nothing but running the model tells which it takes.
            self._matched.ways[port.name] = [way for c in columns[:_MOST_COLUMNS] for way in self._ways(port, [c.name])]
            self._matched.whys[port.name] = ""
            self._matched.tried.add(port.name)
            return
        place = self._guesses.choose(
            f"inputs.{port.name}",
            [f"column {quoted(c.name)}" for c in best],
            "the first of those that fit",
            f"Name it with {option('input', f'{port.name}=COLUMN')}.",
        )
        self._take(port, [best[place].name], "")

    def _numbered(self) -> None:
        """``x0``, ``x1``, … are one input x; so are ``f0`` … where they are all the numbered columns there are."""
        for port in self._left:
            stem = re.compile(rf"{re.escape(plain(port.name))}[0-9]+")
            names = [c.name for c in self._free if not c.shape and stem.fullmatch(plain(c.name))]
            if len(names) > 1 and self._ways(port, names):
                self._take(port, names, f"{len(names)} columns of its name, numbered")

    def _by_shape(self, port: Port) -> None:
        free = [c for c in self._free if not like_a_target(c.name) or len(self._left) > 1]
        numbers = [c for c in free if not c.shape and not like_an_identity(c.name)]
        alone = [c for c in free if self._ways(port, [c.name])]
        alone = [c for c in alone if not like_an_identity(c.name)] or alone
        only_input = len(self._left) == 1
        if len(numbers) > 1 and only_input and len(numbers) >= len(alone) and not any(c.shape for c in alone):
            self._joined(port, [c.name for c in numbers], [c.name for c in free if not c.shape])
        elif alone:
            self._choose(port, alone, _HOW[_OTHER])
        else:
            self._nothing(port)

    def _joined(self, port: Port, names: list[str], with_identities: list[str]) -> None:
        """Columns of single numbers are one input together, but for the target."""
        others = [c.name for c in self._stored.columns.values() if c.name not in names]
        has_target = bool(self._kept_for_target) or any(
            like_a_target(name) or self._stored.columns[name].text for name in others
        )
        for some in (names, with_identities):
            if self._ways(port, some) and (port.shape is not None or has_target):
                self._take(
                    port, some, f"the {len(some)} columns of numbers{' but the target' if has_target else ''}, in order"
                )
                return
        if not has_target and self._ways(port, names[:-1]):
            place = self._guesses.choose(
                "target",
                [f"column {quoted(name)}" for name in reversed(names)],
                "the last column; no column has a usual target's name",
                f"Name it with {option('target', 'COLUMN')}.",
            )
            target = names[-1 - place]
            self._kept_for_target = {target}
            others = [name for name in names if name != target]
            self._take(port, others, f"the {len(others)} columns of numbers but the target, in order")
            return
        self._nothing(port)

    def _nothing(self, port: Port) -> None:
        there = [f"{quoted(c.name)} ({self._held([c.name])})" for c in self._stored.columns.values()]
        self._matched.ways[port.name] = []
        self._guesses.mistake(
            f"inputs.{port.name}: no column fits; the model takes {_taken(port)}, the data have "
            f"{listed(there, last='and', most=6) or 'nothing'}.\n"
            f"Name it with {option('input', f'{port.name}=COLUMN')}, or several: "
            f"{option('input', f'{port.name}=A,B,C')}."
        )

    @property
    def target_kept(self) -> tuple[str, ...]:
        """Columns that are left to the target."""
        return tuple(self._kept_for_target)


def _taken(port: Port) -> str:
    if port.shape is None:
        return "one array"
    return (
        f"{port.dtype} of {'×'.join('?' if n is None else str(n) for n in port.shape[1:]) or 'one number'} per sample"
    )


def _told(names: Sequence[str]) -> str:
    return quoted(names[0]) if len(names) == 1 else f"{quoted(names[0])} … {quoted(names[-1])}"


def _level(port: str, column: str) -> int:
    """How much of two names is the same."""
    if port == column:
        return _NAMED
    short = column.rpartition("/")[2]
    one, other = plain(port), plain(short)
    if one == other and one:
        return _WRITTEN_ALIKE
    stripped = [_AROUND.sub("", name) for name in (one, other)]
    if stripped[0] and stripped[0] == stripped[1]:
        return _CALLED_ALIKE
    if any(usual.fullmatch(one) and usual.fullmatch(other) for usual in _USUAL):
        return _USUALLY
    return _OTHER
