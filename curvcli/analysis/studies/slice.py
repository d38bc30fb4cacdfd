"""The loss along one or two directions, or on the way to another model, beside its quadratic model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np

from curvcli.analysis.options.quantities import EigenOptions
from curvcli.analysis.options.slice import TOWARDS, SliceOptions, rank_of
from curvcli.analysis.quantities.base import PlanRow, RunPlan
from curvcli.analysis.quantities.eigen import EigenQuantity
from curvcli.analysis.studies.base import decay_at, one_block, saved_values
from curvcli.analysis.studies.slice_figures import arrays_of, is_pair, of_line, of_points, quadratic_model
from curvcli.analysis.studies.towards import OtherModel, coordinates_of_line
from curvcli.curvature.directions import by_parameter, filter_normalised, joined, oriented
from curvcli.curvature.eigen import EigenSolution
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.losses_at import AlongAt, LossesAlong
from curvcli.curvature.operator import MatrixProducts
from curvcli.curvature.wanted import Which
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyRecord, StudyRow
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.slice import DIRECTIONS
from curvcli.wording import option

# How far beyond both models a line between them goes, of its length; how far filter-normalised directions go.
_BEYOND, _FILTERS = 0.25, 1.0
# What the quadratic model is to change by at the ends: the loss, and no less than this.
_LEAST_CHANGE = 1e-3
# The share of that below which a slope over the whole slice is none.
_UNSEEN = 1e-6


class SliceStudy:
    """See ``Study``."""

    name = "slice"
    gradient = True

    def __init__(self, run: RunPlan, options: SliceOptions) -> None:
        """Plan.

        Args:
            run: what it is about; all that was chosen is moved together.
            options: its own.

        Raises:
            UsageError: the other model has other parameters, or there is no eigenvector of such a rank.
            ModelError: it can't be opened, or holds what is no number.
        """
        self.options = options
        self._run, self._target = run, one_block(run)
        self._parameters = self._target.block.parameters
        self._other = None if options.towards is None else OtherModel(run, self._target, options.towards)
        if self._other is not None:
            coordinates_of_line(options.count, self._beyond)  # before anything is computed
        self._eigen = self._search()
        self.planned: Sequence[Work[Any]] = () if self._eigen is None else tuple(self._eigen.work)
        points, ends = options.count ** len(options.directions), int(self._other is not None)
        self.later = (points + len(options.directions) + ends) * run.batches
        self._products: Work[Array] | None = None
        self._losses: Work[Array] | None = None
        self._at_end: Work[tuple[float, float]] | None = None
        self._own: float | None = None

    @property
    def depends(self) -> dict[str, str]:
        """See ``Study``."""
        return {} if self._other is None else {TOWARDS: self._other.sha256}

    @cached_property
    def _values(self) -> dict[str, Array]:
        return saved_values(self._run, self._parameters)

    # -- planned ------------------------------------------------------------------------------------------------------

    def _search(self) -> EigenQuantity | None:
        """The eigenpairs that any direction is of."""
        top = max((rank_of(name) for name in self.options.directions if name.startswith("top")), default=0)
        bottom = max((rank_of(name) for name in self.options.directions if name.startswith("bottom")), default=0)
        k, size = max(top, bottom), self._target.block.size
        if not k:
            return None
        if k > size:
            name = next(one for one in self.options.directions if is_pair(one) and rank_of(one) == k)
            raise UsageError(
                f"{option('along', name)}: {self._target.name} has {size} parameters, and no more eigenvectors."
            )
        which: Which = "both" if top and bottom else "largest" if top else "smallest"
        run = replace(self._run, targets=(self._target,))
        return EigenQuantity(run, EigenOptions(k=k, which=which))

    def plan(self) -> list[PlanRow]:
        """One row for the search, if any, and one for the points."""
        rows = [] if self._eigen is None else [replace(row, quantity=self.name) for row in self._eigen.plan()]
        count = self.options.count ** len(self.options.directions)
        along = " and ".join(self.options.directions)
        points = PlanRow(
            quantity=self.name,
            layer=self._target.name,
            parameter="",
            kind=self._target.kind,
            entries=self._target.block.size,
            method="forward",
            passes=count,
            shared_by=1,
            reason=f"{count} points along {along}, one forward pass each",
            work=self.name,
        )
        return [*rows, points]

    # -- done ---------------------------------------------------------------------------------------------------------

    def works(self, first: LossAndGradient) -> Iterator[Work[Any]]:
        """See ``Study``."""
        yield from self.planned
        run, block = self._run, self._target.block
        self._value = first.value
        self._slopes_of = joined(self._parameters, first.gradients)
        self._solution = None if self._eigen is None else self._eigen.solution(self._target)
        self._directions = np.stack([self._direction(name) for name in self.options.directions])
        key, title = f"slice:{self._target.name}", f"{self._target.name}: "
        products = MatrixProducts(block, self._directions, weight_decay=run.decay)
        self._products = Work(
            products, key=f"{key}:products", title=f"{title}curvature of the directions", batches=run.batches
        )
        yield self._products
        self._curvature = self._directions @ self._products.result.T
        coordinates = [self._coordinates(place) for place in range(len(self._directions))]
        self._grid = np.meshgrid(*coordinates, indexing="ij")
        along = LossesAlong(
            self._values,
            [by_parameter(self._parameters, direction) for direction in self._directions],
            np.stack([axis.ravel() for axis in self._grid], axis=1),
            decay_at(run, self._parameters, self._values),
        )
        self._losses = Work(along, key=f"{key}:losses", title=f"{title}the loss along it", batches=run.batches)
        yield self._losses
        if self._other is not None:
            yield from self._of_other(key, title, self._other)

    def _of_other(self, key: str, title: str, other: OtherModel) -> Iterator[Work[Any]]:
        """The derivatives at the other model's end of the line, and that model's own loss."""
        run = self._run
        along = AlongAt(self._target.block, other.values, self._directions[0], run.decay)
        self._at_end = Work(along, key=f"{key}:end", title=f"{title}the other end", batches=run.batches)
        yield self._at_end
        self._own = other.own_loss()

    def _direction(self, name: str) -> Array:
        if self._other is not None and name == TOWARDS:
            return self._other.step(self._values)
        if name == "gradient":
            length = float(np.linalg.norm(self._slopes_of))
            return self._slopes_of / length if length else self._slopes_of
        if name.startswith("random"):
            return filter_normalised(self._parameters, self._values, self._run.seed, rank_of(name) - 1)
        pairs, place = self._pair(name)
        bend = abs(float(pairs.pairs.values[place]))
        change = self._change
        # What the quadratic model changes by over the slice, a millionth of it, is not seen as a slope.
        visible = _UNSEEN * change / sqrt(2 * change / bend) if bend else 0.0
        return oriented(np.asarray(pairs.pairs.vectors[place], np.float64), self._slopes_of, visible)

    @property
    def _change(self) -> float:
        """What the quadratic model is to change by at the ends."""
        return max(abs(self._value), _LEAST_CHANGE)

    def _pair(self, name: str) -> tuple[EigenSolution, int]:
        """Where the eigenpair of a direction stands.

        Raises:
            UsageError: the search has found fewer.
        """
        if self._solution is None:
            raise ValueError("nothing was searched for")
        count, rank = len(self._solution.pairs.values), rank_of(name)
        if rank > count:
            raise UsageError(
                f"{option('along', name)}: only {count} eigenpairs were found.\n"
                f"{option('dtype', 'float64')} may find more."
            )
        return self._solution, rank - 1 if name.startswith("top") else count - rank

    @property
    def _beyond(self) -> float:
        return _BEYOND if self.options.reach is None else self.options.reach

    def _coordinates(self, place: int) -> Array:
        """The coordinates along a direction."""
        name, count, reach = self.options.directions[place], self.options.count, self.options.reach
        if name == TOWARDS:
            return coordinates_of_line(count, self._beyond)
        if reach is None:
            reach = _FILTERS if name.startswith("random") else self._natural(place)
        return np.linspace(-reach, reach, count)

    def _natural(self, place: int) -> float:
        """How far to go along a unit direction until the quadratic model has changed by as much as the loss."""
        change = self._change
        slope = abs(float(self._directions[place] @ self._slopes_of))
        bend = abs(float(self._curvature[place, place]))
        length = float(np.sqrt(sum((values**2).sum() for values in self._values.values()))) or 1.0
        # |s| r + c r² / 2 = change; no farther than the parameters are from zero.
        reach = 2 * change / (slope + np.sqrt(slope**2 + 2 * bend * change)) if slope or bend else length
        return float(min(reach, length)) if np.isfinite(reach) else length

    # -- recorded -----------------------------------------------------------------------------------------------------

    def record(self) -> StudyRecord:
        """See ``Study``."""
        if self._losses is None or self._products is None:
            raise ValueError("the slice has not been made")
        names, shape = self.options.directions, self._grid[0].shape
        losses = self._losses.result.reshape(shape)
        slopes = self._directions @ self._slopes_of
        status, reason = self._ending(losses)
        model = quadratic_model(self._value, slopes, self._curvature, self._grid)
        rows = [self._row(place, losses, float(slopes[place])) for place in range(len(names))]
        works = [*self.planned, self._products, self._losses, self._at_end]
        return StudyRecord(
            name=self.name,
            tables={DIRECTIONS.group: tuple(rows)},
            arrays=arrays_of(names, self._grid, losses, model),
            status=status,
            exact=status == "done",
            reason=reason,
            passes=sum(work.passes for work in works if work is not None),
        )

    def _ending(self, losses: Array) -> tuple[Status, str]:
        if not np.isfinite(self._curvature).all():
            return "nonfinite", "the curvature along a direction is no number"
        if self._solution is not None and not all(
            self._solution.pairs.converged[self._pair(name)[1]] for name in self.options.directions if is_pair(name)
        ):
            return "not_converged", "an eigenvector has not converged; its residual says how far it is from one"
        reasons = []
        if lost := int((~np.isfinite(losses)).sum()):
            reasons.append(f"at {lost} of {losses.size} points the loss is no finite number: use a shorter reach")
        if self._other is not None and self._own is not None:
            reasons.append(self._other.renamed)
            # A plane has the other model among its points where the second direction has its zero there.
            end = np.logical_and.reduce([self._grid[0] == 1, *(axis == 0 for axis in self._grid[1:])])
            reasons += [self._other.difference(float(reached), self._own) for reached in losses[end]]
        return "done", "; ".join(filter(None, reasons))

    def _row(self, place: int, losses: Array, slope: float) -> StudyRow:
        name, values = self.options.directions[place], {}
        if is_pair(name):
            solution, number = self._pair(name)
            values = {
                "about": f"eigenvector of {solution.pairs.values[number]:.4g}",
                "residual": float(solution.pairs.residuals[number]),
            }
        if name == TOWARDS and self._at_end is not None:
            values |= of_line(self._grid[place], losses, self._at_end.result)
            values |= {"other_loss": self._own} if self._own is not None else {}
        return study_row(
            DIRECTIONS,
            name,
            block=self._target.name,
            norm=float(np.linalg.norm(self._directions[place])),
            slope=slope,
            curvature=float(self._curvature[place, place]),
            **(of_points(name, self._grid[place], losses) | values),
        )
