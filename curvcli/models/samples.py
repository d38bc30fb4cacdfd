"""What an adapter needs of the data: re-iterable batches of NumPy arrays in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from curvcli.models.base import Array


class BatchData(Protocol):
    """One batch."""

    @property
    def start(self) -> int:
        """Place of its first sample among the samples."""
        ...

    @property
    def inputs(self) -> Mapping[str, Array]:
        """By the model's input names; samples first."""
        ...

    @property
    def target(self) -> Array | None:
        """Samples first; None where the loss needs none."""
        ...


class SampleSource(Protocol):
    """The data."""

    @property
    def rows(self) -> Array:
        """Each sample's row in its file, for messages; (samples,)."""
        ...

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def batches(self, batch_size: int | None = None) -> Iterator[BatchData]:
        """All batches, the last one short; the same every time."""
        ...
