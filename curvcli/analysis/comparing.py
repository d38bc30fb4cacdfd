"""Two reports held against each other as options say: which layers and quantities, and what counts as a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from typing import Annotated

from curvcli.analysis.options.kinds import Flag, Names, Number
from curvcli.analysis.options.record import Options
from curvcli.errors import UsageError
from curvcli.files import same_file
from curvcli.report.compare.change import SHARES, Tolerances
from curvcli.report.compare.comparison import Comparison, compare
from curvcli.report.compare.figure import COMPARED, ONLY_BOUNDED, is_quantity
from curvcli.report.compare.subjects import subjects
from curvcli.report.hdf5.read import Report
from curvcli.spec.mistakes import shown
from curvcli.spec.patterns import select
from curvcli.text import did_you_mean
from curvcli.wording import option

# Of quantities without a tolerance of their own.
RTOL, ATOL = 0.1, 0.0


@dataclass(frozen=True)
class ToleranceByQuantity:
    """A number for all quantities, numbers for single ones, or both."""

    def read(self, value: object) -> tuple[tuple[str, float], ...]:
        """A number or text (see `read_tolerance`), several of these, or a mapping; the empty name means all."""
        if isinstance(value, Mapping):
            return tuple(self._named(str(name), one) for name, one in value.items())
        if isinstance(value, Iterable) and not isinstance(value, str):
            return tuple(one if isinstance(one, tuple) else read_tolerance(one) for one in value)
        return (read_tolerance(value),)

    @staticmethod
    def _named(name: str, value: object) -> tuple[str, float]:
        return read_tolerance(f"{name}={value}") if name else read_tolerance(value)


@dataclass(frozen=True)
class CompareOptions(Options):
    """Of ``curvcli compare``.

    Attributes:
        layer: patterns; none for all.
        exclude: patterns of what is left out.
        quantity: names of the report's summary, or globs; none for all.
        rtol: by quantity, the empty name for all others, the change relative to the larger magnitude that is allowed.
        atol: likewise, the absolute change that is allowed besides.
        sigma: of the error bars, in standard errors; 0 for none.
        allow_mismatch: whether reports of another loss, other data or other layers are compared.
        worse: whether each quantity is judged in its worse direction alone.
    """

    layer: Annotated[tuple[str, ...], Names()] = ()
    exclude: Annotated[tuple[str, ...], Names()] = ()
    quantity: Annotated[tuple[str, ...], Names()] = ()
    rtol: Annotated[tuple[tuple[str, float], ...], ToleranceByQuantity()] = ()
    atol: Annotated[tuple[tuple[str, float], ...], ToleranceByQuantity()] = ()
    sigma: Annotated[float, Number(0, 30)] = 4.0
    allow_mismatch: Annotated[bool, Flag()] = False
    worse: Annotated[bool, Flag()] = False


def compared(base: Report, new: Report, options: CompareOptions) -> Comparison:
    """Compare two reports.

    Raises:
        UsageError: they are the same file, can't be compared, or have nothing of what the options name.
        ReportError: one can't be read any more.
    """
    if same_file(base.path, new.path):
        raise UsageError(f"{base.path} and {new.path} are the same file; compare two reports.")
    comparison = compare(
        base,
        new,
        _tolerances(options),
        layers=_layers(base, new, options),
        quantities=_quantities(base, new, options.quantity),
        allow_mismatch=options.allow_mismatch,
        worse=options.worse,
    )
    common = {change.quantity for change in comparison.changes}
    for pattern in options.quantity:
        if not any(fnmatchcase(quantity, pattern) for quantity in common):
            raise UsageError(
                f"{option('quantity', pattern)}: not in both reports; they share {', '.join(_ordered(common))}."
            )
    return comparison


def read_tolerance(value: object) -> tuple[str, float]:
    """``0.1``, ``10%``, or with a quantity in front, ``trace=0.2``, as a name, empty for all, and a number.

    Raises:
        ValueError: it is none, or of no quantity; the message continues a sentence that begins with the option.
    """
    quantity, equals, text = str(value).rpartition("=")
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not (isfinite(number) and number >= 0) or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a tolerance; write 0.1, 10% or trace=0.2")
    if equals and quantity not in COMPARED and not (is_quantity(quantity) and quantity not in ONLY_BOUNDED):
        raise ValueError(f"{shown(value)}: {_no_quantity(quantity)}")
    return quantity, number


def _tolerances(options: CompareOptions) -> Tolerances:
    rtols, atols = dict(options.rtol), dict(options.atol)
    if "" not in atols:
        atols = {**SHARES, **atols}
    return Tolerances(rtol=rtols.pop("", RTOL), atol=atols.pop("", ATOL), sigma=options.sigma, rtols=rtols, atols=atols)


def _layers(base: Report, new: Report, options: CompareOptions) -> list[str] | None:
    """The layers that the patterns choose among those of both reports; None for all."""
    if not options.layer and not options.exclude:
        return None
    names = [name for report in (base, new) for name in (*(row.name for row in report.layers), *subjects(report))]
    names = list(dict.fromkeys(names))
    return [names[i] for i in select(names, options.layer, options.exclude)]


def _quantities(base: Report, new: Report, patterns: Sequence[str]) -> list[str] | None:
    """The quantities that the patterns choose; None for all."""
    if not patterns:
        return None
    most = max((row.eigenvalue_count for report in (base, new) for row in report.layers), default=0)
    names = [*COMPARED, *(f"eigenvalue_{rank}" for rank in range(2, most))]
    chosen: list[str] = []
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise UsageError(f"{option('quantity', pattern)}: {_no_quantity(pattern)}.")
        chosen += matching
    return chosen


def _no_quantity(name: str) -> str:
    if name in ONLY_BOUNDED:
        return f"{name} says how well something was computed; `curvcli assert` holds it against a threshold"
    advice = did_you_mean(name, COMPARED, f"there are {', '.join(COMPARED)}", most=3)
    return f"no such quantity; {advice}"


def _ordered(names: set[str]) -> list[str]:
    return [name for name in COMPARED if name in names] + sorted(names.difference(COMPARED))
