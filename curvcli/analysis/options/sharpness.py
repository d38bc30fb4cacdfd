"""The options of ``curvcli sharpness``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from curvcli.analysis.options.kinds import File, Names, Number, Whole
from curvcli.analysis.options.record import Options
from curvcli.errors import UsageError
from curvcli.spec.mistakes import listed
from curvcli.text import did_you_mean
from curvcli.wording import option

# The order is that of the report.
MEASURES: Final = (
    "largest_eigenvalue",
    "preconditioned",
    "gradient_curvature",
    "sam",
    "batch_sharpness",
    "noise_scale",
    "relative_flatness",
    "effective_rank",
    "outside_gauss_newton",
    "effective_dimension",
)
# Those that cost much, or need to be told something.
_REQUESTED: Final = ("preconditioned", "effective_dimension")
DEFAULT: Final = tuple(name for name in MEASURES if name not in _REQUESTED)
# What is of mini-batches.
MINIBATCH: Final = 32


@dataclass(frozen=True)
class SharpnessOptions(Options):
    """Of ``curvcli sharpness``.

    Attributes:
        measure: names of `MEASURES`; none for `DEFAULT`.
        rho: how far the ascent step of ``sam`` goes.
        minibatch: samples in a mini-batch; None for 32, or as many as the model takes at a time.
        minibatches: how many are drawn at most.
        probes: random vectors of what is estimated.
        alpha: of ``effective_dimension``, which it requests; None for 1 divided by the sum of the samples' weights.
        steps: of Lanczos's, from each random vector of ``effective_dimension``.
        preconditioner: an ``.npz`` file with P for ``preconditioned``, which it requests; None for the exact diagonal.
        damping: added to the diagonal's magnitudes, as a share of the largest.
    """

    measure: Annotated[tuple[str, ...], Names()] = ()
    rho: Annotated[float, Number(0, above=True)] = 0.05
    minibatch: Annotated[int | None, Whole(1)] = None
    minibatches: Annotated[int, Whole(1)] = 64
    probes: Annotated[int, Whole(2)] = 32
    alpha: Annotated[float | None, Number(0, above=True)] = None
    steps: Annotated[int, Whole(2)] = 100
    preconditioner: Annotated[Path | None, File()] = None
    damping: Annotated[float, Number(0, above=True)] = 1e-3

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: one is not of its kind, or no such measure exists.
        """
        super().__post_init__()
        for name in self.measure:
            if name not in MEASURES:
                advice = did_you_mean(name, MEASURES)
                names = listed(MEASURES, last="and", most=len(MEASURES))
                raise UsageError(
                    f"{option('measure', name)}: no such measure{f'; {advice}' if advice else '.'}\nThere are {names}."
                )

    @property
    def measures(self) -> tuple[str, ...]:
        """All that are requested, in the order of the report."""
        chosen = set(self.measure or DEFAULT)
        chosen |= {"preconditioned"} if self.preconditioner is not None else set()
        chosen |= {"effective_dimension"} if self.alpha is not None else set()
        return tuple(name for name in MEASURES if name in chosen)

    def minibatch_of(self, fixed: int | None) -> int:
        """Samples in a mini-batch of a model that takes a fixed number, or any.

        Raises:
            UsageError: another number was requested.
        """
        if fixed is not None and self.minibatch not in (None, fixed):
            raise UsageError(
                f"{option('minibatch', self.minibatch)}: the model takes exactly {fixed} samples at a time."
            )
        return self.minibatch or fixed or MINIBATCH

    def requested(self, name: str) -> bool:
        """Whether a measure was named, and is not one of the default ones only."""
        return name in self.measure
