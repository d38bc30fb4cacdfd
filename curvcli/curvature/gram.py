"""All eigenpairs of a Gauss–Newton block from the Gram matrix of its columns (Dangel, Tatzel, Hennig 2022).

With v_nc = J_nᵀ J_oᵀ s_c, one row of V per sample and column of S, the block is VᵀV / D. Its nonzero eigenvalues are
those of V Vᵀ / D, which has as many rows as there are samples times columns, and its eigenvectors are Vᵀ u.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import eigh, qr, svd

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.diagonal.exact import reached_in, refuse_mixed
from curvcli.curvature.matrices.interface import Matrix, OutputMatrix
from curvcli.curvature.operator import Block
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.losses.interface import Loss
from curvcli.models.base import Array, DifferentiatedBatch, Objective

_STEP = 16


def obstacle(objective: Objective, block: Block, matrix: Matrix, loss: Loss) -> str:
    """Why the Gram matrix does not give the block's spectrum; empty if it does.

    Every column must be known, so each parameter needs a z. And the Hessian's block is Gauss–Newton only where the
    output is piecewise linear in all its parameters together; across layers they multiply each other. Columns of sign
    −, which a loss that is not convex in the output has, make no Gram matrix.
    """
    sites = objective.sites(block.names)
    for site in sites.values():
        if site.reached and site.z is None:
            return f"{site.parameter}: {site.why_not}"
    reached = [name for name, site in sites.items() if site.reached]
    blocker = objective.joint_blocker(reached) if reached and not matrix.whole else None
    if blocker:
        return f"{blocker} is not piecewise linear in its parameters"
    return "" if matrix.by_output.semidefinite(loss) else f"the loss {loss.name} is not convex in the model's output"


@dataclass(frozen=True)
class RowsTask(ParameterTask):
    """V of one batch: one row per column of S and sample, (rank · samples, n).

    Attributes:
        block: its parameters in order, the unreached ones included.
        rank: columns per sample.
        matrix: whose they are.
    """

    block: Block
    rank: int
    matrix: OutputMatrix

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("rows",)

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per column."""
        return self.rank

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other.
        """
        starts = np.cumsum([0, *(p.size for p in self.block.parameters)])
        where = {p.name: np.arange(a, b) for p, a, b in zip(self.block.parameters, starts, starts[1:], strict=False)}
        state = batch.output
        rows = np.zeros((self.rank, len(state.values), self.block.size))
        live = reached_in(batch, self.parameters)
        if live:
            refuse_mixed(batch, live, part.batch, "lanczos")
            places = np.concatenate([where[name] for name in live])
            for start in range(0, self.rank, _STEP):
                stop = min(start + _STEP, self.rank)
                columns = self.matrix.columns(state, start, stop).vectors
                rows[start:stop, :, places] = batch.sample_gradients(live, columns)
        return {"rows": rows.reshape(-1, self.block.size)}


@dataclass(frozen=True)
class GramSpectrum:
    """The columns of a block, and the eigenpairs of their Gram matrix.

    Attributes:
        rows: V, (r, n), not divided.
        denominator: D.
    """

    rows: Array
    denominator: float

    @cached_property
    def eigenpairs(self) -> tuple[Array, Array]:
        """Nonzero eigenvalues, descending (r,), and their unit eigenvectors (r, n), without weight decay."""
        values, vectors = eigh(self.rows @ self.rows.T / self.denominator)
        values, vectors = values[::-1], vectors[:, ::-1]
        # Rounding in the Gram matrix is relative to its largest eigenvalue.
        kept = values > (values[0] * len(values) * 1e-15 if len(values) else 0.0)
        eigenvectors = vectors[:, kept].T @ self.rows
        eigenvectors /= np.linalg.norm(eigenvectors, axis=1, keepdims=True)
        return values[kept], eigenvectors

    def singular(self) -> tuple[Array, Array, Array]:
        """All singular values s of V/√D, descending (k,), with Q (n, k) and U (k, k): V/√D = W S Uᵀ Qᵀ.

        The squares of s are the eigenvalues, of which the small ones are not lost in the rounding of the large ones, as
        in a Gram matrix: an error of V by ε‖V‖ moves s by that.
        """
        basis, triangle = qr(self.rows.T / np.sqrt(self.denominator), mode="economic", check_finite=False)
        turn, values, _ = svd(triangle, full_matrices=False, check_finite=False)
        return values, basis, turn

    def eigenvalues(self, weight_decay: float) -> Array:
        """All n of the block, descending, the zeros of its null space included; λ is added to each."""
        values, _ = self.eigenpairs
        null = np.zeros(max(self.rows.shape[1] - len(values), 0))
        return np.sort(np.concatenate([values, null]) + weight_decay)[::-1]


@dataclass(frozen=True)
class GramColumns:
    """V, batch by batch (see ``Algorithm``).

    Attributes:
        block: whose matrix it is.
        reached: the parameters of it that the loss depends on.
        rank: columns per sample.
        matrix: whose they are.
    """

    block: Block
    reached: tuple[str, ...]
    rank: int
    matrix: OutputMatrix
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """Columns; each is one backward pass per batch."""
        return self.rank

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[GramSpectrum]:
        """See ``Algorithm``."""
        rows = np.zeros((0, self.block.size))
        if self.reached:
            rows = (yield RowsTask(self.reached, self.block, self.rank, self.matrix))["rows"]
        return GramSpectrum(rows, about.denominator)
