"""Work that checks results in the run that made them: products for reported diagonals, and the rounding of products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curvcli.analysis.quantities.base import BlockPiece, ExactPiece, RunPlan, owners
from curvcli.analysis.session import twins
from curvcli.analysis.targets import parameters_of
from curvcli.curvature.diagonal.verification import Reported, Verification, Verified, agrees
from curvcli.curvature.operator import Matrix
from curvcli.curvature.probes import uniform
from curvcli.curvature.rounding import SPOILT, Rounding
from curvcli.models.base import Array, Parameter
from curvcli.report.records.status import Status


def rounding_piece(run: RunPlan) -> BlockPiece | None:
    """The measured rounding of products, shared by all quantities; None where no checks are wanted."""
    if not run.verify:
        return None
    session = run.session
    return run.check(
        "rounding",
        "rounding of products",
        tuple(t.name for t in run.targets),
        lambda: Rounding(parameters_of(run.targets), twins(session, run.memory), run.seed, session.dtype),
    )


def rounding_of(piece: BlockPiece | None) -> Rounding | None:
    """The work of the piece above."""
    if piece is None:
        return None
    if not isinstance(piece.work, Rounding):
        raise TypeError(f"{piece.key} is other work")
    return piece.work


class DiagonalChecks:
    """Products for the diagonals of some parameters, and what they say."""

    def __init__(self, run: RunPlan, matrix: Matrix = "hessian") -> None:
        """Nothing planned yet; products are the Hessian's, and say nothing of another matrix."""
        self._run, self._matrix = run, matrix
        self._pieces: list[BlockPiece] = []

    def one_after(self, piece: ExactPiece) -> list[BlockPiece]:
        """The check of one diagonal of an exact piece, drawn at random: for sums that cost less than a check of all."""
        if f"verify:{piece.key}" in self._run.pieces:
            return self.after(piece)
        names = piece.work.parameters
        drawn = names[int(uniform(self._run.seed, f"verify:{piece.key}", 0) * len(names))]
        return self._after(f"{piece.key}:{drawn}", piece, {drawn})

    def after(self, piece: ExactPiece) -> list[BlockPiece]:
        """The check of an exact piece's diagonals: products come when those are there."""
        return self._after(piece.key, piece, set(piece.work.parameters))

    def _after(self, key: str, piece: ExactPiece, wanted: set[str]) -> list[BlockPiece]:
        reached = [p for p in parameters_of(self._run.targets) if p.name in wanted]

        def reported(name: str) -> Array | None:
            return None if piece.found is None else piece.found.get(name)

        return self.of(key, reached, (), reported, owners(self._run.targets, piece.work.parameters))

    def of(
        self,
        key: str,
        reached: Sequence[Parameter],
        unreached: Sequence[Parameter],
        reported: Reported,
        targets: tuple[str, ...] = (),
    ) -> list[BlockPiece]:
        """The check of some parameters' diagonals; none where no checks are wanted.

        Args:
            key: of what is checked.
            reached: parameters that have a diagonal.
            unreached: those that the loss is said not to depend on.
            reported: the diagonals, once they are there.
            targets: that wait for the check; those with the parameters unless said.
        """
        run = self._run
        names = [p.name for p in (*reached, *unreached)]
        if not run.verify or not names or self._matrix != "hessian":
            return []
        targets = targets or owners(run.targets, names)
        shown = targets[0] if len(targets) == 1 else f"{targets[0]} … {targets[-1]} ({len(targets)} layers)"
        piece = run.check(
            f"verify:{key}",
            f"{shown}: check by products",
            targets,
            lambda: Verification(reached, unreached, reported, run.seed),
        )
        self._pieces.append(piece)
        return [piece]

    def of_parameter(self, name: str) -> Verified | None:
        """What its product said; None without one."""
        works = (piece.work for piece in self._pieces)
        found = (work.result(name) for work in works if isinstance(work, Verification))
        return next((one for one in found if one is not None), None)

    def agree(self, diagonals: dict[str, Array], rounding: Rounding) -> bool:
        """Whether the diagonals of one layer, without weight decay, are those that products give."""
        largest = {name: finite_largest(values) for name, values in diagonals.items()}
        whole = max(largest.values(), default=0.0)
        for name, values in diagonals.items():
            found = self.of_parameter(name)
            if found is not None and not agrees(
                found.difference(values),
                largest[name],
                whole,
                self._run.session.dtype,
                rounding.noise(tuple(diagonals)),
            ):
                return False
        return True


def precision(rounding: float, scale: float) -> Status:
    """Whether rounding has spoilt a result of this size."""
    return "imprecise" if np.isfinite(scale) and rounding > SPOILT * scale else "done"


def finite_largest(values: Array) -> float:
    """The largest magnitude among the finite entries."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))
