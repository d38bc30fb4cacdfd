"""What the sum of a loss over the data is as a likelihood, by one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.tasks import Data, ParameterTask, Part, Sums
from curvcli.errors import UsageError
from curvcli.losses.interface import Loss
from curvcli.losses.likelihoods import LIKELIHOODS, Likelihood, left_out, obstacle, odd_targets
from curvcli.models.base import Array, DifferentiatedBatch


def likelihood_of(loss: Loss) -> Likelihood:
    """How a loss becomes a likelihood.

    Raises:
        UsageError: it is none.
    """
    if reason := obstacle(loss):
        raise UsageError(f"there is no evidence without a likelihood: {reason}.")
    return LIKELIHOODS[loss.name]


@dataclass(frozen=True)
class LikelihoodTask(ParameterTask):
    """Sums of the loss and of what it leaves out, and the scale of every batch."""

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("scales",)

    def batches(self, data: Data, start: int) -> Iterator[DifferentiatedBatch]:
        """See ``BatchTask``; no graph is made."""
        return data.batches((), start=start)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        state = batch.output
        weighted, odd = odd_targets(state.loss, state.targets)
        with np.errstate(all="ignore"):
            numbers = [state.value, state.targets.total, left_out(state.loss, state.targets), weighted, odd]
        return {"numbers": np.array(numbers, float), "scales": np.array([state.targets.scale])}


@dataclass(frozen=True)
class Observed:
    """The data as a likelihood sees them.

    Attributes:
        loss: Σ_n weight_n ℓ_n, not divided.
        outputs: by what that is multiplied to be a sum over observations; NaN where batches differ in it.
        count: observations, weights counted.
        left_out: what is to be added besides.
        weighted: elements with another weight than 1, those without any aside.
        odd: elements whose target is no outcome of the distribution.
    """

    loss: float
    outputs: float
    count: float
    left_out: float
    weighted: int
    odd: int

    @property
    def misfit(self) -> float:
        """The negative log-likelihood; of a squared error, Σ r²."""
        return self.outputs * self.loss + self.left_out

    def about(self, likelihood: Likelihood) -> str:
        """What a reader should know of the likelihood."""
        parts = [likelihood.about]
        if isnan(self.outputs):
            parts.append("samples of different batches have different numbers of outputs: their mean is no likelihood")
        if self.weighted:
            parts.append(
                f"{self.weighted} observations are weighted: weights count observations, and what comes out is no "
                "probability of the data"
            )
        if self.odd:
            parts.append(
                f"{self.odd} numbers are of {likelihood.not_outcomes}: they count as fractions of observations, and "
                "what comes out is no probability of the data"
            )
        return "; ".join(parts)


@dataclass(frozen=True)
class Observations:
    """See the module (see ``Algorithm``)."""

    passes_per_batch = 1
    at_most = False

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Observed]:
        """See ``Algorithm``."""
        sums = yield LikelihoodTask(())
        loss, total, constants, weighted, odd = (float(number) for number in sums["numbers"])
        scales = sums["scales"]
        outputs = 1 / float(scales[0]) if (scales == scales[0]).all() else float("nan")
        return Observed(loss, outputs, outputs * total, constants, int(weighted), int(odd))
