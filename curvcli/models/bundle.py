"""What passes between algorithms, engines and batches: vectors that nobody but their own space looks into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray


class Vectors(ABC):
    """k vectors of one block of parameters, wherever they are and whatever they are made of.

    They are counted and cut by slices, which copies nothing; all else is asked of their space
    (``vectors.VectorSpace``). One vector is a bundle of one.
    """

    @abstractmethod
    def __len__(self) -> int:
        """K."""

    @abstractmethod
    def __getitem__(self, place: slice, /) -> Vectors:
        """Some of them, which share their memory."""

    @abstractmethod
    def totals(self, count: int) -> Totals:
        """Sums of so many vectors like these, zero so far."""

    @abstractmethod
    def stored(self) -> NDArray[Any]:
        """Their entries as a checkpoint keeps them: (k, n), exactly."""


class Totals(ABC):
    """Sums of vectors over batches, added up in float64; an engine makes them, a space settles them."""

    @abstractmethod
    def add(self, start: int, vectors: Vectors) -> None:
        """Add vectors to the sums from this one on."""

    @abstractmethod
    def restore(self, sums: NDArray[Any]) -> None:
        """Take up what ``stored`` gave."""

    @abstractmethod
    def stored(self) -> NDArray[Any]:
        """The sums as a checkpoint keeps them: (k, n), exactly."""


def storable(value: Any) -> NDArray[Any]:
    """What a checkpoint keeps of an array, of vectors, or of sums of them."""
    array: NDArray[Any] = value.stored() if isinstance(value, Vectors | Totals) else value
    return array
