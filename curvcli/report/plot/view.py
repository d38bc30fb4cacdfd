"""What is drawn: the chosen layers and parameters of a report and, over them, the same of another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from curvcli.report.compare.mismatch import Layers, listed, mismatches
from curvcli.report.course.course import Course
from curvcli.report.hdf5.read import Quantity, Report
from curvcli.report.plot.names import elided
from curvcli.report.records.matrices import HESSIAN, named, named_together
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.text import printable

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """The chosen part of one report.

    Attributes:
        report: opened.
        label: what a legend calls it.
        rows: the chosen layers, in model order.
        chosen: whether a parameter with this label is drawn.
    """

    report: Report
    label: str
    rows: tuple[LayerSummary, ...]
    chosen: Callable[[str], bool] = lambda label: True

    def row(self, layer: str) -> LayerSummary | None:
        """Return the layer's row; ``None`` when it is not in this report, or not chosen."""
        return next((row for row in self.rows if row.name == layer), None)

    def parameters(self, layer: str) -> tuple[ParameterSummary, ...]:
        """Return the chosen parameters of a layer."""
        row = self.row(layer)
        return tuple(p for p in row.parameters if self.chosen(p.label)) if row is not None else ()

    def entries(self, layer: str, *quantities: Quantity) -> tuple[Float64, ...] | None:
        """Return all entries of a layer's chosen parameters, one after the other.

        Args:
            layer: its name.
            quantities: of the arrays.

        Returns:
            One array of shape (n,) per quantity, in the same order, of the parameters that have all of them; ``None``
            when no parameter has.
        """
        arrays_by_parameter: list[list[Float64]] = []
        for p in self.parameters(layer):
            arrays = [self.report.array(layer, quantity, p.label) for quantity in quantities]
            present = [np.asarray(array, dtype=np.float64).ravel() for array in arrays if array is not None]
            if len(present) == len(quantities):
                arrays_by_parameter.append(present)
        return tuple(map(np.concatenate, zip(*arrays_by_parameter, strict=True))) if arrays_by_parameter else None


@dataclass(frozen=True)
class View:
    """All that a figure needs.

    Attributes:
        new: what is drawn.
        base: what it is drawn over; layers are matched by name.
        all_kernels: draw every kernel, however many; otherwise only those of the largest traces.
        course: of the reports of a training run, of which `new` is the last; ``None`` for one report.
        notes: filled in by figures: what they had to leave out, for who asked for them.
    """

    new: Side
    base: Side | None = None
    all_kernels: bool = True
    course: Course | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def sides(self) -> Iterator[Side]:
        """The one or two reports, the new one first."""
        yield self.new
        if self.base is not None:
            yield self.base

    @cached_property
    def mismatch(self) -> str:
        """What makes the change from the base one of something else than the model; empty when nothing does."""
        if self.base is None:
            return ""
        # Layers are matched one by one, and each report's state stands elsewhere: neither forbids a picture.
        old, new = (replace(side.report, status="complete") for side in (self.base, self.new))
        differences = list(mismatches(old, new, Layers((), (), ())))
        pairs = {
            (_matrices((row,)), _matrices((other,)))
            for row in self.new.rows
            if (other := self.base.row(row.name)) is not None and row.matrix and other.matrix
        }
        differences += [f"{after}, was {before}" for after, before in sorted(pairs) if after != before]
        return "; ".join(differences)

    @cached_property
    def only_in_base(self) -> str:
        """Which layers only the base has, and so stand in no figure; empty when none, or when layers were chosen."""
        if self.base is None or len(self.new.rows) < len(self.new.report.layers):
            return ""
        new_names = {row.name for row in self.new.report.layers}
        names = [row.name for row in self.base.report.layers if row.name not in new_names]
        return f"only in {printable(self.base.label)}: {listed(names)}" if names else ""

    @property
    def of_diagonals(self) -> str:
        """What the diagonals are of, in a sentence."""
        return named_together(p.matrix for side in self.sides for row in side.rows for p in row.parameters)

    @property
    def comparison(self) -> tuple[str, ...]:
        """What to know of the two reports before trusting a change."""
        texts = (f"not like {printable(self.base.label)}: {self.mismatch}" if self.base and self.mismatch else "",)
        return tuple(text for text in (*texts, self.only_in_base) if text)

    def heading(self, room: int) -> str:
        """Return the line below a title: what the numbers are of, the model's path cut so that all has room."""
        run = self.new.report.provenance
        matrices = _matrices(self.new.rows)
        words = [
            (f"{printable(run.loss)} ({printable(run.reduction)}) over " if run.loss else "")
            + f"{run.samples} sample{'s' * (run.samples != 1)}",
            *([] if matrices in ("", named(HESSIAN)) else [matrices]),
            *([] if self.new.report.status == "complete" else [f"{self.new.report.status} report"]),
            *([] if self.base is None else [f"compared with {elided(self.base.label, 50)}"]),
        ]
        details = " · ".join(words)
        what = printable(run.model_path)
        if self.course is not None:
            first, last = (self.course.ordered.labels[place] for place in (0, -1))
            what = printable(f"{first} … {last}")
        return f"{elided(what, max(16, min(60, room - len(details))))} · {details}"


def _matrices(rows: Sequence[LayerSummary]) -> str:
    return named("+".join(sorted({word for row in rows for word in row.matrix.split("+") if word})))
