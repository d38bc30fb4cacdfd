"""Compares two reports, quantity by quantity: old, new, change, and whether it exceeds tolerance and error bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf, isnan
from typing import Final, Literal

from curvcli.errors import UsageError
from curvcli.report.compare.change import Change, Outcome, Tolerances
from curvcli.report.compare.diagonals import extreme_errors
from curvcli.report.compare.direction import directed, worse_direction
from curvcli.report.compare.figure import LOSS, Figure
from curvcli.report.compare.figures import figures, loss_figure
from curvcli.report.compare.mismatch import Layers, listed, mismatches, notes
from curvcli.report.compare.noise import Noise, combined, welch
from curvcli.report.compare.subjects import subjects
from curvcli.report.hdf5.read import Report
from curvcli.report.records.matrices import named
from curvcli.report.records.summaries import LayerSummary
from curvcli.text import printable
from curvcli.wording import option

_EXTREMES: Final = {"diagonal_min": False, "diagonal_max": True}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What there is to say of two reports.

    Attributes:
        base: the old one.
        new: the new one.
        tolerances: that were used.
        changes: of all common quantities, layer by layer in model order.
        mismatches: what was let pass by ``allow_mismatch``.
        notes: what else differs.
        missing_layers: only in the base.
        new_layers: only in the new report.
        missing_quantities: computed only in the base, as ``layer: quantity``.
        worse: whether only what got worse counts.
    """

    base: Report
    new: Report
    tolerances: Tolerances
    changes: tuple[Change, ...]
    mismatches: tuple[str, ...]
    notes: tuple[str, ...]
    missing_layers: tuple[str, ...]
    new_layers: tuple[str, ...]
    missing_quantities: tuple[str, ...]
    worse: bool = False

    @property
    def failed(self) -> bool:
        """Whether anything changed, or got worse where only that counts."""
        return any(change.outcome in {"changed", "worse"} for change in self.changes)

    @property
    def verdict(self) -> Literal["changed", "worse", "undecided", "same", "not worse"]:
        """``changed`` or ``worse`` if anything is; ``undecided`` if something may be, without an error bar to tell."""
        if self.failed:
            return "worse" if self.worse else "changed"
        return "undecided" if self.count("undecided") else "not worse" if self.worse else "same"

    def count(self, outcome: Outcome) -> int:
        """How many changes ended so."""
        return sum(change.outcome == outcome for change in self.changes)


def compare(
    base: Report,
    new: Report,
    tolerances: Tolerances,
    *,
    layers: Sequence[str] | None = None,
    quantities: Sequence[str] | None = None,
    allow_mismatch: bool = False,
    worse: bool = False,
) -> Comparison:
    """Compare two reports.

    Args:
        base: the old one.
        new: the new one.
        tolerances: when a difference counts.
        layers: only these, and of what `subjects` there are only those so called; the loss, which belongs to none, is
            then left out unless `quantities` names it.
        quantities: only these.
        allow_mismatch: compare what is common, whatever differs.
        worse: judge each quantity in its worse direction alone.

    Raises:
        UsageError: they are not about the same thing, or have nothing in common that could be judged.
        ReportError: one of them can't be read any more.
    """
    matching_layers = Layers.of(_chosen(base, layers), _chosen(new, layers))
    differences = list(mismatches(base, new, matching_layers))
    pairs, lost = _pairs(base, new, matching_layers, layers, quantities)
    if lost:
        differences.append(f"not computed in NEW: {listed(lost)}")
    differences += dict.fromkeys(pair.otherwise for pair in pairs if pair.otherwise)
    if differences and not allow_mismatch:
        raise UsageError(
            f"{new.path} can't be compared with {base.path}: {_sentences(differences)}.\n"
            "Compute both for the same loss, data and layers, defined alike, or give "
            f"{option('allow_mismatch', True)} to compare what they share."
        )
    changes = _judged([pair for pair in pairs if not pair.otherwise], (base, new), tolerances, worse=worse)
    loss_requested = quantities is not None and LOSS in quantities
    of_layers = [change for change in changes if change.layer is not None]
    if not of_layers and not (changes and loss_requested):
        raise UsageError(
            f"{base.path} and {new.path}: no layer and quantity in common; `curvcli show` tells what is in each."
        )
    # The loss is always exact, so that it would pass for a judgement of layers of which nothing is known.
    judged = [change for change in of_layers or changes if change.outcome not in {"undecided", "not judged"}]
    if not judged and not any(change.outcome in {"changed", "worse"} for change in changes):
        doubt = _doubt(of_layers or changes)
        if all(change.outcome == "not judged" for change in changes):
            raise UsageError(f"{new.path}: {option('worse', True)} judges none of these quantities: {doubt}.")
        raise UsageError(f"{new.path}: nothing can be judged: {doubt}.\nCompute both with more probes, or exactly.")
    return Comparison(
        base=base,
        new=new,
        tolerances=tolerances,
        changes=tuple(changes),
        mismatches=tuple(differences),
        notes=notes(base, new),
        missing_layers=matching_layers.missing,
        new_layers=matching_layers.new,
        missing_quantities=lost,
        worse=worse,
    )


@dataclass(frozen=True)
class _Pair:
    """One quantity in both reports; without rows for the loss."""

    layer: str | None
    quantity: str
    old: Figure
    new: Figure
    rows: tuple[LayerSummary, LayerSummary] | None

    @property
    def otherwise(self) -> str:
        """Say that it is of another matrix, or of another definition, of which all of one row are; empty where not."""
        place = printable(self.layer or "") or "(root)"
        if self.old.matrix != self.new.matrix:
            return f"{place}: {self.quantity} is of the {named(self.new.matrix)}, was of the {named(self.old.matrix)}"
        if self.old.definition != self.new.definition:
            return f"{place} is {printable(self.new.definition)}, was {printable(self.old.definition)}"
        return ""

    @property
    def other_precision(self) -> str:
        """Say that both depend on what counts as zero, which is not the same in two precisions."""
        before, after = self.old.precision, self.new.precision
        return f"of another precision: {before}, then {after}" if before != after else ""

    @property
    def doubt(self) -> str:
        if self.old.doubt or self.new.doubt or self.other_precision:
            return self.new.doubt or self.old.doubt or self.other_precision
        if self.old.samples is None and self.new.samples is None and self.old.stream != self.new.stream:
            kinds = (figure.stream or "exact" for figure in (self.old, self.new))
            return "" if self.quantity == "trace" else f"not of the same kind: {', then '.join(kinds)}"
        return ""


def _chosen(report: Report, layers: Sequence[str] | None) -> list[LayerSummary]:
    return [row for row in report.layers if layers is None or row.name in layers]


# A name, the figures of both reports, and the rows where it is a layer's.
_Sides = tuple[str, Mapping[str, Figure], Mapping[str, Figure], tuple[LayerSummary, LayerSummary] | None]


def _pairs(
    base: Report, new: Report, layers: Layers, names: Sequence[str] | None, quantities: Sequence[str] | None
) -> tuple[list[_Pair], tuple[str, ...]]:
    """Return what both have, and what the new one lacks."""
    pairs: list[_Pair] = []
    lost: list[str] = []

    def chosen(quantity: str) -> bool:
        return quantities is None or quantity in quantities

    if chosen(LOSS) and (names is None or quantities is not None) and base.provenance.loss:
        pairs.append(_Pair(None, LOSS, loss_figure(base), loss_figure(new), None))
    before, after = subjects(base), subjects(new)
    sides: list[_Sides] = [
        (rows[0].name, figures(base, rows[0]), figures(new, rows[1]), rows) for rows in layers.common
    ]
    sides += [
        (name, one.figures, after[name].figures if name in after else {}, None)
        for name, one in before.items()
        if names is None or name in names
    ]
    for name, old, now, rows in sides:
        for quantity in filter(chosen, old):
            if quantity in now:
                pairs.append(_Pair(name, quantity, old[quantity], now[quantity], rows))
            elif not quantity.startswith("eigenvalue_"):  # fewer of them are no loss of the others
                lost.append(f"{name or '(root)'}: {quantity}")
    return pairs, tuple(lost)


def _sentences(differences: Sequence[str]) -> str:
    shown = "; ".join(differences[:4])
    return shown if len(differences) <= 4 else f"{shown}; and {len(differences) - 4} more differences"


def _doubt(changes: Sequence[Change]) -> str:
    return "; ".join(dict.fromkeys(change.note for change in changes))


def _judged(
    pairs: Sequence[_Pair], reports: tuple[Report, Report], tolerances: Tolerances, *, worse: bool
) -> list[Change]:
    noises = [_noise(pair, reports) for pair in pairs]
    family = sum(noise.random for noise in noises)
    changes = [
        _change(pair, noise.limit(tolerances.sigma, family), tolerances)
        for pair, noise in zip(pairs, noises, strict=True)
    ]
    if not worse:
        return changes
    directions = (worse_direction(pair.quantity, pair.new.stream) for pair in pairs)
    return [directed(change, direction) for change, direction in zip(changes, directions, strict=True)]


def _noise(pair: _Pair, reports: tuple[Report, Report]) -> Noise:
    noise = combined(pair.old, pair.new)
    estimated = pair.old.choices > 1 or pair.new.choices > 1
    if estimated and pair.quantity in _EXTREMES and pair.rows is not None and _same_shapes(pair.rows):
        errors = extreme_errors(reports, pair.rows, largest=_EXTREMES[pair.quantity])
        spread = welch(errors[0], pair.old.degrees, errors[1], pair.new.degrees)
        return Noise(*spread, noise.choices, noise.bound)
    return noise


def _same_shapes(rows: tuple[LayerSummary, LayerSummary]) -> bool:
    return [(p.label, p.shape) for p in rows[0].parameters] == [(p.label, p.shape) for p in rows[1].parameters]


def _change(pair: _Pair, noise: float, tolerances: Tolerances) -> Change:
    old, new = pair.old.value, pair.new.value
    change = 0.0 if old == new else new - old  # of two infinities too
    tolerance = tolerances.of(pair.quantity, old, new)
    outcome, why = _outcome(pair, change, tolerance, noise)
    note = "; ".join(dict.fromkeys(filter(None, (why, pair.old.note, pair.new.note))))
    return Change(
        layer=pair.layer,
        quantity=pair.quantity,
        old=old,
        new=new,
        change=change,
        tolerance=tolerance,
        noise=noise,
        old_stderr=pair.old.stderr,
        new_stderr=pair.new.stderr,
        old_data_stderr=pair.old.data_stderr,
        new_data_stderr=pair.new.data_stderr,
        outcome=outcome,
        note=note,
    )


def _outcome(pair: _Pair, change: float, tolerance: float, noise: float) -> tuple[Outcome, str]:
    """Return how it ended, and why if that does not go without saying."""
    if isnan(pair.new.value):
        return ("undecided", "not a number in both") if isnan(pair.old.value) else ("changed", "no longer a number")
    if isnan(pair.old.value):
        return "undecided", "was not a number"
    if unreliable := pair.new.unreliable or pair.old.unreliable:
        return "undecided", unreliable
    if change == 0.0:
        return "same", ""
    if isinf(change):
        return ("undecided", pair.other_precision) if pair.other_precision else ("changed", "infinite in one of them")
    if abs(change) <= tolerance:
        return "same", ""
    if pair.doubt or isnan(noise):
        return "undecided", pair.doubt or "its error is not known"
    return ("within error", "") if abs(change) <= noise else ("changed", "")
