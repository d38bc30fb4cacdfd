"""Counts the backward passes that an objective's batches are told to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from curvcli.models.base import DifferentiatedBatch, Objective

# How many passes a call costs, by its arguments: one per gradient, column, vector or entry.
_COSTS: dict[str, Callable[..., int]] = {
    "gradient": lambda parameters: 1,
    "samples_separate": lambda parameters: 2,  # of a batch of no more samples than a float32 has exponents
    "squared_columns": lambda parameters, columns: len(columns),
    "output_hessian_diagonal": lambda parameters, start, stop: stop - start,
    # Of each column of a gate, a norm or a softmax two, which the plan counts: here only the columns are seen.
    "bend_columns": lambda parameters, start, stop: stop - start,
    "uses_diagonal": lambda parameters, start, stop: stop - start,
    "hessian_products": lambda block, vectors: len(vectors),
    "pushforward": lambda block, vectors: len(vectors),
    "pullback": lambda block, cotangents: len(cotangents),
    "activation_probes": lambda parameters, signs, remainder: len(signs),
    "sample_gradients": lambda parameters, columns: len(columns),
    "hessian_diagonal_entries": lambda parameter, indices: len(indices),
    "diagonal_entries": len,
}


class CountedBatch:
    """Another batch; tells what each call costs."""

    def __init__(self, batch: DifferentiatedBatch, spend: Callable[[int], None]) -> None:
        self._batch, self._spend = batch, spend

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._batch, name)
        if name not in _COSTS:
            return value

        def counted(*arguments: Any, **named: Any) -> Any:
            self._spend(_COSTS[name](*arguments, **named))
            return value(*arguments, **named)

        return counted


class CountedObjective:
    """Another objective; adds up what its batches were told to do."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.backward_passes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def _spend(self, passes: int) -> None:
        self.backward_passes += passes

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[CountedBatch]:
        for batch in self._objective.batches(parameters, start=start):
            yield CountedBatch(batch, self._spend)
