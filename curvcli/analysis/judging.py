"""A report held against rules: thresholds, and that results are finite, converged or exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from curvcli.analysis.options.kinds import Flag, Names, Number
from curvcli.analysis.options.record import Options
from curvcli.errors import UsageError
from curvcli.report.compare.figure import LOSS
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
            UsageError: the report has no layers, or not what a threshold is for; or a pattern matches nothing.
            ReportError: it can't be read any more.
        """
        options, names = self.options, [row.name for row in report.layers]
        if not names:
            raise UsageError(
                f"{report.path}: it has no layers, and rules are about layers; `curvcli show` tells what is in it."
            )
        layers = [names[i] for i in select(names, options.layer, options.exclude)]
        checks = options.finite or options.converged or options.exact
        rules = Rules(
            bounds=[_resolved(bound, layers) for bound in self.bounds],
            layers=layers if checks else (),
            sigma=options.sigma,
            finite=options.finite,
            converged=options.converged,
            exact=options.exact,
        )
        return judge(report, rules)


def _resolved(bound: Bound, layers: Sequence[str]) -> Bound:
    """The layers that a bound is for."""
    if bound.quantity == LOSS:
        return bound
    chosen = select(layers, [bound.pattern] if bound.pattern else [])
    return replace(bound, layers=tuple(layers[i] for i in chosen))
