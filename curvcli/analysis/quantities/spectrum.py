"""What eigenvalues, density and the full block share: which way a block's spectrum is got at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from curvcli.analysis.quantities.base import BlockPiece, RunPlan
from curvcli.analysis.quantities.diagonal import loss_rank
from curvcli.analysis.targets import Target, parameters_of
from curvcli.curvature import gram
from curvcli.curvature.dense import DenseWork
from curvcli.curvature.gram import GramWork
from curvcli.curvature.operator import Matrix
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.wording import option, shell_option

Way = Literal["dense", "gram", "iterative"]

# Blocks of up to so many entries are made whole: nothing can be missed, and a spectrum costs little.
DENSE_UP_TO = 512
# The largest Gram matrix whose eigenvalues are taken: a few seconds.
_GRAM_UP_TO = 3000


@dataclass(frozen=True)
class Chosen:
    """How, and why."""

    way: Way
    reason: str


class Ways:
    """Chooses between the whole block, the Gram matrix, and products."""

    def __init__(self, run: RunPlan, matrix: Matrix) -> None:
        """Read the sites of all targets."""
        self._run, self.matrix = run, matrix
        parameters = parameters_of(run.targets)
        self._sites = run.objective.sites([p.name for p in parameters])
        self._rank = loss_rank(run.objective, parameters)
        self._rows = self._rank * len(run.session.samples)

    def choose(self, target: Target, method: str) -> Chosen:
        """For ``method`` ``auto`` the cheapest that is sure; a requested one as it is.

        Raises:
            UsageError: the block is not exactly Gauss–Newton, and ``gram`` was requested.
        """
        size = target.block.size
        obstacle = gram.obstacle(self._run.objective, target.block, self.matrix) if method in ("auto", "gram") else ""
        if not obstacle and self._run.decay and 0 < target.block.trained_size < size:
            obstacle = "weight decay applies to some of its parameters and not to others"
        if method == "gram" and obstacle:
            raise UsageError(
                f"{option('method', 'gram')} needs a block that is exactly Gauss-Newton; {target.name}: {obstacle}."
            )
        requested = f"requested with {shell_option('method')}"
        if method == "dense":
            return Chosen("dense", requested)
        if method == "gram":
            return Chosen("gram", requested)
        if method != "auto":
            return Chosen("iterative", requested)
        if size <= DENSE_UP_TO:
            return Chosen("dense", f"{size} entries: the whole block, by one product each")
        if (
            not obstacle
            and self._rows < size
            and self._rows <= _GRAM_UP_TO
            and self._rows * size * 16 <= self._run.memory
        ):
            return Chosen("gram", f"exactly Gauss–Newton, of {self._rows} rows ({self._rank} per sample)")
        return Chosen("iterative", f"{size} entries, by products alone")

    def piece(self, way: Way, target: Target) -> BlockPiece:
        """The work that makes the whole block, or its columns; what needs it shares it."""
        if way == "dense":
            return dense_piece(self._run, target, self.matrix)
        reached = [n for n in target.block.names if self._sites[n].reached]
        return self._run.block(
            f"gram:{self.matrix}:{target.name}",
            f"{target.name}: columns of its Gauss-Newton block",
            (target.name,),
            lambda: GramWork(target.block, reached, self._rank, self._run.batches),
        )


def dense_piece(run: RunPlan, target: Target, matrix: Matrix) -> BlockPiece:
    """The work that makes a target's whole block."""
    return run.block(
        f"dense:{matrix}:{target.name}",
        f"{target.name}: full Hessian",
        (target.name,),
        lambda: DenseWork(target.block, matrix, run.decay),
    )


def with_zeros(values: Array, size: int, decay: float) -> Array:
    """All n eigenvalues, descending, from the nonzero ones of the data's part of a positive semidefinite block."""
    return np.sort(np.concatenate([values, np.zeros(max(size - len(values), 0))]) + decay)[::-1]
