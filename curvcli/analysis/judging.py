"""A report held against rules: thresholds, and that results are finite, converged or exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from curvcli.analysis.options.kinds import Flag, Names, Number
from curvcli.analysis.options.record import Options
from curvcli.errors import UsageError
from curvcli.report.compare.figure import LOSS, is_of_layers
from curvcli.report.compare.subjects import Subject, sorts_of, subjects
from curvcli.report.hdf5.read import Report
from curvcli.report.rules.judge import Assessment, Rules, judge
from curvcli.report.rules.rule import Bound, Side, parse_bound
from curvcli.spec.patterns import select
from curvcli.wording import either, option, shell_option


@dataclass(frozen=True)
class AssertOptions(Options):
    """Of ``curvcli assert``.

    Attributes:
        max: thresholds that must not be exceeded, ``[PATTERN:]QUANTITY=NUMBER``.
        min: thresholds that must not be fallen below.
        finite: whether every result has to be a finite number.
        converged: whether everything has to have met its tolerance.
        exact: whether nothing may be an estimate.
        layer: patterns of the layers that all this is about; none for all.
        exclude: patterns of what is left out.
        sigma: standard errors by which a figure has to be beyond a threshold to break it; 0: the figure itself counts.
    """

    max: Annotated[tuple[str, ...], Names()] = ()
    min: Annotated[tuple[str, ...], Names()] = ()
    finite: Annotated[bool, Flag()] = False
    converged: Annotated[bool, Flag()] = False
    exact: Annotated[bool, Flag()] = False
    layer: Annotated[tuple[str, ...], Names()] = ()
    exclude: Annotated[tuple[str, ...], Names()] = ()
    sigma: Annotated[float, Number(0, 30)] = 0.0


@dataclass(frozen=True)
class Assertion:
    """What options say has to hold, before it is held against a report.

    Attributes:
        options: they.
        bounds: the thresholds, read.
    """

    options: AssertOptions
    bounds: tuple[Bound, ...]

    @classmethod
    def read(cls, options: AssertOptions) -> Assertion:
        """Read the thresholds.

        Raises:
            UsageError: one is no threshold, or there is no rule at all.
        """
        sides: tuple[tuple[Side, tuple[str, ...]], ...] = (("max", options.max), ("min", options.min))
        bounds = tuple(parse_bound(side, text) for side, texts in sides for text in texts)
        if not bounds and not (options.finite or options.converged or options.exact):
            config = either(f", or a table [assert] in a file by {shell_option('config')}", "")
            raise UsageError(
                f"No rule: give {option('max')}, {option('min')}, {option('finite', True)}, "
                f"{option('converged', True)} or {option('exact', True)}{config}."
            )
        return cls(options, bounds)

    def judge(self, report: Report) -> Assessment:
        """Hold a report against the rules.

        Raises:
            UsageError: the report has nothing that rules are about, or not what a threshold is for; or a pattern
                matches nothing.
            ReportError: it can't be read any more.
        """
        options = self.options
        rows, others = [row.name for row in report.layers], subjects(report)
        if not rows and not others:
            raise UsageError(f"{report.path}: it has nothing that rules are about; `curvcli show` tells what is in it.")
        names = [*rows, *others] if rows else list(others)
        narrowed = bool(options.layer or options.exclude)
        # A pattern of layers is one of layers; what belongs to none is then left out.
        pool = rows if rows and narrowed else names
        chosen = [pool[i] for i in select(pool, options.layer, options.exclude)]
        checks = options.finite or options.converged or options.exact
        rules = Rules(
            bounds=[_resolved(bound, _candidates(bound.quantity, chosen, rows, others)) for bound in self.bounds],
            layers=chosen if checks else (),
            sigma=options.sigma,
            finite=options.finite,
            converged=options.converged,
            exact=options.exact,
        )
        return judge(report, rules)


def _candidates(quantity: str, chosen: Sequence[str], rows: Sequence[str], others: Mapping[str, Subject]) -> list[str]:
    """Return what a threshold may be for: the layers, or where these can't have the quantity, what can."""
    if is_of_layers(quantity) and rows:
        return [name for name in chosen if name in rows]
    sorts = set(sorts_of(quantity))
    return [name for name in chosen if name in others and others[name].sort in sorts]


def _resolved(bound: Bound, names: Sequence[str]) -> Bound:
    """Return a bound with the layers, functions, parts or checks that it is for."""
    if bound.quantity == LOSS or not names:
        return bound
    chosen = select(names, [bound.pattern] if bound.pattern else [])
    return replace(bound, layers=tuple(names[i] for i in chosen))
