"""Whether a model gives the same answer twice: without that, none of its derivatives means anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np

from curvcli.models.base import Array, DifferentiatedBatch, Objective

# Beyond rounding, should sums be taken in another order the second time.
_ROUNDING = {"float32": 1e-5, "float64": 1e-10}
# A layer of few units under light dropout drops the same ones twice often enough: look as many times at every batch.
_LOOKS_AT_SUSPECTS = 4


class AnsweringObjective(Objective, Protocol):
    """An objective that can say what in its model may draw random numbers."""

    @property
    def random(self) -> tuple[str, ...]:
        """The operations of the graph that draw random numbers, as a person reads them."""
        ...


def largest_difference(objective: AnsweringObjective, parameters: Sequence[str], dtype: str) -> float:
    """How far output, loss and gradient of equal passes are apart, relative to each one's largest entry.

    Twice on the first batch; several times on every batch where the graph has operations that draw random numbers, as
    one of them may stand in a branch that the first batch does not take.

    Returns:
        0 for differences within rounding in ``dtype``.
    """
    looks = _LOOKS_AT_SUSPECTS if objective.random else 2
    batches = objective.batch_count() if objective.random else 1
    passes = [_answers(objective, parameters) for _ in range(looks)]
    largest = 0.0
    for first, *others in islice(zip(*passes, strict=True), batches):
        for other in others:
            largest = max([largest, *(_apart(a, b) for a, b in zip(first, other, strict=True))])
    return largest if largest > _ROUNDING[dtype] else 0.0


def _answers(objective: Objective, parameters: Sequence[str]) -> Iterator[list[Array]]:
    for batch in objective.batches(parameters):
        answer = _answer(batch, parameters)
        del batch  # or as many graphs would be held as there are looks
        yield answer


def _answer(batch: DifferentiatedBatch, parameters: Sequence[str]) -> list[Array]:
    gradient = batch.gradient(parameters).values() if parameters else ()
    return [batch.output.values, np.array(batch.loss()), *gradient]


def _apart(left: Array, right: Array) -> float:
    if left.shape != right.shape:
        return float("inf")
    if not np.array_equal(np.isfinite(left), np.isfinite(right)):
        return float("inf")
    finite = np.isfinite(left)
    scale = float(np.abs(left[finite]).max(initial=0.0))
    apart = float(np.abs(left[finite] - right[finite]).max(initial=0.0))
    return apart / scale if scale else float(apart > 0)
