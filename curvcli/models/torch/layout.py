"""Moves a z's entries into canonical order and back, in torch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from curvcli.models.layout import ZLayout


@dataclass(frozen=True)
class TorchLayout(ZLayout):
    """A z of one batch.

    Attributes:
        samples: of the batch.
    """

    samples: int

    def canonical(self, z: Tensor) -> Tensor:
        """z-shaped → (samples, channels, positions)."""
        split = z.reshape(self.split(self.samples)).permute(self.order)
        return split.reshape(self.samples, self.channels, self.positions)

    def original(self, canonical: Tensor) -> Tensor:
        """(samples, channels, positions) → z-shaped."""
        sizes = self.split(self.samples)
        return canonical.reshape([sizes[a] for a in self.order]).permute(self.inverse).reshape(self.shape)
