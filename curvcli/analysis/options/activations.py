"""The options of ``curvcli activations``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from curvcli.analysis.options.kinds import Number, OneOf, Several, Whole
from curvcli.analysis.options.record import Options
from curvcli.curvature.quantiser import SCHEMES, Scheme
from curvcli.models.pointwise import SIDES, Side

METHODS: Final = ("auto", "exact", "probes")
_BITS: Final = (8, 4)
_LEAST, _MOST = 2, 16
# Random vectors: of a fixed number, and at most where a tolerance is to be met.
_PROBES: Final = 64
_MOST_PROBES: Final = 1000
# An exact diagonal may cost so many times the probes.
_WORTH: Final = 4


@dataclass(frozen=True)
class ActivationsOptions(Options):
    """Of ``curvcli activations``.

    Attributes:
        of: which activation of a layer, one of `SIDES`.
        bits: to which activations are rounded, each by itself; none for 8 and 4.
        scheme: of the quantiser, one of `SCHEMES`.
        method: one of `METHODS`: all columns, random signs, or what is cheaper.
        budget: products or columns per batch that an exact diagonal may cost; None for four times the probes.
        probes: random vectors, at most; None for 64, or 1000 with ``rtol``.
        rtol: standard error of a trace, relative to it, at which its estimate stops.
    """

    of: Annotated[Side, OneOf(SIDES)] = "output"
    bits: Annotated[tuple[int, ...], Several(Whole(_LEAST, _MOST))] = ()
    scheme: Annotated[Scheme, OneOf(SCHEMES)] = "asymmetric"
    method: Annotated[str, OneOf(METHODS)] = "auto"
    budget: Annotated[int | None, Whole(1)] = None
    probes: Annotated[int | None, Whole(2)] = None
    rtol: Annotated[float | None, Number(0, above=True)] = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of bits, descending."""
        return tuple(sorted(self.bits or _BITS, reverse=True))

    @property
    def most(self) -> int:
        """Random vectors, at most."""
        return self.probes or (_PROBES if self.rtol is None else _MOST_PROBES)

    @property
    def affordable(self) -> int:
        """Products or columns per batch that an exact diagonal may cost."""
        return self.budget or _WORTH * (self.probes or _PROBES)
