"""Estimates the traces of many blocks in common passes over the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

import numpy as np

from curvcli.curvature.operator import Block, CurvatureOperator, Matrix
from curvcli.curvature.threads import blas_on_one_thread
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, TraceEstimator
from curvcli.curvature.trace.hutchinson import Hutchinson
from curvcli.curvature.trace.hutchpp import HutchPlusPlus
from curvcli.curvature.trace.unit_vectors import UnitVectors
from curvcli.curvature.trace.xtrace import XTrace
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective

Estimator = Literal["xtrace", "hutch++", "hutchinson"]
ESTIMATORS: tuple[Estimator, ...] = ("xtrace", "hutch++", "hutchinson")

# Up to so many entries nothing is gained by stopping at a tolerance.
_SMALL = 128


def estimators(
    blocks: Sequence[Block], whole: Block | None, method: Estimator, rule: Rule, memory: int
) -> list[TraceEstimator]:
    """One estimator per block, or one for all of them.

    Args:
        blocks: whose traces are wanted.
        whole: a block of all their parameters, where more than one is wanted by Hutchinson's estimator.
        method: asked for.
        rule: how far to go.
        memory: bytes for the vectors of all of them; a block whose basis does not fit in what the blocks before it
            leave goes to Hutchinson's estimator.
    """
    found: list[TraceEstimator] = []
    probed: list[Block] = []
    held = _held(method)
    for block in blocks:
        if block.size <= (rule.probes if rule.rtol is None else max(_SMALL, rule.probes // 4)):
            found.append(UnitVectors(block, rule))
            continue
        needed = int(held * rule.probes * block.size * 8)
        if needed > memory:
            probed.append(block)
            continue
        memory -= needed
        match method:
            case "hutchinson":
                probed.append(block)
            case "xtrace":
                found.append(XTrace(block, rule))
            case "hutch++":
                found.append(HutchPlusPlus(block, rule))
            case _:
                assert_never(method)
    if len(probed) == 1 or whole is None:
        found += [Hutchinson(block, [block], rule, together=_together(block, memory)) for block in probed]
    elif probed:
        found.append(Hutchinson(whole, probed, rule, together=_together(whole, memory)))
    return found


def _held(method: Estimator) -> float:
    """Vectors of a block that are held at once, per product; Hutchinson's estimator takes what memory there is."""
    match method:
        case "hutchinson":
            return 0.0
        case "xtrace":
            return 1.5
        case "hutch++":
            return 1.0
        case _:
            assert_never(method)


def _together(block: Block, memory: int) -> int:
    """Probes at once: each is held beside its product, and its product from one batch."""
    return max(1, min(8, memory // (24 * max(block.size, 1))))


class TraceWork:
    """Estimators at work together (see ``BlockWork``): each pass over the data serves all of them."""

    def __init__(self, estimators: Sequence[TraceEstimator], matrix: Matrix, rule: Rule) -> None:
        """Nothing done yet."""
        self._estimators, self._matrix, self._rule = list(estimators), matrix, rule
        self._done = 0
        # Where a pass was put down: the batch, and which of its blocks is next.
        self._batch = self._place = 0
        self.spent: dict[str, int] = {}

    @property
    def at_most(self) -> bool:
        """A tolerance may be met, or a block be of low rank."""
        return self._rule.rtol is not None or any(e.may_end_early for e in self._estimators)

    @property
    def products(self) -> int:
        """At most."""
        return sum(min(self._rule.probes, e.block.size) for e in self._estimators)

    @blas_on_one_thread
    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Pass after pass, until no estimator wants more."""
        operator = CurvatureOperator(objective, matrix=self._matrix)
        while True:
            live = [(e, v) for e in self._estimators if (v := e.wanted()) is not None]
            if not live:
                return
            names = list(dict.fromkeys(name for e, _ in live for name in e.block.names))
            for batch in objective.batches(names, start=self._batch):
                for place in range(self._place, len(live)):
                    estimator, vectors = live[place]
                    estimator.take(self._batch, operator.of_batch(batch, estimator.block, vectors))
                    self._place = place + 1
                    if self._place == len(live):
                        self._batch, self._place = self._batch + 1, 0
                    on_step(len(vectors))
            for e, v in live:
                e.end_pass()
                self._done += len(v)
                for name in e.names:
                    self.spent[name] = self.spent.get(name, 0) + len(v)
            self._batch = 0

    def results(self) -> dict[str, TraceEstimate]:
        """Per block name."""
        return {name: found for e in self._estimators for name, found in e.results().items()}

    def state(self) -> dict[str, Array]:
        """Every estimator's, by its place, in the middle of a pass too."""
        arrays = {f"{i}:{key}": value for i, e in enumerate(self._estimators) for key, value in e.state().items()}
        arrays |= {f"spent:{name}": np.array(float(n)) for name, n in self.spent.items()}
        return arrays | {"done": np.array([float(self._done), float(self._batch), float(self._place)])}

    def restore(self, state: dict[str, Array]) -> int:
        """Give every estimator its own."""
        for i, e in enumerate(self._estimators):
            prefix = f"{i}:"
            e.restore({key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)})
        self.spent = {key.removeprefix("spent:"): int(v) for key, v in state.items() if key.startswith("spent:")}
        self._done, self._batch, self._place = (int(n) for n in state["done"])
        return self._done
