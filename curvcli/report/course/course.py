"""How each figure of several reports went: read with its error, and joined over layers where that is right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan, sqrt
from typing import Any, Final, Literal

from curvcli.errors import UsageError
from curvcli.report import columns
from curvcli.report.compare.figure import LOSS, Figure, place
from curvcli.report.compare.figures import figures, loss_figure
from curvcli.report.compare.subjects import subjects
from curvcli.report.course.order import Ordered
from curvcli.report.course.refusal import course_notes, differences
from curvcli.report.hdf5.read import Report
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.units import CURVATURE
from curvcli.report.units import LOSS as LOSS_UNIT
from curvcli.text import printable
from curvcli.wording import option

Of = Literal["report", "whole", "layers", "layer"]

_UNITS: Final = {column.name: column.unit for table in (columns.INPUTS, columns.LAYERS) for column in table.columns} | {
    LOSS: LOSS_UNIT
}
_SHOWN: Final = 5  # differences in one message

_Figures = Mapping[str, tuple[LayerSummary | None, Mapping[str, Figure]]]
_Layers = Sequence[tuple[LayerSummary, Figure]]
_Join = Callable[[_Layers], tuple[float, float, float]]  # value, standard error, bound


@dataclass(frozen=True, kw_only=True)
class Value:
    """A figure of one report.

    Attributes:
        value: NaN where the computation gave that.
        stderr: standard error over probes; 0 where the figure is exact, NaN where it is not known.
        bound: how far it may be off besides: an eigenvalue's residual, and rounding.
        data_stderr: how far another draw of the data could move it; NaN where it is not known.
        note: why it is not to be relied on, and what else there is to know; empty where nothing.
    """

    value: float
    stderr: float = 0.0
    bound: float = 0.0
    data_stderr: float = nan
    note: str = ""

    @property
    def error(self) -> float:
        """The standard error of an estimate; of what is none, the bound of its error."""
        return self.stderr if self.stderr != 0.0 else self.bound


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure over the reports.

    Attributes:
        layer: whose; ``None`` for the loss, which belongs to none, and for a figure of several layers together.
        of: ``report``: of the loss; ``whole``: of the block of all parameters; ``layers``: of all layers together;
            ``layer``: of one.
        count: how many layers it is of; 0 for the loss.
        quantity: as in the report's summary.
        unit: of the values.
        values: one per report; ``None`` where it was not computed.
    """

    layer: str | None
    of: Of
    count: int
    quantity: str
    unit: str
    values: tuple[Value | None, ...]

    @property
    def name(self) -> str:
        """What a reader calls whose figure it is."""
        if self.of == "report":
            return "(report)"
        return f"({self.count} layers)" if self.of == "layers" else printable(self.layer or "") or "(root)"


@dataclass(frozen=True, kw_only=True)
class Course:
    """How figures went over several reports.

    Attributes:
        ordered: the reports.
        lines: of the loss and of each figure, per layer in model order or for the whole model.
        joined: whether there is one line per figure, of the whole model or of all layers.
        mismatches: why the reports are not of the same thing, where that was let pass.
        notes: what else there is to know.
    """

    ordered: Ordered
    lines: tuple[Line, ...]
    joined: bool
    mismatches: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that there are lines of, in model order."""
        return tuple(dict.fromkeys(line.layer for line in self.lines if line.layer is not None))

    def of(self, layer: str) -> tuple[Line, ...]:
        """Return the lines of one layer."""
        return tuple(line for line in self.lines if line.of != "report" and line.layer == layer)


def course_of(ordered: Ordered, layers: Sequence[str] | None = None, *, allow_mismatch: bool = False) -> Course:
    """Read how the figures of several reports went.

    Without `layers`, a figure is that of the whole model where that was computed. Else figures of the layers are put
    together where their sum is that of the model's: traces add up, squares of gradient norms too, the extremes are
    those of all layers, and a share is weighted by the numbers of entries. An eigenvalue of the model does not follow
    from those of its layers, so that there is none.

    Args:
        ordered: the reports in order, two at least.
        layers: whose figures; ``None`` for the whole model.
        allow_mismatch: go on where the reports are of other losses, data, layers or matrices.

    Raises:
        UsageError: they are; or none of the reports has anything of the layers.
        ReportError: a report can't be read any more.
    """
    reports = ordered.reports
    mismatches = list(differences(ordered, layers))
    # Without any layer, what there is to follow are functions of the inputs, each by itself.
    joined = layers is None and any(report.layers for report in reports)
    figures_of = [_figures(report, layers) for report in reports]
    mismatches += _other_matrices(ordered, figures_of)
    if mismatches and not allow_mismatch:
        shown = "; ".join(mismatches[:_SHOWN])
        more = f"; and {len(mismatches) - _SHOWN} more differences" if len(mismatches) > _SHOWN else ""
        raise UsageError(
            f"these reports are not of one training run: {shown}{more}.\n"
            f"Leave out the others, or give {option('allow_mismatch', True)} to show them together."
        )
    names = list(dict.fromkeys(name for one in figures_of for name in one))
    lines = _joined(figures_of) if joined else [line for name in names for line in _of_layer(name, figures_of)]
    if not lines:
        raise UsageError(
            f"{reports[0].path} and {len(reports) - 1} more: no figures to follow; `curvcli show REPORT` tells what is "
            "in each."
        )
    loss = [_value(loss_figure(report)) if report.provenance.loss else None for report in reports]
    of_loss = (
        [_line(None, "report", 0, LOSS, loss)] if any(one is not None and isfinite(one.value) for one in loss) else []
    )
    return Course(
        ordered=ordered,
        lines=(*of_loss, *lines),
        joined=joined,
        mismatches=tuple(mismatches),
        notes=course_notes(ordered),
    )


def _figures(report: Report, layers: Sequence[str] | None) -> _Figures:
    of_layers = {row.name: (row, figures(report, row)) for row in report.layers if layers is None or row.name in layers}
    of_functions = {
        name: (None, one.figures)
        for name, one in subjects(report).items()
        if one.sort not in {"split", "checks"} and not report.layers and (layers is None or name in layers)
    }
    return of_layers | of_functions


def _other_matrices(ordered: Ordered, figures_of: Sequence[_Figures]) -> list[str]:
    """Return which reports have numbers of another matrix than the first that has them."""
    first: dict[tuple[str, str], str] = {}
    wrong = []
    for label, one in zip(ordered.labels, figures_of, strict=True):
        for name, (_, figure_by_name) in one.items():
            for quantity, figure in figure_by_name.items():
                matrix = first.setdefault((name, quantity), figure.matrix)
                if figure.matrix != matrix:
                    where = f"{printable(name) or '(root)'}: {quantity}"
                    wrong.append(f"{printable(label)}: {where} is of the {figure.matrix}, was of the {matrix}")
    return wrong


def _of_layer(name: str, figures_of: Sequence[_Figures]) -> list[Line]:
    each = [one[name][1] if name in one else {} for one in figures_of]
    quantities = sorted({quantity for figure_by_name in each for quantity in figure_by_name}, key=place)
    of: Of = "whole" if _whole(name) else "layer"
    return [
        _line(name, of, 1, quantity, [_value(one[quantity]) if quantity in one else None for one in each])
        for quantity in quantities
    ]


def _joined(figures_of: Sequence[_Figures]) -> list[Line]:
    """Return one line per figure: of the whole model where it was computed, else of all layers where that is right."""
    wholes = [name for one in figures_of for name in one if _whole(name)]
    of_whole = {line.quantity: line for line in (_of_layer(wholes[0], figures_of) if wholes else ())}
    single = {name for one in figures_of for name in one if not _whole(name)}
    if any(map(_tied, figures_of)):
        of_layers: dict[str, Line] = {}
    elif len(single) == 1:  # of one layer everything is its own
        of_layers = {line.quantity: line for line in _of_layer(single.pop(), figures_of)}
    else:
        of_layers = {}
        for quantity, join in _JOINS.items():
            values = [_together(one, single, quantity, join) for one in figures_of]
            if any(value is not None for value in values):
                of_layers[quantity] = _line(None, "layers", len(single), quantity, values)
    by_quantity = of_layers | of_whole
    return [by_quantity[quantity] for quantity in sorted(by_quantity, key=place)]


def _tied(figures_of: _Figures) -> bool:
    """Whether layers share a parameter, which would count twice."""
    names = [parameter.name for row, _ in figures_of.values() if row is not None for parameter in row.parameters]
    return len(set(names)) < len(names)


def _whole(name: str) -> bool:
    """Whether a block spans layers."""
    return name.startswith("(whole")


def _together(figures_of: _Figures, names: Collection[str], quantity: str, join: _Join) -> Value | None:
    """Return a figure of all the named layers; ``None`` where one of them is missing, or lacks it."""
    rows = [(row, by_name.get(quantity)) for name, (row, by_name) in figures_of.items() if not _whole(name)]
    present = [(row, figure) for row, figure in rows if row is not None and figure is not None]
    if not present or len(present) < max(len(rows), len(names)):
        return None
    value, stderr, bound = join(present)
    notes = dict.fromkeys(_note(figure) for _, figure in present)
    return Value(value=value, stderr=stderr, bound=bound, note="; ".join(filter(None, notes)))


def _sum(layers: _Layers) -> tuple[float, float, float]:
    """Traces add up; probes are drawn anew for each block, but those of a diagonal may be the same for all."""
    own = sqrt(sum(figure.stderr**2 for row, figure in layers if row.trace_method))
    shared = sum(figure.stderr for row, figure in layers if not row.trace_method)
    return sum(figure.value for _, figure in layers), own + shared, sum(figure.bound for _, figure in layers)


def _norm(layers: _Layers) -> tuple[float, float, float]:
    return sqrt(sum(f.value**2 for _, f in layers)), 0.0, sqrt(sum(f.bound**2 for _, f in layers))


def _least(layers: _Layers) -> tuple[float, float, float]:
    return _extreme(layers, min)


def _most(layers: _Layers) -> tuple[float, float, float]:
    return _extreme(layers, max)


def _extreme(layers: _Layers, choose: Callable[..., Any]) -> tuple[float, float, float]:
    if any(isnan(figure.value) for _, figure in layers):
        return nan, nan, nan
    figure: Figure = choose((figure for _, figure in layers), key=lambda one: one.value)
    return figure.value, figure.stderr, figure.bound


def _share(layers: _Layers) -> tuple[float, float, float]:
    total = sum(row.parameter_count for row, _ in layers) or 1
    weighted = [(row.parameter_count / total, figure) for row, figure in layers]
    return (
        sum(weight * figure.value for weight, figure in weighted),
        sum(weight * figure.stderr for weight, figure in weighted),
        sum(weight * figure.bound for weight, figure in weighted),
    )


# What of the model's follows from its layers' own.
_JOINS: Final[Mapping[str, _Join]] = {
    "gradient_norm": _norm,
    "trace": _sum,
    "diagonal_min": _least,
    "diagonal_max": _most,
    "diagonal_mean": _share,
    "diagonal_abs_mean": _share,
    "negative_share": _share,
}


def _line(layer: str | None, of: Of, count: int, quantity: str, values: Sequence[Value | None]) -> Line:
    unit = _UNITS.get(quantity, CURVATURE)
    return Line(layer=layer, of=of, count=count, quantity=quantity, unit=unit, values=tuple(values))


def _value(figure: Figure) -> Value:
    return Value(
        value=figure.value,
        stderr=figure.stderr,
        bound=figure.bound,
        data_stderr=figure.data_stderr,
        note=_note(figure),
    )


def _note(figure: Figure) -> str:
    return "; ".join(dict.fromkeys(filter(None, (figure.unreliable, figure.note, figure.doubt))))
