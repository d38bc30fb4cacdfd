"""All quantities that are computed for layers, by their commands' names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from curvcli.analysis.options.quantities import (
    DensityOptions,
    DiagonalOptions,
    EigenOptions,
    HessianOptions,
    SplitOptions,
    TraceOptions,
)
from curvcli.analysis.options.record import Options
from curvcli.analysis.quantities.base import Quantity, RunPlan
from curvcli.analysis.quantities.block import BlockQuantity
from curvcli.analysis.quantities.density import DensityQuantity
from curvcli.analysis.quantities.diagonal import DiagonalQuantity
from curvcli.analysis.quantities.eigen import EigenQuantity
from curvcli.analysis.quantities.split import SplitQuantity
from curvcli.analysis.quantities.trace import TraceQuantity


@dataclass(frozen=True)
class Entry:
    """A quantity.

    Attributes:
        options: the class of its options.
        plan: plans it for a run by such options.
        verified: whether its results can be checked in the run itself.
    """

    options: type[Options]
    plan: Callable[[RunPlan, Any], Quantity]
    verified: bool = True


# In the order in which a run of several computes them: what is cheap and sure first.
QUANTITIES: Final[dict[str, Entry]] = {
    "diag": Entry(DiagonalOptions, DiagonalQuantity),
    "trace": Entry(TraceOptions, TraceQuantity),
    "eigs": Entry(EigenOptions, EigenQuantity),
    "density": Entry(DensityOptions, DensityQuantity),
    "hessian": Entry(HessianOptions, BlockQuantity),
    "split": Entry(SplitOptions, SplitQuantity, verified=False),
}
