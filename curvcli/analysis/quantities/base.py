"""What a run needs to know of a quantity: its pieces of work, and what they add to a layer's record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from curvcli.analysis.options.record import Options
from curvcli.analysis.session import Session
from curvcli.analysis.targets import Target
from curvcli.curvature.diagonal.work import Accumulation, Work
from curvcli.curvature.operator import Block
from curvcli.curvature.work import BlockWork, OnStep
from curvcli.engine import serial
from curvcli.models.base import Array, Objective
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.status import Status

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
        pieces: all work planned so far, by key: what two quantities need is done once.
    """

    session: Session
    targets: tuple[Target, ...]
    memory: int
    deterministic: bool = True
    verify: bool = True
    pieces: dict[str, Piece] = field(default_factory=dict)

    def exact(self, work: Work, targets: tuple[str, ...]) -> ExactPiece:
        """The piece for an exact diagonal's work."""
        piece = ExactPiece(work, targets, self.batches)
        known = self.pieces.setdefault(piece.key, piece)
        if not isinstance(known, ExactPiece):
            raise TypeError(f"{piece.key} is other work")
        known.targets = tuple(dict.fromkeys((*known.targets, *targets)))
        return known

    def block(self, key: str, title: str, targets: tuple[str, ...], make: Callable[[], BlockWork]) -> BlockPiece:
        """The piece with this key, its work made if there is none yet."""
        if key not in self.pieces:
            self.pieces[key] = BlockPiece(make(), key, title, targets, self.batches)
        known = self.pieces[key]
        if not isinstance(known, BlockPiece):
            raise TypeError(f"{key} is other work")
        return known

    def check(self, key: str, title: str, targets: tuple[str, ...], make: Callable[[], BlockWork]) -> CheckPiece:
        """The piece of checks with this key."""
        known = self.pieces.get(key)
        if known is None:
            known = self.pieces[key] = CheckPiece(make(), key, title, targets, self.batches)
        if not isinstance(known, CheckPiece):
            raise TypeError(f"{key} is other work")
        known.targets = tuple(dict.fromkeys((*known.targets, *targets)))
        return known

    @property
    def objective(self) -> Objective:
        """Of the data."""
        return self.session.objective

    @property
    def batches(self) -> int:
        """Of the data."""
        return self.session.objective.batch_count()

    @property
    def decay(self) -> float:
        """λ of the spec."""
        return self.session.loaded.spec.loss.weight_decay

    def decay_of(self, block: Block) -> float:
        """What weight decay adds to each eigenvalue of a block of which all parameters have it, or none."""
        return self.decay if block.trained_size else 0.0

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.session.loaded.spec.sampling.seed


class Piece(Protocol):
    """Work that is done whole, or put down and taken up.

    Attributes:
        key: names its saved state.
        title: as a person reads it.
        targets: the names of what it has results for.
        passes: over single batches, as far as can be told.
        repeats: whether it goes over the data more than once.
        at_most: whether it may end with fewer passes.
    """

    key: str
    title: str
    targets: tuple[str, ...]
    passes: int
    repeats: bool
    at_most: bool

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Do the rest."""
        ...

    def state(self) -> dict[str, Array]:
        """All there is to know."""
        ...

    def restore(self, state: dict[str, Array]) -> int:
        """Take up a state; returns about how many passes it stands for."""
        ...

    def release(self) -> None:
        """Everybody has taken what they need of the results: let go of them."""
        ...


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
        work: the key of its piece; empty where there is nothing to do.
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


def target_row(quantity: str, target: Target, method: str, reason: str, piece: Piece | None, batches: int) -> PlanRow:
    """The plan of a whole target."""
    passes = piece.passes // max(batches, 1) if piece is not None else 0
    shared = len(piece.targets) if piece is not None else 1
    key = piece.key if piece is not None else ""
    return PlanRow(quantity, target.name, "", target.kind, target.block.size, method, passes, shared, reason, key)


class Quantity(Protocol):
    """One quantity for all targets.

    Attributes:
        name: the command's.
        pieces: in the order in which they are run.
    """

    name: str
    pieces: Sequence[Piece]

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


class BlockPiece:
    """A ``BlockWork`` as a piece.

    Attributes:
        done: whether it has run to its end.
    """

    repeats = True

    def __init__(self, work: BlockWork, key: str, title: str, targets: tuple[str, ...], batches: int) -> None:
        """See ``Piece``."""
        self.work, self.key, self.title, self.targets = work, key, title, targets
        self._batches, self.done = batches, False
        self.passes = work.products * batches
        self.at_most = work.at_most

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Do the rest."""
        self.work.run(objective, on_step)
        self.done = True

    def state(self) -> dict[str, Array]:
        """The work's."""
        return self.work.state()

    def restore(self, state: dict[str, Array]) -> int:
        """Give it back to the work."""
        return self.work.restore(state) * self._batches

    def release(self) -> None:
        """Let go of the work, which may hold a matrix."""
        del self.work


class CheckPiece(BlockPiece):
    """Work that checks what other pieces found: a few numbers, which stay."""

    repeats = False

    def release(self) -> None:
        """Nothing to let go of."""


class ExactPiece:
    """An exact diagonal's work as a piece.

    Attributes:
        work: which.
        progress: its sums.
        found: per parameter the diagonal, divided, without weight decay; once it has run.
    """

    def __init__(self, work: Work, targets: tuple[str, ...], batches: int) -> None:
        """See ``Piece``."""
        self.work, self.targets = work, targets
        self.key = f"{work.method}:{','.join(work.parameters)}"
        shown = targets[0] if len(targets) == 1 else f"{targets[0]} … {targets[-1]} ({len(targets)} layers)"
        self.title = f"{shown}: {work.method}"
        self.passes = work.passes_per_batch * batches
        self.repeats = work.method == "coordinate"
        self.at_most = False
        self.progress = Accumulation()
        self.found: dict[str, Array] | None = None

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Do the rest."""
        self.found = serial.run(self.work, objective, self.progress, on_step=lambda passes, _: on_step(passes))

    def state(self) -> dict[str, Array]:
        """Totals, traces, and how far they go."""
        return self.progress.arrays()

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self.progress = Accumulation.of(state)
        return self.progress.batch * self.work.passes_per_batch + self.progress.position

    def release(self) -> None:
        """Let go of the diagonals."""
        self.found, self.progress = None, Accumulation()


def worst(*statuses: Status) -> Status:
    """The worst of some statuses."""
    return max(statuses, key=_WORST.index)


def owners(chosen: Sequence[Target], parameters: Sequence[str]) -> tuple[str, ...]:
    """The names of the targets that hold any of these parameters."""
    wanted = set(parameters)
    return tuple(t.name for t in chosen if wanted & set(t.block.names))
