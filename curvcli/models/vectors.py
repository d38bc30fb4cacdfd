"""Vectors of a block of parameters: what algorithms may do with them, whatever they are made of.

A vector lives where its products are made: in NumPy, or in a framework's tensors on their device. Algorithms hold it by
the operations of its ``VectorSpace`` and turn to NumPy only what is small or written. A *bundle* is k vectors that can
be counted (``len``), cut by slices without copying, and added to others; here it is a float64 array, (k, n).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.linalg import qr

from curvcli.models import probes
from curvcli.models.base import Array, Parameter, flat_size

# One vector, and k of them: opaque to algorithms, arrays in the first implementation.
Vector = Array
Vectors = Array

# Numbers held while vectors are turned, beside them.
_HELD = 1 << 22
# What is left of a vector after projection counts as new from this share of the largest vector on. Products in float32
# carry noise of about 1e-7, which passes for a direction of its own; that costs a product and harms nothing.
_NEW = 1e-12


class VectorSpace(Protocol):
    """The vectors of some parameters, their entries raveled and joined in order; n entries each."""

    @property
    def size(self) -> int:
        """The number n of entries of a vector."""
        ...

    # -- made -------------------------------------------------------------------------------------------------------

    def signs(self, seed: int, name: str, numbers: range) -> Vectors:
        """Random signs that depend on seed, name and number alone."""
        ...

    def signs_by_parameter(self, seed: int, numbers: range) -> Vectors:
        """Random signs with a stream for each parameter, by its name: the same whatever stands beside it."""
        ...

    def normals(self, seed: int, name: str, number: int) -> Vector:
        """One vector of independent standard normal entries."""
        ...

    def spheres(self, seed: int, name: str, numbers: range) -> Vectors:
        """Vectors uniform on the sphere of radius √n."""
        ...

    def units(self, start: int, stop: int) -> Vectors:
        """The unit vectors of these entries."""
        ...

    def zeros(self, count: int) -> Vectors:
        """So many zero vectors."""
        ...

    def room(self, count: int) -> Vectors:
        """Room for so many vectors, whose entries say nothing yet: memory is taken when they are first stored."""
        ...

    def bundle(self, vectors: Sequence[Vector]) -> Vectors:
        """Single vectors, copied into one bundle."""
        ...

    def joined(self, bundles: Sequence[Vectors]) -> Vectors:
        """The vectors of several bundles in one."""
        ...

    # -- measured ---------------------------------------------------------------------------------------------------

    def dot(self, left: Vector, right: Vector) -> float:
        """The inner product of two vectors."""
        ...

    def norm(self, vector: Vector) -> float:
        """The length of a vector."""
        ...

    def dots(self, left: Vectors, right: Vectors) -> Array:
        """Inner products of two bundles, vector by vector: (k,)."""
        ...

    def norms(self, vectors: Vectors) -> Array:
        """Lengths, (k,)."""
        ...

    def dots_of(self, parameters: Sequence[str], left: Vectors, right: Vectors) -> Array:
        """``dots`` of the entries of some parameters alone, (k,)."""
        ...

    def inner(self, left: Vectors, right: Vectors) -> Array:
        """All inner products, (j, k)."""
        ...

    def coordinates(self, basis: Vectors, vector: Vector) -> Array:
        """Inner products of every vector of a bundle with one, (k,)."""
        ...

    def is_finite(self, vectors: Vectors) -> bool:
        """Whether every entry is a number."""
        ...

    # -- combined ---------------------------------------------------------------------------------------------------

    def sum(self, left: Vectors, factor: float, right: Vectors) -> Vectors:
        """The bundle left + factor · right, vector by vector, or the same of two single vectors."""
        ...

    def divided(self, vectors: Vectors, by: float) -> Vectors:
        """Every entry divided by a number."""
        ...

    def without(self, vector: Vector, basis: Vectors, coordinates: Array) -> Vector:
        """A vector less the combination of a bundle with these coordinates, (k,)."""
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

    # -- in place ---------------------------------------------------------------------------------------------------

    def store(self, room: Vectors, place: int, vector: Vector, length: float = 1.0) -> None:
        """Put ``vector / length`` into a bundle."""
        ...

    def turn(self, room: Vectors, places: Sequence[int], turn: Array) -> None:
        """Replace the first j of the k vectors at these places by combinations of all, for ``turn`` (j, k)."""
        ...

    def decayed(self, vectors: Vectors) -> Vectors:
        """The same with zeros for the entries that weight decay is not applied to."""
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


@dataclass(frozen=True)
class NumPySpace:
    """Vectors in float64 arrays, (k, n); see ``VectorSpace``."""

    parameters: tuple[Parameter, ...]

    @property
    def size(self) -> int:
        """See ``VectorSpace``."""
        return flat_size(self.parameters)

    def signs(self, seed: int, name: str, numbers: range) -> Vectors:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows, numbers, strict=True):
            row[:] = probes.signs(seed, name, number, (self.size,))
        return rows

    def signs_by_parameter(self, seed: int, numbers: range) -> Vectors:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows, numbers, strict=True):
            for p, place in zip(self.parameters, self._places(), strict=True):
                row[place] = probes.signs(seed, p.name, number, (p.size,))
        return rows

    def normals(self, seed: int, name: str, number: int) -> Vector:
        """See ``VectorSpace``."""
        return probes.normals(seed, name, number, self.size)

    def spheres(self, seed: int, name: str, numbers: range) -> Vectors:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows, numbers, strict=True):
            row[:] = probes.sphere(seed, name, number, self.size)
        return rows

    def units(self, start: int, stop: int) -> Vectors:
        """See ``VectorSpace``."""
        rows = self.zeros(stop - start)
        rows[np.arange(stop - start), np.arange(start, stop)] = 1.0
        return rows

    def zeros(self, count: int) -> Vectors:
        """See ``VectorSpace``."""
        return np.zeros((count, self.size))

    def room(self, count: int) -> Vectors:
        """See ``VectorSpace``."""
        return np.empty((count, self.size))

    def bundle(self, vectors: Sequence[Vector]) -> Vectors:
        """See ``VectorSpace``."""
        return np.stack(vectors) if len(vectors) else self.zeros(0)

    def joined(self, bundles: Sequence[Vectors]) -> Vectors:
        """See ``VectorSpace``."""
        return np.concatenate(list(bundles)) if len(bundles) else self.zeros(0)

    def dot(self, left: Vector, right: Vector) -> float:
        """See ``VectorSpace``."""
        return float(left @ right)

    def norm(self, vector: Vector) -> float:
        """See ``VectorSpace``."""
        return float(np.linalg.norm(vector))

    def dots(self, left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        products: Array = np.einsum("kn,kn->k", left, right)
        return products

    def norms(self, vectors: Vectors) -> Array:
        """See ``VectorSpace``."""
        return np.asarray(np.linalg.norm(vectors, axis=1))

    def dots_of(self, parameters: Sequence[str], left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        wanted = set(parameters)
        products = np.zeros(len(left))
        for p, place in zip(self.parameters, self._places(), strict=True):
            if p.name in wanted:
                products += self.dots(left[:, place], right[:, place])
        return products

    def inner(self, left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        return np.asarray(left @ right.T)

    def coordinates(self, basis: Vectors, vector: Vector) -> Array:
        """See ``VectorSpace``."""
        return np.asarray(basis @ vector)

    def is_finite(self, vectors: Vectors) -> bool:
        """See ``VectorSpace``."""
        return bool(np.isfinite(vectors).all())

    def sum(self, left: Vectors, factor: float, right: Vectors) -> Vectors:
        """See ``VectorSpace``."""
        return np.asarray(left + factor * right)

    def divided(self, vectors: Vectors, by: float) -> Vectors:
        """See ``VectorSpace``."""
        return np.asarray(vectors / by)

    def without(self, vector: Vector, basis: Vectors, coordinates: Array) -> Vector:
        """See ``VectorSpace``."""
        return np.asarray(vector - basis.T @ coordinates)

    def projected(self, vectors: Vectors, basis: Vectors) -> Vectors:
        """See ``VectorSpace``."""
        return np.asarray(vectors - (vectors @ basis.T) @ basis)

    def combined(self, turn: Array, vectors: Vectors) -> Vectors:
        """See ``VectorSpace``."""
        return np.asarray(turn @ vectors)

    def extension(self, basis: Vectors, vectors: Vectors, largest: float) -> Vectors:
        """See ``VectorSpace``; by a rank-revealing QR of what two projections leave."""
        remainders = self._orthogonal(basis, vectors)
        if not remainders.size or not np.isfinite(remainders).all():
            return self.zeros(0)
        q, r, _ = qr(remainders.T, mode="economic", pivoting=True)
        kept = int((np.abs(np.diag(r)) > _NEW * largest).sum())
        # What pivoting left nearly dependent is cleaned once more.
        fresh = self._orthogonal(basis, np.ascontiguousarray(q[:, :kept].T))
        if not kept:
            return fresh
        q, _ = qr(fresh.T, mode="economic")
        return np.ascontiguousarray(q.T)

    def _orthogonal(self, basis: Vectors, vectors: Vectors) -> Vectors:
        """Project out the basis, twice: once is not enough in floating point (Kahan's rule)."""
        return self.projected(self.projected(vectors, basis), basis)

    def store(self, room: Vectors, place: int, vector: Vector, length: float = 1.0) -> None:
        """See ``VectorSpace``."""
        if length == 1.0:
            room[place] = vector
        else:
            np.divide(vector, length, out=room[place])

    def turn(self, room: Vectors, places: Sequence[int], turn: Array) -> None:
        """See ``VectorSpace``; a few columns at a time, so that no second basis is needed."""
        step = max(1, _HELD // max(1, len(places)))
        # Neighbours are read where they stand, all others are copied.
        neighbours = list(places) == list(range(places[0], places[0] + len(places))) if len(places) else False
        here = slice(places[0], places[0] + len(places)) if neighbours else list(places)
        for start in range(0, self.size, step):
            part = slice(start, start + step)
            turned = turn @ room[here, part]
            for row, values in zip(places, turned, strict=False):
                room[row, part] = values

    def decayed(self, vectors: Vectors) -> Vectors:
        """See ``VectorSpace``."""
        if all(p.trained for p in self.parameters):
            return vectors
        decayed: Array = vectors * np.concatenate([np.full(p.size, float(p.trained)) for p in self.parameters])
        return decayed

    def entries(self, vectors: Vectors, start: int, stop: int) -> Array:
        """See ``VectorSpace``."""
        return vectors[:, start:stop]

    def to_numpy(self, vectors: Vectors) -> Array:
        """See ``VectorSpace``."""
        return vectors

    def from_numpy(self, entries: Array) -> Vectors:
        """See ``VectorSpace``."""
        return np.asarray(entries, dtype=np.float64)

    def _places(self) -> list[slice]:
        starts = np.cumsum([0, *(p.size for p in self.parameters)])
        return [slice(int(a), int(b)) for a, b in pairwise(starts)]
