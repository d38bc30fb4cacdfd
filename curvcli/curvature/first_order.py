"""The loss and its gradient, in one pass over the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.errors import NotFiniteError
from curvcli.models.base import Array, DifferentiatedBatch


@dataclass(frozen=True)
class LossAndGradient:
    """The loss and its gradient, divided, without weight decay.

    Attributes:
        value: L(θ).
        gradients: per parameter, in its shape, float64; empty where they were not requested.
    """

    value: float
    gradients: dict[str, Array]

    def with_decay(self, decay: float, trained: Mapping[str, Array], every: float) -> LossAndGradient:
        """The same with (λ/2)‖θ‖² added to the loss, and λθ to its gradient.

        Args:
            decay: λ.
            trained: θ of the parameters that weight decay is applied to, by name, of those with a gradient.
            every: (λ/2)‖θ‖² of all of the model's.
        """
        gradients = {n: g + decay * trained[n] if decay and n in trained else g for n, g in self.gradients.items()}
        return LossAndGradient(self.value + every, gradients)


def finite_loss(batch: DifferentiatedBatch, number: int, count: int) -> float:
    """Σ_n ℓ_n of a batch.

    Args:
        batch: prepared for any parameters.
        number: which.
        count: of how many.

    Raises:
        NotFiniteError: it is NaN or infinite.
    """
    loss = batch.loss()
    if not np.isfinite(loss):
        raise NotFiniteError(
            f"the loss is {loss} on batch {number} of {count}.\n"
            "Check the model's weights and the preprocessing in the dataset spec."
        )
    return loss


@dataclass(frozen=True)
class FirstOrderTask(ParameterTask):
    """Σ_n ℓ_n, and Σ_n ∇ℓ_n where it is requested.

    Attributes:
        gradients: whether it is.
        count: of the batches, for messages.
    """

    gradients: bool
    count: int

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        loss = finite_loss(batch, part.batch, self.count)
        gradients = batch.gradient(self.parameters) if self.gradients else {}
        return {"loss": np.array([loss]), **{f"gradient:{name}": g for name, g in gradients.items()}}


@dataclass(frozen=True)
class FirstOrder:
    """L, and ∇L by some parameters (see ``Algorithm``).

    Attributes:
        parameters: by which the batches are differentiated.
        gradients: whether ∇L is requested.
    """

    parameters: tuple[str, ...]
    gradients: bool = True
    passes_per_batch = 1
    at_most = False

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[LossAndGradient]:
        """See ``Algorithm``."""
        sums = yield FirstOrderTask(self.parameters, self.gradients, len(about.batch_weights))
        names = self.parameters if self.gradients else ()
        gradients = {name: sums[f"gradient:{name}"] / about.denominator for name in names}
        return LossAndGradient(float(sums["loss"][0]) / about.denominator, gradients)
