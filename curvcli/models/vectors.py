"""What algorithms may do with the vectors of a block of parameters, whatever these are made of.

Vectors live where products are made, in the model's dtype: as arrays in memory that a framework shares, or as tensors
on a device. They are rounded to that dtype when they are stored, as products are when they are made; all sums over
entries and batches are added up in float64. Algorithms turn to NumPy only what is small or written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from curvcli.models.base import Array
from curvcli.models.bundle import Vectors


class VectorSpace(Protocol):
    """The vectors of some parameters, their entries raveled and joined in order; n entries each."""

    @property
    def size(self) -> int:
        """The number n of entries of a vector."""
        ...

    @property
    def grain(self) -> float:
        """What storing may change an entry by, relative to it: half the spacing of the dtype's numbers at one."""
        ...

    # -- made -------------------------------------------------------------------------------------------------------

    def signs(self, seed: int, name: str, numbers: range) -> Vectors:
        """Random signs that depend on seed, name and number alone."""
        ...

    def signs_by_parameter(self, seed: int, numbers: range) -> Vectors:
        """Random signs with a stream for each parameter, by its name: the same whatever stands beside it."""
        ...

    def normals(self, seed: int, name: str, number: int) -> Vectors:
        """One vector of independent standard normal entries."""
        ...

    def spheres(self, seed: int, name: str, numbers: range) -> Vectors:
        """Vectors uniform on the sphere of radius √n."""
        ...

    def units(self, start: int, stop: int) -> Vectors:
        """The unit vectors of these entries."""
        ...

    def room(self, count: int) -> Vectors:
        """Room for so many vectors, whose entries say nothing yet: memory is taken when they are first stored."""
        ...

    def joined(self, bundles: Sequence[Vectors]) -> Vectors:
        """The vectors of several bundles in one; a single bundle is returned as it is."""
        ...

    def settled(self, sums: Any, by: float = 1.0, into: Vectors | None = None) -> Vectors:
        """Sums over batches, divided, as an engine sent or a checkpoint kept them: new vectors, or ``into`` some."""
        ...

    def taken(self, kept: Any) -> Vectors:
        """Vectors that an algorithm kept, as they are or as a checkpoint gives them back."""
        ...

    # -- measured ---------------------------------------------------------------------------------------------------

    def dots(self, left: Vectors, right: Vectors) -> Array:
        """Inner products of two bundles, vector by vector: (k,)."""
        ...

    def norms(self, vectors: Vectors) -> Array:
        """Lengths, (k,)."""
        ...

    def dots_of(self, parameters: Sequence[Sequence[str]], left: Vectors, right: Vectors) -> Array:
        """``dots`` of the entries of some parameters alone, for several choices of them: (choices, k)."""
        ...

    def inner(self, left: Vectors, right: Vectors) -> Array:
        """All inner products, (j, k)."""
        ...

    def coordinates(self, basis: Vectors, vector: Vectors) -> Array:
        """Inner products with one vector, (k,), off by less than the grain times both lengths; cheap."""
        ...

    def is_finite(self, vectors: Vectors) -> bool:
        """Whether every entry is a number."""
        ...

    # -- combined ---------------------------------------------------------------------------------------------------

    def sum(self, left: Vectors, factor: float, right: Vectors) -> Vectors:
        """The bundle left + factor · right, vector by vector."""
        ...

    def projected(self, vectors: Vectors, basis: Vectors) -> Vectors:
        """Vectors without what an orthonormal bundle spans."""
        ...

    def combined(self, turn: Array, vectors: Vectors) -> Vectors:
        """Linear combinations, for ``turn`` (j, k)."""
        ...

    def extension(self, basis: Vectors, vectors: Vectors, largest: float) -> Vectors:
        """Orthonormal vectors that extend ``basis`` to the span of ``vectors``; fewer where these are dependent.

        Args:
            basis: orthonormal.
            vectors: k of them.
            largest: length of the longest vector so far, which tells zero from small.
        """
        ...

    def decayed(self, vectors: Vectors) -> Vectors:
        """The same with zeros for the entries that weight decay is not applied to."""
        ...

    # -- in place ---------------------------------------------------------------------------------------------------

    def remove(self, vector: Vectors, basis: Vectors, coordinates: Array) -> float:
        """Take the combination of a bundle with these coordinates, (k,), out of one vector; the length left."""
        ...

    def add(self, total: Vectors, factor: float, vector: Vectors) -> None:
        """Total += factor · vector, both bundles of one; each entry is rounded."""
        ...

    def store(self, room: Vectors, place: int, vectors: Vectors, length: float = 1.0) -> None:
        """Put ``vectors / length`` into a bundle, from this place on."""
        ...

    def turn(self, room: Vectors, places: Sequence[int], turn: Array) -> None:
        """Replace the first j of the k vectors at these places by combinations of all, for ``turn`` (j, k)."""
        ...

    # -- to and from NumPy --------------------------------------------------------------------------------------------

    def entries(self, vectors: Vectors, start: int, stop: int) -> Array:
        """Some entries of every vector, (k, stop − start), float64."""
        ...

    def to_numpy(self, vectors: Vectors) -> Array:
        """All entries, (k, n), float64."""
        ...

    def from_numpy(self, entries: Array) -> Vectors:
        """A bundle with these entries, (k, n)."""
        ...
