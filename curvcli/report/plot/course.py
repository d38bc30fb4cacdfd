"""The course of a training run: a panel per figure, a line per layer, error bars, over the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor, isfinite, isnan, log10, nan
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from curvcli.report import columns
from curvcli.report.compare.figure import LOSS
from curvcli.report.course.course import Course, Line
from curvcli.report.numbers import number, typeset
from curvcli.report.plot.names import elided, labels
from curvcli.report.plot.scale import Scale, fitted, power_text
from curvcli.report.plot.style import INK, MUTED, NEGATIVE, OTHER, POSITIVE, Plot, new_figure
from curvcli.report.plot.view import View

_QUANTITIES: Final = (LOSS, *(column.name for column in columns.LAYERS.columns if column.plotted))
_MORE: Final = ("gradient_norm", "smallest_eigenvalue", "diagonal_max", "frobenius_norm", "weight_at_zero")
_MOST_PANELS: Final = 4
_MOST_LINES: Final = 8  # with a colour and a mark of their own; the others are grey
_LOOKS: Final = (
    (POSITIVE, "o"),
    (NEGATIVE, "s"),
    ("#009e73", "^"),
    (OTHER, "D"),
    ("#cc79a7", "v"),
    ("#56b4e9", "P"),
    ("#8c6d31", "X"),
    ("#6f4fb0", "<"),
)
_LABEL: Final = 26


def draw(view: View) -> Iterator[Plot]:
    """Yield one figure with a panel per figure of the reports; none for a single report."""
    course = view.course
    if course is None:
        return
    by_quantity = {
        quantity: [line for line in course.lines if line.quantity == quantity and _points(line)]
        for quantity in dict.fromkeys((*_QUANTITIES, *_MORE))
    }
    shown = [quantity for quantity, lines in by_quantity.items() if lines]
    main = [quantity for quantity in shown if quantity in _QUANTITIES]
    shown = [*main, *(quantity for quantity in shown if quantity not in main)][: max(len(main), 3)][:_MOST_PANELS]
    if not shown:
        return
    coloured = _coloured([line for quantity in shown for line in by_quantity[quantity]])
    names, prefix = labels([_key(line) for line in coloured.values()], _LABEL)
    label_of = dict(zip(coloured, names, strict=True))
    scales = {quantity: _scale(by_quantity[quantity]) for quantity in shown}
    notes = _notes(course, [line for quantity in shown for line in by_quantity[quantity]], coloured, prefix)
    notes += [f"{_title(name)}: {scale.note}" for name, scale in scales.items() if scale.note and scale.low < 0]
    title = (
        f"{_listed([_title(quantity) for quantity in shown]).capitalize()} over {len(course.ordered.reports)} reports"
    )
    figure = new_figure(view, title, notes, _handles(list(coloured), label_of))
    rows = 1 if len(shown) <= 3 else 2
    for place, quantity in enumerate(shown):
        axes = figure.add_subplot(rows, -(-len(shown) // rows), place + 1)
        _panel(axes, course, by_quantity[quantity], scales[quantity], list(coloured))
        axes.set_title(f"{_title(quantity)} ({by_quantity[quantity][0].unit})", fontsize=10)
    yield Plot("course", "course", title, _caption(course, [by_quantity[quantity] for quantity in shown]), figure)


def _points(line: Line) -> list[int]:
    """Return the reports that have a finite number."""
    return [i for i, value in enumerate(line.values) if value is not None and isfinite(value.value)]


def _key(line: Line) -> str:
    return line.layer if line.layer is not None else line.name


def _coloured(lines: Sequence[Line]) -> dict[str, Line]:
    """Return the layers with a colour of their own: the largest ones, in the order of the lines."""
    size_of: dict[str, float] = {}
    line_of: dict[str, Line] = {}
    for line in lines:
        if line.of != "report":
            key = _key(line)
            line_of.setdefault(key, line)
            size = max(abs(value.value) for value in line.values if value is not None and isfinite(value.value))
            size_of.setdefault(key, size)
    largest = sorted(size_of, key=lambda key: -size_of[key])[:_MOST_LINES]
    return {key: line_of[key] for key in line_of if key in largest}


def _scale(lines: Sequence[Line]) -> Scale:
    values = [value for line in lines for value in line.values if value is not None and isfinite(value.value)]
    errors = [value.error if isfinite(value.error) else 0.0 for value in values]
    ends = [value.value + sign * error for value, error in zip(values, errors, strict=True) for sign in (-1, 1)]
    return fitted([value.value for value in values], decades=2).covering(ends)


def _panel(axes: Axes, course: Course, lines: Sequence[Line], scale: Scale, coloured: Sequence[str]) -> None:
    smallest = min(value.value for line in lines for value in line.values if value and isfinite(value.value))
    if scale.linear or smallest <= 0:
        scale.apply(axes, "y", most=8, margin=0.06)
    else:
        _logarithmic(axes, smallest, scale.high)
    axes.grid(visible=True, axis="y")
    axes.tick_params(axis="both", length=3, width=0.8)
    if scale.low < 0:
        axes.axhline(0, color=MUTED, linewidth=0.8)
    # What has no colour of its own lies below what has one.
    for line in sorted(lines, key=lambda one: _key(one) in coloured):
        places = _points(line)
        values = [value for value in line.values if value is not None and isfinite(value.value)]
        key = _key(line)
        colour, marker = (INK, "o") if line.of == "report" else (MUTED, "")
        if key in coloured:
            colour, marker = _LOOKS[list(coloured).index(key)]
        errors = [value.error if isfinite(value.error) and value.error > 0 else nan for value in values]
        grey = key not in coloured and line.of != "report"
        axes.errorbar(
            [course.ordered.steps[place] for place in places],
            [value.value for value in values],
            yerr=None if all(map(isnan, errors)) else errors,
            color=colour,
            marker=marker,
            markersize=4.5,
            linewidth=0.8 if grey else 1.6,
            elinewidth=1.0,
            capsize=2.5,
            alpha=0.55 if grey else 1.0,
        )
    _steps(axes, course)


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    """Give an axis of positive numbers no room for zero."""
    axes.set_yscale("log", nonpositive="clip")
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks = [10.0**exponent for exponent in exponents]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_text(value, ticks)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low / 1.5, high * 1.5)


def _steps(axes: Axes, course: Course) -> None:
    ordered = course.ordered
    steps = ordered.steps
    if ordered.numbered:
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: typeset(f"{step:g}")))
    else:
        axes.set_xlabel(f"report, {ordered.how}")
        chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 8)).round().astype(int)).tolist()
        texts = {steps[place]: elided(ordered.labels[place].removesuffix(".h5"), 14, 0.5) for place in chosen}
        axes.xaxis.set_major_locator(FixedLocator([float(step) for step in texts]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: texts.get(round(step), "")))
        axes.tick_params(axis="x", labelrotation=30)
    if steps[0] == steps[-1]:
        axes.set_xlim(steps[0] - 0.5, steps[0] + 0.5)


def _handles(coloured: Sequence[str], label_of: dict[str, str]) -> list[Artist]:
    return [
        Line2D([], [], color=colour, marker=marker, linewidth=1.6, markersize=4.5, label=label_of[key])
        for key, (colour, marker) in zip(coloured, _LOOKS, strict=False)
    ]


def _notes(course: Course, lines: Sequence[Line], coloured: dict[str, Line], prefix: str) -> list[str]:
    notes = [f"names below {prefix}"] if prefix else []
    values = [value for line in lines for value in line.values if value is not None]
    if any(value.stderr > 0 for value in values):
        notes.append("bars: standard error over probes")
    keys = {_key(line) for line in lines if line.of != "report"}
    if len(keys) > len(coloured):
        notes.append(f"grey: {len(keys) - len(coloured)} more layers, those of smaller numbers")
    notes.append(course.ordered.how)
    return [*notes, *(f"mismatch allowed: {text}" for text in course.mismatches[:2]), *course.notes[:2]]


def _title(quantity: str) -> str:
    return quantity.replace("_", " ")


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _caption(course: Course, panels: Sequence[Sequence[Line]]) -> str:
    words = []
    for lines in panels:
        for line in lines:
            places = _points(line)
            first, last = (line.values[place] for place in (places[0], places[-1]))
            assert first is not None
            assert last is not None
            steps = course.ordered.steps
            words.append(
                f"{_title(line.quantity)} of {line.name}: {number(first.value)} at {steps[places[0]]}, "
                f"{number(last.value)} at {steps[places[-1]]}"
            )
    return f"Lines over {'steps' if course.ordered.numbered else 'reports'}. {'; '.join(words)}."
