"""Hutchinson's estimator (1990): E[vᵀ A v] = tr A for random signs v."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.probes import signs
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, block_slices, mean_error
from curvcli.models.base import Array

_STEP = 8


class Hutchinson:
    """Random signs over all parameters; one product serves every block, for (Hv)_b · v_b has the mean tr H_bb.

    The entries between blocks add noise to it and no bias, and one product costs less than one per block.
    """

    may_end_early = False

    def __init__(self, block: Block, parts: Sequence[Block], rule: Rule, *, together: int = _STEP) -> None:
        """Estimate the traces of ``parts``, all of whose parameters ``block`` holds.

        Args:
            block: what is multiplied.
            parts: whose traces are wanted.
            rule: how far to go.
            together: probes held at once; changes memory and nothing else.
        """
        self.block, self._parts, self._rule, self._together = block, tuple(parts), rule, together
        self._slices = block_slices(block, parts)
        # Per part, batch and probe: v_b · (H v)_b.
        self._values = np.zeros((len(parts), len(rule.weights), 0))
        self._vectors: Array | None = None
        self._taken: Array | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All parts'."""
        return tuple(part.name for part in self._parts)

    def wanted(self) -> Array | None:
        """The next signs, one stream per parameter so that they do not depend on which others are asked for."""
        done = self._values.shape[2]
        if self._taken is not None:  # a pass that was put down, with as many probes as memory allowed then
            self._vectors = self._draw(done, self._taken.shape[2])
            return self._vectors
        # Looked at after whole steps only: where it stops must not depend on how many probes memory allowed at once.
        whole = done and done % _STEP == 0
        if done >= self._rule.probes or (whole and self._rule.rtol is not None and self._met()):
            return None
        stop = min(done + self._together, done - done % _STEP + _STEP, self._rule.probes)
        self._vectors = self._draw(done, stop - done)
        self._taken = np.zeros((*self._values.shape[:2], stop - done))
        return self._vectors

    def _draw(self, first: int, count: int) -> Array:
        vectors = np.empty((count, self.block.size))
        for row, number in zip(vectors, range(first, first + count), strict=True):
            start = 0
            for p in self.block.parameters:
                row[start : start + p.size] = signs(self._rule.seed, p.name, number, (p.size,))
                start += p.size
        return vectors

    def _met(self) -> bool:
        return all(found.converged for found in self.results().values())

    def take(self, batch: int, products: Array) -> None:
        """Inner products block by block."""
        if self._vectors is None or self._taken is None:
            raise ValueError("nothing was asked for")
        for i, part in enumerate(self._parts):
            for where in self._slices[part.name]:
                self._taken[i, batch] += np.einsum("kn,kn->k", self._vectors[:, where], products[:, where])

    def end_pass(self) -> None:
        """Keep them."""
        if self._taken is not None:
            self._values = np.concatenate([self._values, self._taken], axis=2)
        self._vectors = self._taken = None

    def results(self) -> dict[str, TraceEstimate]:
        """Mean and standard error over probes."""
        found = {}
        for part, values in zip(self._parts, self._values, strict=True):
            samples = values.sum(0)
            mean = values.mean(1) if len(samples) else np.zeros(len(values))
            error = mean_error(samples)
            found[part.name] = self._rule.close(part, "hutchinson", mean, samples, error, independent=True)
        return found

    def state(self) -> dict[str, Array]:
        """The inner products."""
        taken = {} if self._taken is None else {"taken": self._taken}
        return {"values": self._values, **taken}

    def restore(self, state: dict[str, Array]) -> None:
        """Take them up."""
        self._values = state["values"].copy()
        self._taken = state["taken"].copy() if "taken" in state else None
