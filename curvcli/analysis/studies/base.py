"""What a run needs to know of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from curvcli.analysis.options.record import Options
from curvcli.analysis.provenance import decay_term
from curvcli.analysis.quantities.base import PlanRow, RunPlan
from curvcli.analysis.targets import WHOLE_MODEL, Target, parameters_of
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.losses_at import Decay
from curvcli.curvature.operator import Block
from curvcli.engine.work import Work
from curvcli.models.base import Array, Parameter
from curvcli.report.records.studies import StudyRecord


class Study(Protocol):
    """One study of a run.

    Attributes:
        name: the command's.
        gradient: whether it needs the gradient by all its parameters.
        planned: work that can be told beforehand; others may share it.
        later: passes over single batches, forward alone, of the work that can't.
    """

    name: str
    gradient: bool
    planned: Sequence[Work[Any]]
    later: int

    @property
    def depends(self) -> Mapping[str, str]:
        """What its numbers depend on besides its options: the hashes of other files."""
        ...

    @property
    def options(self) -> Options:
        """All that its numbers depend on."""
        ...

    def plan(self) -> list[PlanRow]:
        """What is going to be done, and why."""
        ...

    def works(self, first: LossAndGradient) -> Iterator[Work[Any]]:
        """All its work in order, what is planned and what is not; each has been done when the next is asked for.

        Args:
            first: the loss, and the gradient where it is needed, weight decay included.
        """
        ...

    def record(self) -> StudyRecord:
        """What was found, when all work has been done."""
        ...


def one_block(run: RunPlan) -> Target:
    """All that was chosen as one target: a layer, several together, or the whole model."""
    layers = [target for target in run.targets if target.layer is not None]
    whole = [target for target in run.targets if target.layer is None]
    if whole:
        return whole[0]
    if len(layers) == 1:
        return layers[0]
    parameters = tuple(parameters_of(tuple(layers)))
    every = sum(len(layer.parameters) for layer in run.session.model.layers)
    name = WHOLE_MODEL if len(parameters) == every else f"{layers[0].name} … {layers[-1].name}"
    return Target(len(run.session.model.layers), None, Block(name, parameters))


def saved_values(run: RunPlan, parameters: Sequence[Parameter]) -> dict[str, Array]:
    """The entries of some parameters as they are saved, in their shapes, float64."""
    return {p.name: run.session.model.values(p.name) for p in parameters}


def decay_at(run: RunPlan, parameters: Sequence[Parameter], values: Mapping[str, Array]) -> Decay:
    """Weight decay as a function of some parameters, from their saved values."""
    trained = [p.name for p in parameters if p.trained]
    squares = {name: float((values[name] ** 2).sum()) for name in trained} if run.decay else {}
    return Decay(run.decay, frozenset(trained), decay_term(run.session), squares)
