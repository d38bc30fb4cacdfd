"""Holds a report against rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan
from typing import Final, Literal

from curvcli.errors import UsageError
from curvcli.report import columns
from curvcli.report.compare.figure import LOSS, Figure
from curvcli.report.compare.figures import bounded, loss_figure
from curvcli.report.compare.mismatch import listed
from curvcli.report.compare.noise import Noise
from curvcli.report.compare.reliability import random, unreliable
from curvcli.report.compare.subjects import Subject, subjects
from curvcli.report.hdf5.read import Report
from curvcli.report.numbers import number
from curvcli.report.records.matrices import HESSIAN, named
from curvcli.report.records.quantities import TraceRecord
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.rules.rule import Bound
from curvcli.wording import option

# Infinity is an answer here: a singular block has no other condition number.
_MAY_BE_INFINITE: Final = frozenset(column.name for column in columns.LAYERS.columns if column.infinite)
# Known from the model alone, whatever came of the computation.
_COUNTED: Final = frozenset(c.name for c in columns.LAYERS.columns if c.role == "quality" and c.of == "layer")
# The side on which a figure that is itself only a bound can break a threshold, but never keep it.
_OPEN: Final = {"max": "lower", "min": "upper"}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What has to hold.

    Attributes:
        bounds: thresholds, their layers resolved.
        finite: whether every result has to be finite.
        converged: whether everything has to have met its tolerance.
        exact: whether everything has to be exact up to rounding.
        layers: that the last three are about.
        sigma: by how many normal standard errors a figure has to be beyond a threshold to break it; 0 for none, so
            that the figure itself counts.
    """

    bounds: Sequence[Bound]
    finite: bool = False
    converged: bool = False
    exact: bool = False
    layers: Sequence[str] = ()
    sigma: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One rule for one layer.

    Attributes:
        layer: ``None`` for the whole report.
        rule: as a person reads it.
        quantity: that a threshold is for; empty for the other rules.
        value: its figure; NaN for the other rules.
        threshold: NaN for the other rules.
        error: by how much the figure may be off at the chosen sigma.
        holds: whether the rule does.
        note: why not, or what there is to know.
    """

    layer: str | None
    rule: str
    quantity: str = ""
    value: float = nan
    threshold: float = nan
    error: float = nan
    holds: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """A report and how it stands to the rules."""

    report: Report
    rules: Rules
    judgements: tuple[Judgement, ...]

    @property
    def failed(self) -> int:
        """How many rules are broken."""
        return sum(not judgement.holds for judgement in self.judgements)

    @property
    def verdict(self) -> Literal["broken", "incomplete", "holds"]:
        """``broken`` if any rule is; ``incomplete`` if all hold, for a report that lacks layers."""
        return "broken" if self.failed else "holds" if self.report.status == "complete" else "incomplete"


def judge(report: Report, rules: Rules) -> Assessment:
    """Hold `report` against `rules`, rule by rule and layer by layer.

    Raises:
        UsageError: there is no rule, or a threshold is for something that the report does not hold, or that it holds
            only a bound of, on the side that says nothing.
        ReportError: the report can't be read any more.
    """
    reader = _Reader(report)
    for bound in rules.bounds:
        lacking = [name for name in bound.layers if bound.quantity not in reader.figures(name)]
        if lacking or not (bound.layers or bound.quantity == LOSS):
            raise UsageError(_missing(report, bound, lacking))
    pairs = [(bound, name, reader.figures(name)[bound.quantity]) for bound in rules.bounds for name in bound.layers]
    losses = [(bound, None, loss_figure(report)) for bound in rules.bounds if bound.quantity == LOSS]
    family = sum(_noise(figure).random for _, _, figure in pairs)
    judgements = [_judged(bound, name, figure, rules.sigma, family) for bound, name, figure in losses]
    for bound, name, figure in pairs:
        judgement = _judged(bound, name, figure, rules.sigma, family)
        if judgement.holds and figure.only == _OPEN[bound.side]:
            raise UsageError(_one_sided(report, bound, name, figure))
        judgements.append(_sound(judgement, reader.status(name), figure))
    for name in rules.layers:
        row = reader.row(name)
        judgements += (
            _of_subject(name, reader.others[name], rules)
            if row is None
            else _checks(report, row, reader.figures(name), rules)
        )
    if rules.finite and (report.provenance.loss or not reader.others):
        loss = report.provenance.loss_value
        judgements.append(_verdict(None, "finite", "" if isfinite(loss) else f"the loss is {loss}"))
    if not judgements:
        raise UsageError(
            f"no rule: give {option('max')}, {option('min')}, {option('finite', True)}, {option('converged', True)} or "
            f"{option('exact', True)}."
        )
    return Assessment(report=report, rules=rules, judgements=tuple(judgements))


class _Reader:
    """Reads the figures of each layer once, and knows what else there are figures of."""

    def __init__(self, report: Report) -> None:
        self._report, self._figures_by_row = report, dict[str, Mapping[str, Figure]]()
        self._rows = {row.name: row for row in report.layers}
        self.others = subjects(report)

    def row(self, name: str) -> LayerSummary | None:
        """Return a layer's row; ``None`` for what is no layer."""
        return self._rows.get(name)

    def status(self, name: str) -> str:
        """Return how the computation of a layer, or of something else, ended."""
        row = self.row(name)
        return self.others[name].status if row is None else row.status

    def figures(self, name: str) -> Mapping[str, Figure]:
        """Return what a threshold can be held against."""
        row = self.row(name)
        if row is None:
            return self.others[name].bounded
        if name not in self._figures_by_row:
            self._figures_by_row[name] = bounded(self._report, row)
        return self._figures_by_row[name]


def _missing(report: Report, bound: Bound, layers: Sequence[str]) -> str:
    where = option(bound.side, f"{bound.quantity}={bound.number:g}")
    if not layers:
        return f"{report.path}: {where}: nothing in this report has it; `curvcli show` tells what there is."
    return (
        f"{report.path}: {where}: {bound.quantity} was not computed for {listed(layers)}.\n"
        f"Compute it, or name by a pattern or {option('layer')} the layers that have it; "
        "`curvcli show` tells what there is."
    )


def _one_sided(report: Report, bound: Bound, layer: str, figure: Figure) -> str:
    sign = "≥" if figure.only == "lower" else "≤"
    return (
        f"{report.path}: --{bound.side} {bound.quantity}={bound.number:g} can't be decided: of {listed([layer])} only "
        f"{'a lower' if figure.only == 'lower' else 'an upper'} bound is known, {sign} {number(figure.value)}.\n"
        "Compute it exactly, or hold the threshold against something else, such as an eigenvalue."
    )


def _sound(judgement: Judgement, status: str, figure: Figure) -> Judgement:
    """Break a threshold that only seems to hold: what came of a computation that failed in part says nothing."""
    broken = figure.unreliable or ("nonfinite" if status == "nonfinite" else "")
    if not broken or not judgement.holds or judgement.quantity in _COUNTED:
        return judgement
    return replace(judgement, holds=False, note="; ".join(filter(None, (broken, judgement.note))))


def _noise(figure: Figure) -> Noise:
    if figure.doubt:  # a spread of too few probes would excuse anything
        return Noise(0.0)
    spread = 0.0 if isnan(figure.stderr) else figure.spread  # without an error the figure itself has to hold
    return Noise(spread, figure.degrees, figure.choices, figure.bound)


def _judged(bound: Bound, layer: str | None, figure: Figure, sigma: float, family: int) -> Judgement:
    error = _noise(figure).limit(sigma, family)
    beyond = figure.value - bound.number if bound.side == "max" else bound.number - figure.value
    holds = beyond <= error  # never for NaN
    notes = [figure.note, f"of the {named(figure.matrix)}" if figure.matrix not in {"", HESSIAN} else ""]
    if sigma and not holds and figure.doubt not in notes:
        notes.append(figure.doubt)
    if holds and beyond > 0:
        notes.append(f"beyond by {number(beyond)}, within its error of {number(error)}")
    elif figure.stderr > 0:
        notes.append(f"standard error {number(figure.stderr)}")
    return Judgement(
        layer=layer,
        rule=bound.text,
        quantity=bound.quantity,
        value=figure.value,
        threshold=bound.number,
        error=error,
        holds=holds,
        note="; ".join(filter(None, notes)),
    )


def _verdict(layer: str | None, rule: str, why_not: str) -> Judgement:
    return Judgement(layer=layer, rule=rule, holds=not why_not, note=why_not)


def _checks(report: Report, row: LayerSummary, figures: Mapping[str, Figure], rules: Rules) -> Iterator[Judgement]:
    if rules.finite:
        yield _verdict(row.name, "finite", _not_finite(row, figures))
    if rules.converged:
        yield _verdict(row.name, "converged", random(report) or _not_converged(report, row))
    if rules.exact:
        yield _verdict(row.name, "exact", random(report) or _not_exact(row))


def _of_subject(name: str, subject: Subject, rules: Rules) -> Iterator[Judgement]:
    """Judge a function of the inputs, a part of a gradient or a check; what was not computed is not sound."""
    ended = "" if subject.status in {"done", "imprecise"} else subject.status.replace("_", " ")
    if rules.finite:
        wrong = [f"{quantity} is {figure.value}" for quantity, figure in subject.bounded.items()]
        infinite = [text for text, one in zip(wrong, subject.bounded.values(), strict=True) if not isfinite(one.value)]
        yield _verdict(name, "finite", ", ".join(infinite) or ended)
    if rules.converged:
        yield _verdict(name, "converged", subject.status.replace("_", " ") if subject.status != "done" else "")
    if rules.exact:
        yield _verdict(name, "exact", ended or ("" if subject.exact else "estimated derivatives"))


def _not_finite(row: LayerSummary, figures: Mapping[str, Figure]) -> str:
    """Return what is not finite, or not there at all: of nothing nothing can be said."""
    wrong = [
        f"{name} is {figure.value}"
        for name, figure in figures.items()
        if isnan(figure.value) or not (isfinite(figure.value) or name in _MAY_BE_INFINITE)
    ]
    if wrong:
        return ", ".join(wrong)
    if row.status not in {"done", "not_converged", "imprecise"}:
        return _reasons(row)
    parts = [norm for part in row.split for norm in (part.output_gradient_norm, part.gradient_norm)]
    if not all(map(isfinite, parts)):
        return "the gradient in two parts is not"
    computed = any((row.trace_method, row.eigen_method, row.density_method, row.hessian_method, parts))
    return "" if computed or not isnan(row.trace) or not isnan(row.gradient_norm) else "nothing was computed"


def _not_converged(report: Report, row: LayerSummary) -> str:
    if row.converged_count < row.eigenvalue_count:
        return f"{row.converged_count} of {row.eigenvalue_count} eigenvalues have converged"
    if row.status != "done" or unreliable(row):
        return _reasons(row)
    trace = report.record(row.name, TraceRecord) if row.trace_method else None
    return "" if trace is None or trace.converged else "the trace has not met its tolerance"


def _not_exact(row: LayerSummary) -> str:
    if unreliable(row):
        return _reasons(row)
    if row.exact:
        return ""
    estimated = [f"{p.label} by {p.method}" for p in row.parameters if not p.exact and p.method]
    if row.trace_method and row.trace_stderr != 0:
        estimated.append(f"trace by {row.trace_method}")
    if row.density_method == "lanczos_quadrature":
        estimated.append(f"density by {row.density_method}")
    if row.hessian_method == "probes":
        estimated.append(f"{named(row.matrix)} by probes")
    return f"estimated: {', '.join(estimated)}" if estimated else f"computed by {row.method or 'nothing'}"


def _reasons(row: LayerSummary) -> str:
    """Return the status, and the reason where a parameter has one; of what was computed it is that of its method."""
    if row.status not in {"over_budget", "failed"}:
        return (unreliable(row) or row.status).replace("_", " ")
    reasons = dict.fromkeys(p.reason for p in row.parameters if p.status == row.status and p.reason)
    return ": ".join([row.status.replace("_", " "), *list(reasons)[:1]])
