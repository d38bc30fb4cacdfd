"""All eigenpairs of a Gauss–Newton block from the Gram matrix of its columns (Dangel, Tatzel, Hennig 2022).

With v_nc = J_nᵀ J_oᵀ s_c, one row of V per sample and column of S, the block is VᵀV / D. Its nonzero eigenvalues are
those of V Vᵀ / D, which has as many rows as there are samples times columns, and its eigenvectors are Vᵀ u.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from curvcli.curvature.diagonal.work import reached_in, refuse_mixed
from curvcli.curvature.operator import Block, Matrix
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective

_STEP = 16


def obstacle(objective: Objective, block: Block, matrix: Matrix) -> str:
    """Why the Gram matrix does not give the block's spectrum; empty if it does.

    Every column must be known, so each parameter needs a z. And the Hessian's block is Gauss–Newton only where the
    output is piecewise linear in all its parameters together; across layers they multiply each other.
    """
    sites = objective.sites(block.names)
    for site in sites.values():
        if site.reached and site.z is None:
            return f"{site.parameter}: {site.why_not}"
    reached = [name for name, site in sites.items() if site.reached]
    blocker = objective.joint_blocker(reached) if matrix == "hessian" and reached else None
    return f"{blocker} is not piecewise linear in its parameters" if blocker else ""


class GramWork:
    """V, batch by batch (see ``BlockWork``)."""

    def __init__(self, block: Block, reached: Sequence[str], rank: int, batches: int) -> None:
        """Nothing done yet.

        Args:
            block: whose matrix it is.
            reached: the parameters of it that the loss depends on.
            rank: columns of S per sample.
            batches: of the data.
        """
        self.block, self._reached, self._rank, self._batches = block, tuple(reached), rank, batches
        self._rows: list[Array] = []
        self._pairs: tuple[Array, Array] | None = None
        self._denominator = 1.0

    @property
    def at_most(self) -> bool:
        """All are made."""
        return False

    @property
    def products(self) -> int:
        """Columns; each is one backward pass per batch."""
        return self._rank

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """The columns of every batch.

        Raises:
            ModelError: in some batch, samples influence each other.
        """
        self._denominator = objective.denominator
        starts = np.cumsum([0, *(p.size for p in self.block.parameters)])
        where = {p.name: np.arange(a, b) for p, a, b in zip(self.block.parameters, starts, starts[1:], strict=False)}
        if not self._reached:
            return
        for number, batch in enumerate(objective.batches(self._reached, start=len(self._rows)), start=len(self._rows)):
            state = batch.output
            rows = np.zeros((self._rank, len(state.values), self.block.size))
            live = reached_in(batch, self._reached)
            if live:
                refuse_mixed(batch, live, number, "lanczos")
                columns = np.concatenate([where[name] for name in live])
                for start in range(0, self._rank, _STEP):
                    stop = min(start + _STEP, self._rank)
                    part = batch.sample_gradients(live, state.columns(start, stop).vectors)
                    rows[start:stop, :, columns] = part
            self._rows.append(rows.reshape(-1, self.block.size))
            on_step(self._rank)

    def state(self) -> dict[str, Array]:
        """The batches so far."""
        return {str(i): rows for i, rows in enumerate(self._rows)}

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._rows = [state[str(i)] for i in range(len(state))]
        return 0 if self._batches == 0 else self._rank * len(self._rows) // self._batches

    def eigenpairs(self) -> tuple[Array, Array]:
        """Nonzero eigenvalues, descending (r,), and their unit eigenvectors (r, n), without weight decay."""
        if self._pairs is None:
            self._pairs = self._solve()
        return self._pairs

    def _solve(self) -> tuple[Array, Array]:
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, self.block.size))
        values, vectors = eigh(rows @ rows.T / self._denominator)
        values, vectors = values[::-1], vectors[:, ::-1]
        # Rounding in the Gram matrix is relative to its largest eigenvalue.
        kept = values > (values[0] * len(values) * 1e-15 if len(values) else 0.0)
        found = vectors[:, kept].T @ rows
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return values[kept], found
