"""What eigenvalues, density and the full block share: how a block's spectrum is computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from curvcli.analysis.options.quantities import DensityOptions, EigenOptions, HessianOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, Way, settled_matrix, way_rows
from curvcli.analysis.quantities.checks import rounding_work
from curvcli.analysis.targets import Target, parameters_of
from curvcli.curvature import gram
from curvcli.curvature.dense import UnitProducts, WholeBlock
from curvcli.curvature.gram import GramColumns, GramSpectrum
from curvcli.curvature.matrices.interface import Matrix, first_output
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.wording import option, shell_option

Kind = Literal["dense", "gram", "iterative"]
OwnOptions = TypeVar("OwnOptions", bound=DensityOptions | EigenOptions | HessianOptions)
Result = TypeVar("Result")

# Blocks of up to so many entries are made whole: nothing can be missed, and a spectrum costs little.
DENSE_UP_TO = 512
# The largest Gram matrix whose eigenvalues are taken: a few seconds.
GRAM_UP_TO = 3000


@dataclass(frozen=True)
class Chosen:
    """How a spectrum is computed, and why so."""

    kind: Kind
    reason: str


class Choices:
    """Chooses between the whole block, the Gram matrix, and products.

    Attributes:
        matrix: whose spectrum.
        rank: columns per sample.
        rows: of a Gram matrix, one per column and sample.
    """

    def __init__(self, run: RunPlan, matrix: Matrix, *, bare: bool = False) -> None:
        """Read the sites of all targets; ``bare`` matrices are without weight decay."""
        self._run, self.matrix, self._decay = run, matrix, 0.0 if bare else run.decay
        parameters = parameters_of(run.targets)
        self._sites = run.objective.sites([p.name for p in parameters])
        state = first_output(run.objective, parameters)
        self._loss, self.rank = state.loss, matrix.by_output.rank(state)
        self.rows = self.rank * len(run.session.samples)

    def choose(self, target: Target, method: str) -> Chosen:
        """For ``method`` ``auto`` the cheapest that is sure; a requested one as it is.

        Raises:
            UsageError: the block is not exactly Gauss–Newton, and ``gram`` was requested.
        """
        size = target.block.size
        obstacle = self.obstacle(target) if method in ("auto", "gram") else ""
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
        if not obstacle and self.rows < size and self.rows <= GRAM_UP_TO and self.rows * size * 16 <= self._run.memory:
            return self.gram
        return Chosen("iterative", f"{size} entries, by products alone")

    def obstacle(self, target: Target) -> str:
        """Why a target's spectrum is not that of its Gram matrix; empty if it is."""
        obstacle = gram.obstacle(self._run.objective, target.block, self.matrix, self._loss)
        if not obstacle and self._decay and 0 < target.block.trained_size < target.block.size:
            return "weight decay applies to some of its parameters and not to others"
        return obstacle

    @property
    def gram(self) -> Chosen:
        """The Gram matrix, where nothing is in the way."""
        return Chosen("gram", f"exactly Gauss–Newton, of {self.rows} rows ({self.rank} per sample)")

    def columns(self, target: Target) -> Work[GramSpectrum]:
        """The work that makes the columns of a target's block; what needs them shares it."""
        reached = tuple(n for n in target.block.names if self._sites[n].reached)
        title = f"{target.name}: columns of its {self.matrix.by_output.title}"
        columns = GramColumns(target.block, reached, self.rank, self.matrix.by_output)
        return self._run.shared(f"gram:{self.matrix}:{target.name}", title, (target.name,), columns)


def whole_block(run: RunPlan, target: Target, matrix: Matrix, *, bare: bool = False) -> Work[WholeBlock]:
    """The work that makes a target's whole block, without weight decay if ``bare``; what needs it shares it."""
    products = UnitProducts(target.block, matrix, 0.0 if bare else run.decay)
    key, title = f"{run.apart(bare=bare)}dense:{matrix}:{target.name}", f"{target.name}: full {matrix.title}"
    return run.shared(key, title, (target.name,), products)


class SpectralQuantity(ABC, Generic[OwnOptions, Result]):
    """A quantity that each target has a way to (see ``Quantity``)."""

    name: str

    def __init__(self, run: RunPlan, options: OwnOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: a block's vectors do not fit into memory, or the method does not apply.
        """
        self.options = options
        self._run, self._matrix = run, settled_matrix(run, options.matrix)
        self._rounding = rounding_work(run)
        self._ways = {target.name: self._way(target) for target in run.targets}
        # What checks others comes when all others are done.
        first = [] if self._rounding is None else [self._rounding]
        by_target = [way.work for way in self._ways.values()]
        checks = [one for all_of_target in by_target for one in all_of_target[1:]]
        self.work: Sequence[Work[Any]] = [*first, *(all_of_target[0] for all_of_target in by_target), *checks]

    @cached_property
    def _choices(self) -> Choices:
        return Choices(self._run, self._matrix)

    @abstractmethod
    def _way(self, target: Target) -> Way[Result]:
        """How a target's solution is computed."""

    def solution(self, target: Target) -> Result:
        """What was found of a target, once its work has run."""
        return self._ways[target.name].solution()

    def plan(self) -> list[PlanRow]:
        """One row per target."""
        return way_rows(self.name, self._run, self._ways)
