"""The log evidence of each block along the prior's precision, with the parts that it is the sum of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from curvcli.report.numbers import number, typeset
from curvcli.report.plot.names import elided
from curvcli.report.plot.panels import small_multiples
from curvcli.report.plot.style import INK, MUTED, NEGATIVE, OTHER, POSITIVE, Plot, absent
from curvcli.report.plot.view import Float64, Side, View
from curvcli.report.records.studies import StudyRow
from curvcli.report.studies.rows import study_rows

# How far below the best evidence, in widths of what is above it, a panel goes; and the room above.
_BELOW: Final = 0.6
_ROOM: Final = 0.06
# Of so few decades, some more are labelled than the powers of ten.
_NARROW: Final = 2.5


@dataclass(frozen=True, eq=False)
class _Curve:
    """The curve of a block.

    Attributes:
        row: the block's.
        alpha: of the points.
        evidence: at them.
        stderr: of it.
        likelihood: one part.
        occam: the other.
    """

    row: StudyRow
    alpha: Float64
    evidence: Float64
    stderr: Float64
    likelihood: Float64
    occam: Float64


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one panel per block, each on its own axes."""
    curves = _curves(view.new)
    if not curves:
        return
    others = {} if view.base is None else _curves(view.base)
    marked: dict[str, list[StudyRow]] = {}
    for row in study_rows(view.new.report.studies, "evidence_curve"):
        marked.setdefault(row.curve_block, []).append(row)

    def panel(axes: Axes, name: str) -> str:
        return _panel(axes, curves[name], others.get(name), marked.get(name, []))

    yield from small_multiples(
        view,
        "evidence",
        "Evidence along the precision of the prior",
        list(curves),
        panel,
        axis_labels=("α, the precision of the prior", "log evidence and its parts (nat)"),
        notes=["log evidence = log-likelihood + log Occam factor, with all other parameters fixed"],
        handles=_handles(view, banded=any((one.stderr > 0).any() for one in curves.values())),
        shared="",
    )


def _curves(side: Side) -> dict[str, _Curve]:
    """The curves of a report, by block."""
    rows = study_rows(side.report.studies, "evidence")
    if not rows:
        return {}
    names = ("prior_precision", "log_evidence", "evidence_stderr", "log_likelihood", "log_occam")
    arrays = [side.report.study_array("evidence", name) for name in names]
    return {row.name: _Curve(row, *(array[i] for array in arrays)) for i, row in enumerate(rows)}


def _panel(axes: Axes, curve: _Curve, other: _Curve | None, marked: list[StudyRow]) -> str:
    finite = np.isfinite(curve.evidence)
    if not finite.any():
        absent(axes, "no evidence")
        return "no evidence"
    best = int(np.nanargmax(np.where(finite, curve.evidence, -np.inf)))
    low, high = _reach([one for one in (curve, other) if one is not None])
    axes.set_xscale("log")
    axes.set_ylim(low, high)
    visible = curve.alpha[finite & (curve.evidence > low)]
    axes.set_xlim(
        float(visible.min()), float(visible.max()) if visible.max() > visible.min() else float(curve.alpha[-1])
    )
    narrow = float(np.log10(visible.max() / visible.min())) < _NARROW
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=6))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: typeset(number(value, 3))))
    axes.locator_params(axis="y", nbins=6)
    axes.grid(visible=True)
    gap = np.where(finite, 1.0, np.nan)
    axes.fill_between(
        curve.alpha,
        (curve.evidence - curve.stderr) * gap,
        (curve.evidence + curve.stderr) * gap,
        color=POSITIVE,
        alpha=0.3,
        linewidth=0,
    )
    axes.plot(curve.alpha, curve.likelihood * gap, color=NEGATIVE, linewidth=1.2, linestyle="--")
    axes.plot(curve.alpha, curve.occam * gap, color=OTHER, linewidth=1.2, linestyle="-.")
    if other is not None:
        axes.plot(other.alpha, np.where(np.isfinite(other.evidence), other.evidence, np.nan), color=INK, linewidth=1.1)
    axes.plot(curve.alpha, curve.evidence * gap, color=POSITIVE, linewidth=1.7)
    for row in marked:
        axes.plot([row.curve_prior], [row.curve_evidence], "o", color=POSITIVE, markersize=5)
    row = curve.row
    if np.isfinite(row.log_evidence) and 0 < row.prior_precision < np.inf:
        axes.plot([row.prior_precision], [row.log_evidence], "D", color=POSITIVE, markersize=6)
        axes.axvline(row.prior_precision, color=MUTED, linewidth=0.8, linestyle=":")
    if not np.isfinite(row.log_evidence):
        return typeset(f"no best α; {number(curve.evidence[best], 4)} at α = {number(curve.alpha[best], 3)}")
    return typeset(
        f"{number(row.log_evidence, 4)} at α = {number(row.prior_precision, 3)}, γ = "
        f"{number(row.effective_parameters, 3)} of {row.entries}"
    )


def _reach(curves: list[_Curve]) -> tuple[float, float]:
    """From below the best evidences up to all that lies above them there."""
    tops, bottoms = [], []
    for curve in curves:
        finite = np.isfinite(curve.evidence)
        if finite.any():
            best = int(np.nanargmax(np.where(finite, curve.evidence, -np.inf)))
            parts = (curve.evidence[best], curve.likelihood[best], curve.occam[best])
            tops.append(max(parts))
            bottoms.append(min(parts))
    low, high = min(bottoms), max(tops)
    width = (high - low) or max(abs(high), 1.0)
    return low - _BELOW * width, high + _ROOM * width


def _handles(view: View, *, banded: bool) -> list[Artist]:
    label = "log evidence" if view.base is None else elided(view.new.label, 30)
    handles: list[Artist] = [
        Line2D([], [], color=POSITIVE, linewidth=1.7, marker="D", markersize=5, label=label),
        *([Patch(facecolor=POSITIVE, alpha=0.3, label="± standard error")] if banded else []),
        Line2D([], [], color=NEGATIVE, linewidth=1.2, linestyle="--", label="log-likelihood"),
        Line2D([], [], color=OTHER, linewidth=1.2, linestyle="-.", label="log Occam factor"),
    ]
    if view.base is not None:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, label=elided(view.base.label, 30)))
    return handles
