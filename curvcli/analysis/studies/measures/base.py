"""What every measure of sharpness stands on, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any, ClassVar

import numpy as np

from curvcli.analysis.options.sharpness import SharpnessOptions
from curvcli.analysis.provenance import decay_term
from curvcli.analysis.quantities.base import PlanRow, RunPlan
from curvcli.analysis.quantities.spectrum import DENSE_UP_TO, whole_block
from curvcli.analysis.studies.base import decay_at, saved_values
from curvcli.analysis.targets import Target
from curvcli.curvature.directions import by_parameter, joined
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.losses_at import Decay, LossesAlong
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.minibatches import MOST_STEPS, Minibatches, MinibatchFigures, drawn_minibatches
from curvcli.curvature.operator import MatrixProducts
from curvcli.engine.work import Work
from curvcli.models.base import Array, Parameter
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyArray, StudyRow
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.sharpness import MEASURES
from curvcli.report.units import CURVATURE

# Relative residuals at which an eigenvalue has converged: those of ``curvcli eigs``.
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


@dataclass(frozen=True)
class About:
    """What is said of a figure wherever it comes from.

    Attributes:
        definition: in a phrase.
        source: who proposed it.
        rescaling: what becomes of it where one ReLU layer is scaled up and the next one down.
        unit: of its value.
    """

    definition: str
    source: str = ""
    rescaling: str = "changes"
    unit: str = CURVATURE


def figure(
    name: str,
    about: About,
    value: float,
    *,
    method: str,
    exact: bool,
    stderr: float = 0.0,
    residual: float = float("nan"),
    count: int = 0,
    degrees: float = inf,
    status: Status = "done",
    reason: str = "",
) -> StudyRow:
    """Return a row of the table of measures."""
    return study_row(
        MEASURES,
        name,
        value=value,
        stderr=stderr,
        unit=about.unit,
        method=method,
        exact=exact and status == "done",
        residual=residual,
        count=count,
        degrees=degrees,
        definition=about.definition,
        source=about.source,
        rescaling=about.rescaling,
        status=status,
        reason=reason,
    )


class Ground:
    """What the measures of one run are of, and the work that several of them need.

    Attributes:
        run: with one target, all that was chosen together.
        target: that.
        options: of the study.
    """

    def __init__(self, run: RunPlan, target: Target, options: SharpnessOptions) -> None:
        self.run, self.target, self.options = run, target, options
        self._first: LossAndGradient | None = None

    @property
    def parameters(self) -> Sequence[Parameter]:
        """Of the target."""
        return self.target.block.parameters

    @property
    def small(self) -> bool:
        """Whether the whole Hessian is made: then all that follows from it is exact."""
        return 0 < self.target.block.size <= DENSE_UP_TO

    def whole(self, matrix: Matrix) -> Work[Any]:
        """The work that makes a whole matrix."""
        return whole_block(self.run, self.target, matrix)

    @property
    def decay_by_entry(self) -> Array:
        """The weight decay λ of each entry, (n,)."""
        return np.concatenate([np.full(p.size, self.run.decay * p.trained) for p in self.parameters])

    @cached_property
    def values(self) -> dict[str, Array]:
        """The entries of the parameters as saved."""
        return saved_values(self.run, self.parameters)

    @cached_property
    def decay(self) -> Decay:
        """Weight decay as a function of the parameters."""
        return decay_at(self.run, self.parameters, self.values)

    # -- the gradient, once it is there -------------------------------------------------------------------------------

    @property
    def first(self) -> LossAndGradient:
        """The loss and the gradient, weight decay included.

        Raises:
            ValueError: they have not been computed yet.
        """
        if self._first is None:
            raise ValueError("there is no gradient yet")
        return self._first

    def begin(self, first: LossAndGradient) -> None:
        """Take them."""
        self._first = first

    @cached_property
    def gradient(self) -> Array:
        """The gradient g, weight decay included, (n,)."""
        return joined(self.parameters, self.first.gradients)

    @cached_property
    def data_gradient(self) -> Array:
        """The gradient without weight decay, (n,)."""
        return np.asarray(self.gradient - self.decay_by_entry * joined(self.parameters, self.values))

    @property
    def norm(self) -> float:
        """The length ‖g‖."""
        return float(np.linalg.norm(self.gradient))

    @property
    def unit(self) -> Array | None:
        """The direction g/‖g‖, (n,); None where the gradient is zero or no number."""
        return self.gradient / self.norm if self.norm and np.isfinite(self.norm) else None

    # -- work ---------------------------------------------------------------------------------------------------------

    @cached_property
    def along(self) -> Work[Array] | None:
        """One product with that direction."""
        if self.unit is None:
            return None
        products = MatrixProducts(self.target.block, self.unit[None], weight_decay=self.run.decay)
        return self.work("gradient", "curvature along the gradient", products)

    @property
    def along_gradient(self) -> float:
        """The curvature gᵀHg/‖g‖²; NaN where the gradient is zero."""
        return float("nan") if self.unit is None or self.along is None else float(self.along.result[0] @ self.unit)

    @cached_property
    def ascended(self) -> Work[Array] | None:
        """The loss after the ascent step."""
        if self.unit is None:
            return None
        step = by_parameter(self.parameters, self.unit)
        losses = LossesAlong(self.values, [step], np.array([[self.options.rho]]), self.decay)
        return self.work("ascent", "the loss after an ascent step", losses)

    @cached_property
    def minibatch_size(self) -> int:
        """Samples of a mini-batch."""
        session = self.run.session
        fixed = next((port.shape[0] for port in session.model.inputs if port.shape and port.shape[0]), None)
        return min(self.options.minibatch_of(fixed), len(session.samples))

    @cached_property
    def groups(self) -> Array:
        """The samples of each mini-batch, (m, size)."""
        samples, most = len(self.run.session.samples), self.options.minibatches
        return drawn_minibatches(samples, self.minibatch_size, most, self.run.seed)

    @cached_property
    def minibatches(self) -> Work[Minibatches]:
        """All figures of mini-batches; their eigenvalues where these are wanted."""
        wanted = "batch_sharpness" in self.options.measures
        figures = MinibatchFigures(
            self.groups,
            self.target.block,
            joined(self.parameters, self.values),
            self.data_gradient,
            self.run.decay,
            decay_term(self.run.session),
            self.run.seed,
            TOLERANCE[self.run.session.dtype] if wanted else 0.0,
            max(2, min(MOST_STEPS, self.run.memory // (8 * max(self.target.block.size, 1)))),
        )
        key = f"minibatches:{self.minibatch_size}:{len(self.groups)}:{wanted}:{figures.most}"
        return self.work(key, f"{len(self.groups)} mini-batches", figures, batches=len(self.groups))

    def work(self, key: str, title: str, algorithm: Any, *, batches: int | None = None) -> Work[Any]:
        """Work of the study."""
        count = self.run.batches if batches is None else batches
        name = self.target.name
        return Work(algorithm, key=f"sharpness:{name}:{key}", title=f"{name}: {title}", batches=count)


class Measure(ABC):
    """One measure, or some that come of one computation.

    Attributes:
        name: by which it is requested.
        planned: its work that can be told beforehand.
        later: passes over single batches of the work that can't.
    """

    name: ClassVar[str]
    planned: Sequence[Work[Any]] = ()
    later: int = 0

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    @classmethod
    def obstacle(cls, ground: Ground) -> str:
        """Why there is no such measure here, as a person reads it; empty if there is."""
        del ground
        return ""

    def planned_row(self, method: str, passes: int, reason: str, *, work: str = "", shared_by: int = 1) -> PlanRow:
        """Return a row of the plan.

        Args:
            method: by which it is computed.
            passes: per batch, of the work it is part of.
            reason: why so.
            work: the key of that work, where it is told beforehand.
            shared_by: how many rows share that work.
        """
        target, reason = self.ground.target, f"{self.name}: {reason}"
        size = target.block.size
        return PlanRow("sharpness", target.name, "", target.kind, size, method, passes, shared_by, reason, work)

    def rows_of(self, rows: Sequence[PlanRow]) -> list[PlanRow]:
        """Return the plan of a quantity as this measure's."""
        return [replace(row, quantity="sharpness", reason=f"{self.name}: {row.reason}") for row in rows]

    @abstractmethod
    def plan(self) -> list[PlanRow]:
        """What is going to be done, and why."""

    def works(self) -> Iterator[Work[Any]]:
        """All its work in order, once the gradient is there; it has been done when the next is asked for."""
        yield from self.planned

    @abstractmethod
    def figures(self) -> list[StudyRow]:
        """Its rows in the table of measures, once all its work has been done."""

    def tables(self) -> Mapping[str, tuple[StudyRow, ...]]:
        """Rows of further tables, by their groups."""
        return {}

    def arrays(self) -> tuple[StudyArray, ...]:
        """Its arrays."""
        return ()
