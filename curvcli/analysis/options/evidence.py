"""The options of ``curvcli evidence``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from curvcli.analysis.options.kinds import NumberOr, OneOf, Several, Whole
from curvcli.analysis.options.record import Options
from curvcli.errors import UsageError
from curvcli.wording import option

METHODS: Final = ("auto", "dense", "gram", "lanczos")
# Of the matrices, those that a normal approximation of the posterior is made of.
EVIDENCE_MATRICES: Final = ("gauss_newton", "hessian", "fisher")
SEARCH, DECAY = "search", "decay"
# Of which the squares are numbers.
_NOISES: Final = (1e-150, 1e150)


@dataclass(frozen=True)
class EvidenceOptions(Options):
    """Of ``curvcli evidence``.

    Attributes:
        prior: precisions of the prior; or ``search`` for that of the largest evidence, ``decay`` for that of the spec's
            weight decay. None for ``search``.
        noise: standard deviation of the noise that squared errors are of, or ``search``; None for that.
        method: one of `METHODS`: how a block's spectrum is computed.
        matrix: one of `EVIDENCE_MATRICES`: whose.
        probes: random start vectors where the spectrum is estimated.
        steps: Lanczos steps from each.
    """

    prior: Annotated[tuple[float | str, ...], Several(NumberOr(0, (SEARCH, DECAY)))] = ()
    noise: Annotated[float | str | None, NumberOr(0, (SEARCH,))] = None
    method: Annotated[str, OneOf(METHODS)] = "auto"
    matrix: Annotated[str, OneOf(EVIDENCE_MATRICES)] = "gauss_newton"
    probes: Annotated[int, Whole(2)] = 16
    steps: Annotated[int, Whole(2)] = 100

    def __post_init__(self) -> None:
        """Check every value, and that they go together.

        Raises:
            UsageError: they do not.
        """
        super().__post_init__()
        words = [one for one in self.prior if isinstance(one, str)]
        if words and len(self.prior) > 1:
            raise UsageError(f"{option('prior', words[0])} stands alone: leave the other precisions out.")
        if self.sigma is not None and not _NOISES[0] <= self.sigma <= _NOISES[1]:
            raise UsageError(f"{option('noise', self.sigma)}: must be between {_NOISES[0]:g} and {_NOISES[1]:g}.")

    @property
    def precisions(self) -> tuple[float, ...]:
        """Those that were given, ascending; none where there is one to be had otherwise."""
        return tuple(sorted(one for one in self.prior if not isinstance(one, str)))

    @property
    def by_decay(self) -> bool:
        """Whether the prior is that of the weight decay."""
        return DECAY in self.prior

    @property
    def sigma(self) -> float | None:
        """The noise that was given; None where it is searched."""
        return None if self.noise is None or isinstance(self.noise, str) else self.noise
