"""The loss along one or two directions, or on the way to another model, beside its quadratic model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from curvcli.analysis.options.quantities import EigenOptions
from curvcli.analysis.options.slice import TOWARDS, SliceOptions, rank_of
from curvcli.analysis.quantities.base import PlanRow, RunPlan
from curvcli.analysis.quantities.eigen import EigenQuantity
from curvcli.analysis.studies.base import decay_at, one_block, saved_values
from curvcli.curvature.directions import by_parameter, filter_normalised, joined
from curvcli.curvature.eigen import EigenSolution
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.losses_at import LossesAlong
from curvcli.curvature.operator import MatrixProducts
from curvcli.curvature.wanted import Which
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.models.open import open_model
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyArray, StudyRecord, StudyRow
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.slice import DIRECTIONS
from curvcli.report.units import LOSS, NONE
from curvcli.spec.mistakes import listed
from curvcli.wording import option

# How far beyond both models a line between them goes, of its length; how far filter-normalised directions go.
_BEYOND, _FILTERS = 0.25, 1.0
# What the quadratic model is to change by at the ends, relative to the loss, and no less than that.
_LEAST_CHANGE = 1e-3


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
            ModelError: it can't be opened.
        """
        self.options = options
        self._run, self._target = run, one_block(run)
        self._parameters = self._target.block.parameters
        self._towards = self._line() if options.towards is not None else None
        self._eigen = self._search()
        self.planned: Sequence[Work[Any]] = () if self._eigen is None else tuple(self._eigen.work)
        self.later = options.count ** len(options.directions) * run.batches
        self._products: Work[Array] | None = None
        self._losses: Work[Array] | None = None

    @property
    def depends(self) -> dict[str, str]:
        """See ``Study``."""
        return {} if self._towards is None else {TOWARDS: self._towards[1]}

    @cached_property
    def _values(self) -> dict[str, Array]:
        return saved_values(self._run, self._parameters)

    # -- planned ------------------------------------------------------------------------------------------------------

    def _line(self) -> tuple[Array, str]:
        """The way to the other model, and what that is."""
        session, path = self._run.session, self.options.towards
        if path is None:
            raise ValueError("there is no other model")
        other = open_model(path, device=session.device, dtype=session.dtype)
        shapes = {p.name: p.shape for layer in other.layers for p in layer.parameters}
        missing = [p.name for p in self._parameters if p.name not in shapes]
        if missing:
            raise UsageError(
                f"{option('towards', str(path))}: it has no {listed(missing, last='and')}.\n"
                "Give another checkpoint of the same network, saved in the same format."
            )
        unlike = next((p for p in self._parameters if shapes[p.name] != p.shape), None)
        if unlike is not None:
            raise UsageError(
                f"{option('towards', str(path))}: {unlike.name} has shape {shapes[unlike.name]} there, and "
                f"{unlike.shape} here."
            )
        end = joined(self._parameters, {p.name: other.values(p.name) for p in self._parameters})
        return end - joined(self._parameters, self._values), other.sha256

    def _search(self) -> EigenQuantity | None:
        """The eigenpairs that any direction is of."""
        top = max((rank_of(name) for name in self.options.directions if name.startswith("top")), default=0)
        bottom = max((rank_of(name) for name in self.options.directions if name.startswith("bottom")), default=0)
        k, size = max(top, bottom), self._target.block.size
        if not k:
            return None
        if k > size:
            raise UsageError(f"{option('along')}: {self._target.name} has {size} parameters, and no eigenvector {k}.")
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

    def _direction(self, name: str) -> Array:
        if self._towards is not None and name == TOWARDS:
            return self._towards[0]
        if name == "gradient":
            length = float(np.linalg.norm(self._slopes_of))
            return self._slopes_of / length if length else self._slopes_of
        if name.startswith("random"):
            return filter_normalised(self._parameters, self._values, self._run.seed, rank_of(name) - 1)
        pairs, place = self._pair(name)
        return np.asarray(pairs.pairs.vectors[place], np.float64)

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

    def _coordinates(self, place: int) -> Array:
        """The coordinates along a direction."""
        name, count, reach = self.options.directions[place], self.options.count, self.options.reach
        if name == TOWARDS:
            # Both models are points of it.
            beyond = _BEYOND if reach is None else reach
            steps = max(1, round((count - 1) / (1 + 2 * beyond)))
            outside = int(beyond * steps)
            return np.arange(-outside, steps + outside + 1) / steps
        if reach is None:
            reach = _FILTERS if name.startswith("random") else self._natural(place)
        return np.linspace(-reach, reach, count)

    def _natural(self, place: int) -> float:
        """How far to go along a unit direction until the quadratic model has changed by as much as the loss."""
        change = max(abs(self._value), _LEAST_CHANGE)
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
        shape = self._grid[0].shape
        losses = self._losses.result.reshape(shape)
        slopes = self._directions @ self._slopes_of
        quadratic = np.full(shape, self._value)
        for i, left in enumerate(self._grid):
            quadratic = quadratic + slopes[i] * left
            for j, right in enumerate(self._grid):
                quadratic = quadratic + self._curvature[i, j] / 2 * left * right
        status, reason = self._ending()
        axes = tuple(f"step_{i + 1}" for i in range(len(shape)))
        coordinates = [
            StudyArray(
                name=f"coordinate_{i + 1}",
                values=np.moveaxis(axis, i, 0).reshape(shape[i], -1)[:, 0].copy(),
                axes=(axes[i],),
                long_name=f"coordinate along {name}",
                unit=NONE,
            )
            for i, (axis, name) in enumerate(zip(self._grid, self.options.directions, strict=True))
        ]
        measured = StudyArray(name="loss", values=losses, axes=axes, long_name="the loss at these points", unit=LOSS)
        model = StudyArray(
            name="quadratic", values=quadratic, axes=axes, long_name="the quadratic model of the loss there", unit=LOSS
        )
        return StudyRecord(
            name=self.name,
            tables={
                DIRECTIONS.group: tuple(self._row(place, losses, float(slopes[place])) for place in range(len(axes)))
            },
            arrays=(*coordinates, measured, model),
            status=status,
            exact=status == "done",
            reason=reason,
            passes=self._products.passes + self._losses.passes + sum(work.passes for work in self.planned),
        )

    def _ending(self) -> tuple[Status, str]:
        if not np.isfinite(self._curvature).all():
            return "nonfinite", "the curvature along a direction is no number"
        if self._solution is not None and not all(
            self._solution.pairs.converged[self._pair(name)[1]] for name in self.options.directions if _is_pair(name)
        ):
            return "not_converged", "an eigenvector has not converged; its residual says how far it is from one"
        return "done", ""

    def _row(self, place: int, losses: Array, slope: float) -> StudyRow:
        name = self.options.directions[place]
        residual, about = float("nan"), _ABOUT.get(name.partition(":")[0], "")
        if _is_pair(name):
            solution, number = self._pair(name)
            residual = float(solution.pairs.residuals[number])
            about = f"eigenvector of {solution.pairs.values[number]:.4g}"
        along = self._grid[place]
        lowest = int(np.nanargmin(losses)) if np.isfinite(losses).any() else 0
        return study_row(
            DIRECTIONS,
            name,
            about=about,
            block=self._target.name,
            norm=float(np.linalg.norm(self._directions[place])),
            first=float(along.min()),
            last=float(along.max()),
            points=along.shape[place],
            slope=slope,
            curvature=float(self._curvature[place, place]),
            residual=residual,
            lowest_loss=float(losses.ravel()[lowest]),
            lowest_at=float(along.ravel()[lowest]),
            highest_loss=float(np.max(losses)),
            barrier=_barrier(along, losses) if name == TOWARDS and losses.ndim == 1 else float("nan"),
        )


_ABOUT = {
    "gradient": "the gradient, of norm 1",
    "random": "random, each filter as long as its own",
    TOWARDS: "the straight line to the other model",
}


def _is_pair(name: str) -> bool:
    return name.startswith(("top", "bottom"))


def _barrier(along: Array, losses: Array) -> float:
    """The most that the loss lies above the straight line between its values at 0 and 1 (Frankle et al. 2020)."""
    between = (along >= 0) & (along <= 1)
    t, height = along[between], losses[between]
    return float(np.max(height - ((1 - t) * height[0] + t * height[-1])))
