"""How strongly the chosen layers are coupled by a matrix of the whole network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curvcli.analysis.options.coupling import CouplingOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, settled_matrix, shown, target_row
from curvcli.analysis.studies.base import one_block
from curvcli.analysis.targets import Target, parameters_of, targets
from curvcli.curvature.coupling import BlockNorms
from curvcli.curvature.coupling_estimate import Coupling
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.operator import Block
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.files import size_text
from curvcli.models.base import Array
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyArray, StudyRecord, StudyRow
from curvcli.report.studies.coupling import LAYERS, PAIRS, pair_name
from curvcli.report.studies.interface import study_row
from curvcli.report.units import CURVATURE, NONE
from curvcli.wording import option, shell_option

# Layers of so many entries together are multiplied unit vector by unit vector.
_DENSE_UP_TO = 512
# Bytes of a vector, what builds it, its product and their sum, per entry.
_BYTES = 32
# Two computations of one norm that differ by more than this, relative to the largest, are spoilt by rounding.
_ROUNDING = {"float32": 1e-3, "float64": 1e-8}


class CouplingStudy:
    """See ``Study``."""

    name = "coupling"
    gradient = False
    later = 0

    def __init__(self, run: RunPlan, options: CouplingOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: fewer than two layers are chosen, the loss has no such matrix, or memory has no room.
        """
        self.options = options
        self._run, self._matrix = run, settled_matrix(run, options.matrix)
        layers = run.session.model.layers
        chosen = tuple(target for target in run.targets if target.layer is not None)
        self._layers = chosen or targets(layers, list(range(len(layers))), whole_model=False)
        if len(self._layers) < 2:
            raise UsageError(f"{self._layers[0].name} is the only layer chosen: choose two or more.")
        joint = one_block(run)
        whole = Block(joint.name, tuple(parameters_of(self._layers)))
        held = run.memory // (_BYTES * max(whole.size, 1))
        if not held:
            raise UsageError(
                f"a product of all layers takes {size_text(_BYTES * whole.size)}, more than {option('memory_limit')} "
                f"leaves ({size_text(run.memory)}): choose fewer layers, or raise the limit."
            )
        exact = tuple(self._is_exact(target, whole.size) for target in self._layers)
        norms = BlockNorms(
            whole,
            tuple(target.block for target in self._layers),
            exact,
            options.most,
            options.rtol,
            run.seed,
            self._matrix,
            run.decay,
            held,
        )
        names = tuple(target.name for target in self._layers)
        self._work = run.shared(f"coupling:{self._matrix}", f"{shown(names)}: products of the whole", names, norms)
        self.planned: Sequence[Work[Any]] = (self._work,)

    def _is_exact(self, target: Target, together: int) -> bool:
        """Whether a layer's unit vectors are multiplied, and no probes."""
        match self.options.method:
            case "exact":
                return True
            case "probes":
                return False
            case _:
                return together <= _DENSE_UP_TO or target.block.size <= self.options.few

    @property
    def depends(self) -> dict[str, str]:
        """See ``Study``."""
        return {}

    def plan(self) -> list[PlanRow]:
        """One row per layer, of work that all share."""
        batches = self._run.batches
        return [
            target_row(self.name, target, method, reason, self._work, batches)
            for target, (method, reason) in zip(self._layers, map(self._way, self._layers), strict=True)
        ]

    def _way(self, target: Target) -> tuple[str, str]:
        if self._norms.exact[self._layers.index(target)]:
            return "unit_vectors", f"{target.block.size} entries, a product each"
        few = "at most " if self._norms.at_most else ""
        return "probes", f"{few}{self.options.most} random vectors of {target.block.size} entries, a product each"

    @property
    def _norms(self) -> BlockNorms:
        algorithm = self._work.algorithm
        if not isinstance(algorithm, BlockNorms):
            raise TypeError("other work")
        return algorithm

    def works(self, first: LossAndGradient) -> Iterator[Work[Any]]:
        """See ``Study``."""
        yield from self.planned

    # -- recorded -----------------------------------------------------------------------------------------------------

    def record(self) -> StudyRecord:
        """See ``Study``."""
        squares = self._work.result
        coupling, names = Coupling.of(squares), [target.name for target in self._layers]
        exact = np.array(squares.exact)
        status, reason = self._ending(coupling, squares.asymmetry)
        sure = np.logical_and.outer(exact, exact) & (status == "done")
        return StudyRecord(
            name=self.name,
            tables={
                LAYERS.group: tuple(self._layer_row(i, coupling, bool(sure[i].all())) for i in range(len(names))),
                PAIRS.group: tuple(
                    _pair_row(names, i, j, coupling, exact=bool(sure[i, j]))
                    for i in range(len(names))
                    for j in range(i + 1, len(names))
                ),
            },
            arrays=_arrays(coupling),
            status=status,
            exact=bool(sure.all()),
            reason=reason,
            passes=self._work.passes,
        )

    def _ending(self, coupling: Coupling, asymmetry: float) -> tuple[Status, str]:
        rtol, double = self.options.rtol, self._run.session.dtype == "float64"
        if not np.isfinite(coupling.norms).all():
            return "nonfinite", "a product is no number"
        if asymmetry > _ROUNDING[self._run.session.dtype]:
            advice = "" if double else f"; {shell_option('dtype', 'float64')} helps"
            return (
                "imprecise",
                f"norms of a block and of its transpose differ by {asymmetry:.2g} of the largest{advice}",
            )
        finite = np.isfinite(coupling.values)
        if rtol is not None and (coupling.stderr > rtol * coupling.values)[finite].any():
            worst = float((coupling.stderr / np.maximum(coupling.values, np.finfo(float).tiny))[finite].max())
            return "not_converged", (
                f"the largest relative standard error is {worst:.2g} after {self.options.most} probes; a larger "
                f"{shell_option('probes')} helps"
            )
        return "done", ""

    def _layer_row(self, number: int, coupling: Coupling, exact: bool) -> StudyRow:
        target, others = self._layers[number], coupling.values[number].copy()
        others[number] = np.nan
        partner = int(np.nanargmax(others)) if not np.isnan(others).all() else None
        partners = {}
        if partner is not None:
            partners = {
                "partner": self._layers[partner].name,
                "partner_coupling": float(others[partner]),
                "partner_stderr": float(coupling.stderr[number, partner]),
            }
        return study_row(
            LAYERS,
            target.name,
            entries=target.block.size,
            own_norm=float(coupling.norms[number, number]),
            own_norm_stderr=float(coupling.norms_stderr[number, number]),
            outside=float(coupling.outside[number]),
            outside_stderr=float(coupling.outside_stderr[number]),
            exact=exact,
            **partners,
        )


def _pair_row(names: Sequence[str], i: int, j: int, coupling: Coupling, *, exact: bool) -> StudyRow:
    return study_row(
        PAIRS,
        pair_name(names[i], names[j]),
        first=names[i],
        second=names[j],
        coupling=float(coupling.values[i, j]),
        coupling_stderr=float(coupling.stderr[i, j]),
        degrees=float(coupling.degrees[i, j]),
        norm=float(coupling.norms[i, j]),
        norm_stderr=float(coupling.norms_stderr[i, j]),
        exact=exact,
    )


def _arrays(coupling: Coupling) -> tuple[StudyArray, ...]:
    """The matrices of layers by layers, in the order of the rows."""

    def matrix(name: str, values: Array, long_name: str, unit: str) -> StudyArray:
        return StudyArray(
            name=name, values=values.copy(), axes=("layer", "other_layer"), long_name=long_name, unit=unit
        )

    return (
        matrix("coupling", coupling.values, "‖H_ij‖² / (‖H_ii‖ ‖H_jj‖) in Frobenius norms, of layers i and j", NONE),
        matrix("coupling_stderr", coupling.stderr, "its standard error", NONE),
        matrix("norm", coupling.norms, "Frobenius norm of the block between the layers", CURVATURE),
        matrix("norm_stderr", coupling.norms_stderr, "its standard error", CURVATURE),
    )
