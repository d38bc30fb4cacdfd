"""What a run needs to know of a quantity: its work, and what that adds to a layer's record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from curvcli.analysis.options.record import Options
from curvcli.analysis.session import Session
from curvcli.analysis.targets import Target, parameters_of
from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.diagonal.exact import DiagonalMethod, ExactDiagonal
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix, first_output
from curvcli.curvature.matrices.registry import REGISTRY
from curvcli.curvature.operator import Block
from curvcli.curvature.tasks import Data
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.status import Status
from curvcli.wording import option

Result = TypeVar("Result")

# From best to worst.
_WORST: tuple[Status, ...] = (
    "done",
    "not_converged",
    "incomplete",
    "imprecise",
    "over_budget",
    "unverified",
    "nonfinite",
    "failed",
)


@dataclass(frozen=True)
class RunPlan:
    """What a run is about, and the work that is planned for it.

    Attributes:
        session: the opened model and data.
        targets: what the run is about.
        memory: bytes that vectors and bases may take.
        deterministic: whether the model gives the same answer twice.
        verify: whether results are checked in the run itself.
        work: all work planned so far, by key: what two quantities need is done once.
    """

    session: Session
    targets: tuple[Target, ...]
    memory: int
    deterministic: bool = True
    verify: bool = True
    work: dict[str, Work[Any]] = field(default_factory=dict)

    def shared(
        self,
        key: str,
        title: str,
        targets: tuple[str, ...],
        algorithm: Algorithm[Result],
        *,
        checks: bool = False,
        repeats: bool = True,
    ) -> Work[Result]:
        """The work with this key, planned now if it is not yet; these targets wait for it too.

        Raises:
            TypeError: the key is that of another algorithm's work.
        """
        work = self.work.get(key)
        if work is None:
            work = self.work[key] = Work(
                algorithm, key=key, title=title, targets=targets, batches=self.batches, checks=checks, repeats=repeats
            )
        if type(work.algorithm) is not type(algorithm):
            raise TypeError(f"{key} is other work")
        work.targets = tuple(dict.fromkeys((*work.targets, *targets)))
        return work

    def exact(self, method: DiagonalMethod, matrix: Matrix, targets: tuple[str, ...]) -> ExactWork:
        """The work of an exact diagonal's method."""
        key = f"{method.method}:{','.join(method.parameters)}"
        if method.method == "coordinate" and matrix != HESSIAN:
            key = f"{matrix}:{key}"
        title = f"{shown(targets)}: {method.method}"
        # One pass does it, save where every entry is a product.
        return ExactWork(method, self.shared(key, title, targets, method, repeats=method.method == "coordinate"))

    @property
    def objective(self) -> Data:
        """The objective, on the data."""
        return self.session.objective

    @property
    def batches(self) -> int:
        """The number of batches of the data."""
        return self.session.objective.batch_count()

    @property
    def decay(self) -> float:
        """λ, the weight decay of the spec."""
        return self.session.loaded.spec.loss.weight_decay

    def apart(self, *, bare: bool) -> str:
        """What begins the keys of work without weight decay, where others' is with it."""
        return "without decay:" if bare and self.decay else ""

    def decay_of(self, block: Block) -> float:
        """What weight decay adds to each eigenvalue of a block of which all parameters have it, or none."""
        return self.decay if block.trained_size else 0.0

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return self.session.loaded.spec.sampling.seed


@dataclass(frozen=True)
class ExactWork:
    """An exact method, and its work."""

    method: DiagonalMethod
    work: Work[ExactDiagonal]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it computes."""
        return self.method.parameters

    def diagonal(self, name: str) -> Array | None:
        """A parameter's, divided and without weight decay; None before it has run, or where no batch depends on it."""
        return self.work.result.values.get(name) if self.work.done else None


@dataclass(frozen=True)
class Way(Generic[Result]):
    """How a target's solution is computed.

    Attributes:
        method: its name in reports.
        reason: why this way.
        work: all of it, in order.
        solution: of the target, once its work has run.
    """

    method: str
    reason: str
    work: tuple[Work[Any], ...]
    solution: Callable[[], Result]


@dataclass(frozen=True)
class PlanRow:
    """What is done for a parameter, or for a target as a whole.

    Attributes:
        quantity: the command's name.
        layer: its layer's name, or the whole model.
        parameter: its label; empty for a whole target.
        kind: of the layer.
        entries: how many numbers.
        method: chosen.
        passes: per batch, of the work it is part of.
        shared_by: how many rows share that work and its cost.
        reason: why this method.
        work: the key of that work; empty where there is nothing to do.
    """

    quantity: str
    layer: str
    parameter: str
    kind: str
    entries: int
    method: str
    passes: int
    shared_by: int
    reason: str
    work: str


def settled_matrix(run: RunPlan, name: str) -> Matrix:
    """The matrix of this name, for the run's loss.

    Raises:
        UsageError: this loss has none.
    """
    matrix = REGISTRY[name]
    if obstacle := matrix.obstacle(first_output(run.objective, parameters_of(run.targets)).loss):
        instead = f"{option('matrix', 'gauss_newton')} or {HESSIAN.name}"
        raise UsageError(f"{option('matrix', name)}: {obstacle}.\nUse {instead}.")
    return matrix


def target_row(
    quantity: str, target: Target, method: str, reason: str, work: Work[Any] | None, batches: int
) -> PlanRow:
    """The plan of a whole target."""
    passes = work.passes // max(batches, 1) if work is not None else 0
    shared = len(work.targets) if work is not None else 1
    key = work.key if work is not None else ""
    return PlanRow(quantity, target.name, "", target.kind, target.block.size, method, passes, shared, reason, key)


def way_rows(quantity: str, run: RunPlan, ways: Mapping[str, Way[Any]]) -> list[PlanRow]:
    """One row per target, by the way its result is computed."""
    pairs = ((target, ways[target.name]) for target in run.targets)
    return [target_row(quantity, target, way.method, way.reason, way.work[0], run.batches) for target, way in pairs]


class Quantity(Protocol):
    """One quantity for all targets.

    Attributes:
        name: the command's.
        work: in the order in which it is done.
    """

    name: str
    work: Sequence[Work[Any]]

    @property
    def options(self) -> Options:
        """All that its numbers depend on."""
        ...

    def plan(self) -> list[PlanRow]:
        """What is going to be done for whom, and why."""
        ...

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add what was found to a target's record."""
        ...


def worst(*statuses: Status) -> Status:
    """The worst of some statuses."""
    return max(statuses, key=_WORST.index)


def shown(targets: Sequence[str]) -> str:
    """One target's name, or the first and the last of several."""
    return targets[0] if len(targets) == 1 else f"{targets[0]} … {targets[-1]} ({len(targets)} layers)"


def owners(chosen: Sequence[Target], parameters: Sequence[str]) -> tuple[str, ...]:
    """The names of the targets that hold any of these parameters."""
    names = set(parameters)
    return tuple(t.name for t in chosen if names & set(t.block.names))
