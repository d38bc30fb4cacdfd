"""Measures that share random probes: trace, effective rank, and how much of H lies outside its Gauss–Newton part."""

from __future__ import annotations

from functools import cached_property

from curvcli.analysis.quantities.base import PlanRow
from curvcli.analysis.studies.measures.base import About, Ground, Measure, figure
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.shared_probes import Estimated, Forms, SharedProbes
from curvcli.report.records.studies import StudyRow
from curvcli.report.units import CURVATURE, NONE

_OUTSIDE = "outside_gauss_newton"


class _Probed(Measure):
    """One that is of the forms of probes, or of the whole matrices where these are small."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._gauss_newton = _OUTSIDE in ground.options.measures
        if ground.small:
            matrices = (HESSIAN, GAUSS_NEWTON) if self._gauss_newton else (HESSIAN,)
            self.planned = tuple(ground.whole(matrix) for matrix in matrices)
        else:
            probes = SharedProbes(
                ground.target.block, ground.options.probes, ground.run.seed, ground.run.decay, self._gauss_newton
            )
            key = f"probes:{ground.options.probes}:{self._gauss_newton}:{ground.target.name}"
            title = f"{ground.target.name}: random probes"
            self.planned = (ground.run.shared(key, title, (ground.target.name,), probes),)

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        work, size = self.planned[0], self.ground.target.block.size
        if self.ground.small:
            return [
                self.planned_row("dense", size, f"{size} entries: the whole matrix, by one product each", work=work.key)
            ]
        passes, probes = work.algorithm.passes_per_batch, self.ground.options.probes
        sharing = sum(name in self.ground.options.measures for name in ("effective_rank", _OUTSIDE))
        shared = ", each with both matrices" if self._gauss_newton else ""
        return [self.planned_row("probes", passes, f"{probes} random probes{shared}", work=work.key, shared_by=sharing)]

    @cached_property
    def forms(self) -> Forms:
        """What the probes say."""
        if not self.ground.small:
            made: Forms = self.planned[0].result
            return made
        wholes = [work.result.symmetric() for work in self.planned]
        other = wholes[1] if len(wholes) > 1 else None
        # The Gauss–Newton matrix is made with weight decay too.
        decay = self.ground.decay_by_entry
        if other is not None:
            other = other.copy()
            other.flat[:: len(other) + 1] -= decay
        return Forms.of_whole(wholes[0], other, decay)

    def row(self, name: str, about: About, estimated: Estimated) -> StudyRow:
        """Return a row of the table of measures."""
        exact, probes = self.forms.exact, len(self.forms.form)
        return figure(
            name,
            about,
            estimated.value,
            method="dense" if exact else "probes",
            exact=exact,
            stderr=estimated.stderr,
            count=0 if exact else probes,
            degrees=float("inf") if exact else probes - 1.0,
        )


class EffectiveRank(_Probed):
    """tr H and (tr H)² / ‖H‖_F²."""

    name = "effective_rank"

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        rank = About(
            "(tr H)²/‖H‖_F², how many equal eigenvalues have this trace and norm", "participation ratio", unit=NONE
        )
        return [
            self.row("trace", About("tr H", unit=CURVATURE), self.forms.trace),
            self.row(self.name, rank, self.forms.effective_rank),
        ]


class OutsideGaussNewton(_Probed):
    """‖H − G‖_F² / ‖H‖_F², weight decay left out."""

    name = _OUTSIDE

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        about = About("‖H − G‖_F²/‖H‖_F², G the Gauss–Newton part of H", "Schraudolph 2002", unit=NONE)
        return [self.row(self.name, about, self.forms.share_outside)]
