"""Chooses, per parameter, how its diagonal is estimated where no exact method is affordable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.diagonal.activation_probes import ActivationProbes
from curvcli.curvature.diagonal.estimate import DiagonalEstimate
from curvcli.curvature.diagonal.weight_probes import HutchinsonDiagonal, XDiag
from curvcli.errors import UsageError
from curvcli.models.base import Parameter, Site

Estimator = Literal["activation_probes", "xdiag", "hutchinson"]
ESTIMATORS: tuple[Estimator, ...] = ("activation_probes", "xdiag", "hutchinson")

# Vectors of a parameter's size that XDiag holds per product: test vectors, basis, image, and copies while these grow.
_VECTORS_HELD = 3


class DiagonalEstimator(Algorithm[dict[str, DiagonalEstimate]], Protocol):
    """Estimates the diagonals of some parameters; its result is an estimate for each."""

    @property
    def method(self) -> str:
        """Its name in reports."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it estimates."""
        ...


@dataclass(frozen=True)
class Effort:
    """How far estimates go.

    Attributes:
        probes: products per batch at most.
        rtol: ‖stderr‖ / ‖diagonal‖ at which to stop; None to use all probes.
        seed: of the run.
        rank: columns of ∇²_o ℓ per sample.
        budget: passes per batch that one piece of work may cost; None for any.
        memory: bytes for vectors.
    """

    probes: int
    rtol: float | None
    seed: int
    rank: int
    budget: int | None
    memory: int


def plan_estimates(
    parameters: Sequence[Parameter], sites: Mapping[str, Site], method: Estimator | None, effort: Effort
) -> list[DiagonalEstimator]:
    """One piece of work per z, and per parameter without one.

    Args:
        parameters: all of them reached by the loss.
        sites: how each enters the model.
        method: forced for all of them; None for the best that applies.
        effort: how far to go.

    Raises:
        UsageError: activation probes are asked for where there is no z, or XDiag's vectors do not fit.
    """
    work: list[DiagonalEstimator] = []
    done: set[str] = set()
    for p in parameters:
        if p.name in done:
            continue
        site = sites[p.name]
        if method in (None, "activation_probes") and site.z is not None:
            together = tuple(q for q in parameters if sites[q.name].z == site.z)
            work.append(_probes(together, site, effort))
            done |= {q.name for q in together}
        elif method == "activation_probes":
            raise UsageError(
                f"--method activation_probes can't reach the output of {p.name}: {site.why_not}.\n"
                "Use --method xdiag or hutchinson, or exclude the layer."
            )
        else:
            work.append(_in_weight_space(p, method, effort))
    return work


def _in_weight_space(
    p: Parameter, method: Literal["xdiag", "hutchinson"] | None, effort: Effort
) -> HutchinsonDiagonal | XDiag:
    needed = _VECTORS_HELD * effort.probes * p.size * 8
    fits = needed <= effort.memory
    kind: type[HutchinsonDiagonal | XDiag]
    match method:
        case None:
            kind = XDiag if fits else HutchinsonDiagonal
        case "xdiag":
            if not fits:
                raise UsageError(
                    f"--method xdiag: the vectors of {p.name} take {needed >> 20} MiB, more than --memory-limit leaves "
                    f"({effort.memory >> 20} MiB).\nUse --method hutchinson or fewer --probes, or raise the limit."
                )
            kind = XDiag
        case "hutchinson":
            kind = HutchinsonDiagonal
        case _:
            assert_never(method)
    return kind(p, probes=effort.probes, rtol=effort.rtol, seed=effort.seed)


def _probes(together: tuple[Parameter, ...], site: Site, effort: Effort) -> ActivationProbes:
    # The exact part costs its columns once, the probes are repeated: worth it while it is the smaller share. Where
    # nothing bends after z there is no remainder, and whoever asks for probes is to see probes.
    affordable = effort.rank + 2 <= (effort.budget or effort.probes) and effort.rank <= max(effort.probes, 64)
    return ActivationProbes(
        together,
        probes=effort.probes,
        rtol=effort.rtol,
        seed=effort.seed,
        control_rank=effort.rank if affordable and site.blocker is not None else 0,
    )
