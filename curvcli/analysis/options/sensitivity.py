"""The options of ``curvcli sensitivity``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from curvcli.analysis.options.kinds import File, Number, OneOf, Several, Text, Whole
from curvcli.analysis.options.record import Options
from curvcli.curvature.quantiser import SCHEMES, Granularity, Scheme
from curvcli.errors import UsageError
from curvcli.wording import option

_GROUP: Final = re.compile(r"group:([1-9][0-9]{0,8})")
# The columns of which an allocation makes the sum over layers least; of several the largest.
ALLOT_BY: Final = {
    "both": ("quadratic_rise", "measured_rise"),
    "quadratic": ("quadratic_rise",),
    "measured": ("measured_rise",),
    "predicted": ("predicted_rise",),
    "curvature": ("rounding_curvature",),
    "hawq_v2": ("hawq_v2",),
}
_BITS: Final = (8, 4, 3)
_SPARSITY: Final = (0.3, 0.5, 0.7, 0.9)
_LEAST, _MOST = 2, 16


@dataclass(frozen=True)
class SensitivityOptions(Options):
    """Of ``curvcli sensitivity``.

    Attributes:
        bits: to which weights are quantised, each by itself; none for 8, 4 and 3.
        scheme: of the quantiser, one of `SCHEMES`.
        granularity: which weights share a scale: ``channel``, ``tensor``, or ``group:N`` of a channel's.
        sparsity: shares of weights that are removed, each by itself; none for 0.3, 0.5, 0.7 and 0.9.
        target_bits: mean bits per weight that all layers together have; None for no allocation.
        allot_by: the figure of which an allocation makes the sum over layers least, one of `ALLOT_BY`.
        bits_output: where the allocation goes, a JSON file; None for the report alone.
        obs: invert the Hessians of layers with so many parameters at most, by a product each.
        damping: added to the diagonals of these Hessians.
        budget: backward passes per batch above which a diagonal is estimated; None for always exact.
        probes: products per estimate, at most.
    """

    bits: Annotated[tuple[int, ...], Several(Whole(_LEAST, _MOST))] = ()
    scheme: Annotated[Scheme, OneOf(SCHEMES)] = "symmetric"
    granularity: Annotated[str, Text()] = "channel"
    sparsity: Annotated[tuple[float, ...], Several(Number(0, 1, above=True))] = ()
    target_bits: Annotated[float | None, Number(_LEAST, _MOST)] = None
    allot_by: Annotated[str, OneOf(tuple(ALLOT_BY))] = "both"
    bits_output: Annotated[Path | None, File()] = None
    obs: Annotated[int, Whole(0)] = 0
    damping: Annotated[float, Number(0)] = 0.0
    budget: Annotated[int | None, Whole(1)] = None
    probes: Annotated[int, Whole(2)] = 64

    def __post_init__(self) -> None:
        """Check every value, and that they go together.

        Raises:
            UsageError: they do not.
        """
        super().__post_init__()
        self.shared_scale  # noqa: B018 - it raises
        if self.bits_output is not None and self.target_bits is None:
            raise UsageError(f"{option('bits_output')} goes with {option('target_bits')}.")
        if self.damping and not self.obs:
            raise UsageError(f"{option('damping')} goes with {option('obs')}: it is added to what is inverted.")
        if self.target_bits is not None and self.target_bits < min(self.widths):
            raise UsageError(
                f"{option('target_bits', self.target_bits)}: the least of {option('bits')} is {min(self.widths)}."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of bits, descending."""
        return tuple(sorted(self.bits or _BITS, reverse=True))

    @property
    def shares(self) -> tuple[float, ...]:
        """The sparsities, ascending."""
        return tuple(sorted(self.sparsity or _SPARSITY))

    @property
    def shared_scale(self) -> Granularity:
        """Which weights share a scale.

        Raises:
            UsageError: no such granularity.
        """
        if self.granularity == "channel":
            return Granularity("channel")
        if self.granularity == "tensor":
            return Granularity("tensor")
        group = _GROUP.fullmatch(self.granularity)
        if group is None:
            raise UsageError(f"{option('granularity', self.granularity)}: must be channel, tensor or group:N.")
        return Granularity("group", int(group[1]))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """See ``Options``."""
        return () if self.bits_output is None else (self.bits_output,)
