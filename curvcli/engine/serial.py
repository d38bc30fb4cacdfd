"""Runs a plan piece by piece in this process; any piece can be stopped after a step and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.diagonal.work import Accumulation, Work
from curvcli.errors import NotFiniteError
from curvcli.models.base import Array, Objective


@dataclass(frozen=True)
class FirstOrder:
    """The loss and its gradient.

    Attributes:
        value: L(θ), weight decay included.
        gradients: per parameter, in its shape, float64.
    """

    value: float
    gradients: dict[str, Array]


class FirstOrderWork:
    """L, and ∇L where it is wanted, in one pass over the data without weight decay; put down after any batch.

    Attributes:
        key: names its saved state.
        title: as a person reads it.
    """

    key = "first order"
    title = "loss and gradient"

    def __init__(self, parameters: Sequence[str], *, gradients: bool = True) -> None:
        """Nothing done yet."""
        self._parameters, self._wanted = tuple(parameters), gradients
        self._value, self._batch = 0.0, 0
        self._totals: dict[str, Array] = {}

    def run(self, objective: Objective, on_step: Callable[[int], None]) -> None:
        """Do the rest.

        Raises:
            NotFiniteError: the loss is NaN or infinite on some batch.
        """
        if self._batch >= objective.batch_count():
            return
        for batch in objective.batches(self._parameters, start=self._batch):
            part = batch.loss()
            if not np.isfinite(part):
                raise NotFiniteError(
                    f"the loss is {part} on batch {self._batch} of {objective.batch_count()}.\n"
                    "Check the model's weights and the preprocessing in the dataset spec."
                )
            gradients = batch.gradient(self._parameters) if self._wanted else {}
            self._value += part
            for name, gradient in gradients.items():
                if name in self._totals:
                    self._totals[name] += gradient
                else:
                    self._totals[name] = gradient
            self._batch += 1
            on_step(1)

    def result(self, objective: Objective) -> FirstOrder:
        """What was found, divided; once it has run."""
        divided = {name: total / objective.denominator for name, total in self._totals.items()}
        return FirstOrder(self._value / objective.denominator, divided)

    def state(self) -> dict[str, Array]:
        """The sums, and how far they go."""
        place = np.array([self._value, float(self._batch)])
        return {"place": place, **{f"total:{name}": value for name, value in self._totals.items()}}

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._value, self._batch = float(state["place"][0]), int(state["place"][1])
        self._totals = {k.removeprefix("total:"): v.copy() for k, v in state.items() if k.startswith("total:")}
        return self._batch


def run(
    work: Work,
    objective: Objective,
    progress: Accumulation,
    *,
    on_step: Callable[[int, Accumulation], None] = lambda passes, progress: None,
) -> dict[str, Array]:
    """Do the rest of one piece of work.

    Args:
        work: the piece.
        objective: what it is about.
        progress: empty, or where an earlier run stopped; changed in place, whole after every step.
        on_step: called after every step with the passes it took.

    Returns:
        Per parameter, the diagonal of the data's part of H, divided, float64.
    """
    for passes in work.steps(objective, progress):
        on_step(passes, progress)
    return {name: total / objective.denominator for name, total in progress.totals.items()}
