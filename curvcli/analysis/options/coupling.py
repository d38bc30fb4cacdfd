"""The options of ``curvcli coupling``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from curvcli.analysis.options.kinds import Number, OneOf, Whole
from curvcli.analysis.options.record import Options
from curvcli.curvature.matrices.registry import MATRICES

METHODS: Final = ("auto", "exact", "probes")
# Probes of each layer: of a fixed number, and at most where a tolerance is to be met.
_PROBES: Final = 64
_MOST: Final = 1000


@dataclass(frozen=True)
class CouplingOptions(Options):
    """Of ``curvcli coupling``.

    Attributes:
        method: one of `METHODS`: unit vectors of all layers, random ones of all, or what is cheaper for each.
        probes: random vectors of each layer, at most; None for 64, or 1000 with ``rtol``.
        rtol: standard error of every coupling, relative to it, at which the estimates stop.
        matrix: whose blocks.
    """

    method: Annotated[str, OneOf(METHODS)] = "auto"
    probes: Annotated[int | None, Whole(2)] = None
    rtol: Annotated[float | None, Number(0, above=True)] = None
    matrix: Annotated[str, OneOf(MATRICES)] = "hessian"

    @property
    def most(self) -> int:
        """Probes of each layer, at most."""
        return self.probes or (_PROBES if self.rtol is None else _MOST)

    @property
    def few(self) -> int:
        """Entries of a layer whose unit vectors are no more than its probes."""
        return self.probes or _PROBES
