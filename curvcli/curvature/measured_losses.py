"""The loss at a list of places in the space of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.losses_at import Decay, loss_at
from curvcli.models.base import Array


@dataclass(frozen=True)
class MeasuredLosses:
    """L where some parameters have other values, place after place (see ``Algorithm``).

    Attributes:
        places: each gives the values of some parameters, in their shapes, when it is looked at.
        decay: of the spec.
    """

    places: Sequence[Callable[[], Mapping[str, Array]]]
    decay: Decay
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One forward pass per place."""
        return len(self.places)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Array]:
        """See ``Algorithm``; the result is (places,), float64, NaN or infinite where the loss is."""
        losses = np.empty(len(self.places))
        for number, place in enumerate(self.places):
            losses[number] = yield from loss_at(about, place(), self.decay)
        return losses
