"""How the entries of a value on the way to the output belong to samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Golden section: its multiples, without their whole parts, are far apart for numbers that are near.
_GOLDEN = 0.6180339887498949
# How near a derivative must be to its sample's weight times the unweighted one; another sample's weight is far.
SAME = 1e-3


@dataclass(frozen=True)
class Order:
    """Which axis counts the samples.

    Attributes:
        axis: which.
        samples: how many.
        behind: entries of that axis per sample, adjacent.
        before: entries of that axis per sample, as many apart as there are samples.
    """

    axis: int
    samples: int
    behind: int = 1
    before: int = 1

    def split(self, shape: Sequence[int], leading: int = 0) -> tuple[list[int], int]:
        """The shape, behind so many other axes, with the samples on an axis of their own, and which that is."""
        axis = self.axis + leading
        return [*shape[:axis], self.before, self.samples, self.behind, *shape[axis + 1 :]], axis + 1


def candidates(shape: Sequence[int], samples: int) -> Iterator[Order]:
    """Every way in which a value of this shape can belong to samples."""
    for axis, length in enumerate(shape):
        if length and length % samples == 0:
            several = length // samples
            yield Order(axis, samples, behind=several)
            if several > 1 and samples > 1:
                yield Order(axis, samples, before=several)


def weights_of_samples(samples: int) -> list[float]:
    """Numbers in [0.5, 1.5) that tell samples apart."""
    return [0.5 + (i * _GOLDEN) % 1.0 for i in range(samples)]
