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


def first_order(
    objective: Objective,
    parameters: Sequence[str],
    *,
    gradients: bool = True,
    on_batch: Callable[[], None] = lambda: None,
) -> FirstOrder:
    """L, and ∇L for all parameters if it is wanted, in one pass over the data; without weight decay.

    Raises:
        NotFiniteError: the loss is NaN or infinite on some batch.
    """
    value = 0.0
    totals: dict[str, Array] = {}
    for number, batch in enumerate(objective.batches(parameters)):
        part = batch.loss()
        if not np.isfinite(part):
            raise NotFiniteError(
                f"the loss is {part} on batch {number} of {objective.batch_count()}.\n"
                "Check the model's weights and the preprocessing in the dataset spec."
            )
        value += part
        for name, gradient in batch.gradient(parameters).items() if gradients else ():
            totals[name] = totals[name] + gradient if name in totals else gradient
        on_batch()
    return FirstOrder(value / objective.denominator, {n: g / objective.denominator for n, g in totals.items()})


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
