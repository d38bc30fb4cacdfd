"""Vectors in NumPy arrays of the model's dtype: the space of whatever makes its products in this machine's memory.

What a framework made on the processor is seen as an array where it lies; a long product stays in its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import qr

from curvcli.models import arithmetic, probes
from curvcli.models.base import Array, Parameter, flat_size
from curvcli.models.bundle import Totals, Vectors

# What is left of a vector after projection counts as new from this share of the largest vector on. Products in float32
# carry noise of about 1e-7, which passes for a direction of its own while one is left; it costs a product, no more.
NEW_DIRECTION = 1e-12
# So many vectors take no more memory than their sum in float64.
_TERMS = 2


class Rows(Vectors):
    """Rows of one array, (k, n)."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, place: slice, /) -> Rows:
        return Rows(self.array[place])

    def totals(self, count: int) -> Totals:
        """See ``Vectors``."""
        return ArrayTotals(count, self.array.shape[1])

    def stored(self) -> Array:
        """See ``Vectors``."""
        return self.array


class Parts(Vectors):
    """Vectors in parts, (size,) each, that make one of n entries when joined."""

    def __init__(self, vectors: Sequence[tuple[Array, ...]]) -> None:
        self.vectors = tuple(vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, place: slice, /) -> Parts:
        return Parts(self.vectors[place])

    def totals(self, count: int) -> Totals:
        """See ``Vectors``."""
        return ArrayTotals(count, sum(map(len, self.vectors[0])))

    def stored(self) -> Array:
        """See ``Vectors``."""
        parts = [part for parts in self.vectors for part in parts]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(len(self), -1)


class ArrayTotals(Totals):
    """Float64 arrays, (k, n), made when there are many to add up; the first are held as they came."""

    def __init__(self, count: int, size: int) -> None:
        self._shape = count, size
        self._terms: list[list[tuple[Array, ...]]] = [[] for _ in range(count)]
        self._sums: Array | None = None

    def __len__(self) -> int:
        return self._shape[0]

    def add(self, start: int, vectors: Vectors) -> None:
        """See ``Totals``."""
        if isinstance(vectors, Parts):
            for i, parts in enumerate(vectors.vectors, start):
                self._terms[i].append(parts)
                if self._sums is not None or len(self._terms[i]) > _TERMS:
                    self._fold(range(i, i + 1), self._made())
        else:
            rows, sums = rows_of(vectors), self._made()
            self._fold(range(start, start + len(rows)), sums)  # in the order in which they came
            sums[start : start + len(rows)] += rows

    def _fold(self, places: range, sums: Array) -> None:
        for i in places:
            for parts in self._terms[i]:
                begin = 0
                for part in parts:
                    here = sums[i, begin : begin + len(part)]
                    np.add(here, part, out=here)
                    begin += len(part)
            self._terms[i] = []

    def _made(self) -> Array:
        if self._sums is None:
            self._sums = np.zeros(self._shape)
        return self._sums

    def restore(self, sums: Array) -> None:
        """See ``Totals``."""
        self._sums = sums.copy()

    def stored(self) -> Array:
        """See ``Vectors``."""
        sums = self._made()
        self._fold(range(len(self)), sums)
        return sums

    def divided(self, by: float, out: Array, threads: int) -> None:
        """The sums over a number, rounded into ``out``, (k, n)."""
        for i, terms in enumerate(self._terms):
            begin = 0
            for same in zip(*terms, strict=True) if terms else [(self._made()[i],)]:
                here = out[i, begin : begin + len(same[0])]
                arithmetic.quotient(same, by, here, threads)
                begin += len(here)


def rows_of(vectors: Vectors) -> Array:
    """Vectors as one array, (k, n), in their dtype; several parts are copied."""
    return vectors.array if isinstance(vectors, Rows) else vectors.stored()


@dataclass(frozen=True)
class NumPySpace:
    """Vectors in arrays; see ``VectorSpace``.

    Attributes:
        parameters: of the block, in order.
        dtype: of what is stored.
        threads: that work on a long vector; no bit depends on how many.
    """

    parameters: tuple[Parameter, ...]
    dtype: str = "float64"
    threads: int = 1

    @property
    def size(self) -> int:
        """See ``VectorSpace``."""
        return flat_size(self.parameters)

    @property
    def grain(self) -> float:
        """See ``VectorSpace``."""
        return float(np.finfo(self.dtype).eps) / 2

    def signs(self, seed: int, name: str, numbers: range) -> Rows:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows.array, numbers, strict=True):
            probes.fill_signs(row, seed, name, number)
        return rows

    def signs_by_parameter(self, seed: int, numbers: range) -> Rows:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows.array, numbers, strict=True):
            for p, place in zip(self.parameters, self._places, strict=True):
                probes.fill_signs(row[place], seed, p.name, number)
        return rows

    def normals(self, seed: int, name: str, number: int) -> Rows:
        """See ``VectorSpace``."""
        return self.from_numpy(probes.normals(seed, name, number, self.size)[None])

    def spheres(self, seed: int, name: str, numbers: range) -> Rows:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows.array, numbers, strict=True):
            row[:] = probes.sphere(seed, name, number, self.size)
        return rows

    def units(self, start: int, stop: int) -> Rows:
        """See ``VectorSpace``."""
        rows = self.room(stop - start)
        rows.array[:] = 0.0
        rows.array[np.arange(stop - start), np.arange(start, stop)] = 1.0
        return rows

    def room(self, count: int) -> Rows:
        """See ``VectorSpace``."""
        return Rows(arithmetic.aligned(count, self.size, self.dtype))

    def joined(self, bundles: Sequence[Vectors]) -> Vectors:
        """See ``VectorSpace``."""
        if len(bundles) == 1:
            return bundles[0]
        if bundles and all(isinstance(bundle, Parts) for bundle in bundles):
            return Parts([parts for bundle in bundles if isinstance(bundle, Parts) for parts in bundle.vectors])
        room, place = self.room(sum(map(len, bundles))), 0
        for bundle in bundles:
            self.store(room, place, bundle)
            place += len(bundle)
        return room

    def settled(self, sums: Any, by: float = 1.0, into: Vectors | None = None) -> Rows:
        """See ``VectorSpace``."""
        if not isinstance(sums, ArrayTotals):
            restored = ArrayTotals(*sums.shape)
            restored.restore(sums)
            sums = restored
        room = Rows(rows_of(into)) if into is not None else self.room(len(sums))
        sums.divided(by, room.array, self.threads)
        return room

    def taken(self, kept: Any) -> Vectors:
        """See ``VectorSpace``."""
        return kept if isinstance(kept, Vectors) else self.from_numpy(kept)

    def dots(self, left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        return np.asarray(self._dots(left, right).sum(0))

    def norms(self, vectors: Vectors) -> Array:
        """See ``VectorSpace``."""
        return np.sqrt(self.dots(vectors, vectors))

    def dots_of(self, parameters: Sequence[Sequence[str]], left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        names = [p.name for p in self.parameters]
        chosen = np.array([[name in of_choice for name in names] for of_choice in map(set, parameters)], dtype=float)
        return np.asarray(chosen.reshape(len(parameters), len(names)) @ self._dots(left, right))

    def _dots(self, left: Vectors, right: Vectors) -> Array:
        """Inner products parameter by parameter, (parameters, k)."""
        pairs = zip(self._split(left), self._split(right), strict=True)
        each = [[arithmetic.dot(a, b, self.threads) for a, b in zip(*pair, strict=True)] for pair in pairs]
        return np.array(each).reshape(len(left), len(self.parameters)).T

    def _split(self, vectors: Vectors) -> list[Sequence[Array]]:
        """The parts of every vector; a framework may have made it in one."""
        if isinstance(vectors, Parts) and len(vectors.vectors[0]) == len(self.parameters):
            return list(vectors.vectors)
        return [[row[place] for place in self._places] for row in rows_of(vectors)]

    def inner(self, left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        return arithmetic.inner(rows_of(left), rows_of(right), self.threads)

    def coordinates(self, basis: Vectors, vector: Vectors) -> Array:
        """See ``VectorSpace``."""
        return arithmetic.coordinates(rows_of(basis), rows_of(vector)[0], self.threads)

    def is_finite(self, vectors: Vectors) -> bool:
        """See ``VectorSpace``."""
        return bool(np.isfinite(rows_of(vectors)).all())

    def sum(self, left: Vectors, factor: float, right: Vectors) -> Rows:
        """See ``VectorSpace``."""
        a, b, room = rows_of(left), rows_of(right), self.room(len(left))
        for out, x, y in zip(room.array, a, b, strict=True):
            for chunk in arithmetic.chunks(self.size):
                out[chunk] = arithmetic.wide(x[chunk]) + factor * arithmetic.wide(y[chunk])
        return room

    def projected(self, vectors: Vectors, basis: Vectors) -> Rows:
        """See ``VectorSpace``."""
        rows = Rows(rows_of(vectors).copy())
        along = self.inner(vectors, basis)
        for row, factors in zip(rows.array, along, strict=True):
            arithmetic.remove(row, rows_of(basis), factors, self.threads)
        return rows

    def combined(self, turn: Array, vectors: Vectors) -> Rows:
        """See ``VectorSpace``."""
        room = self.room(len(turn))
        arithmetic.combined(turn, rows_of(vectors), room.array, self.threads)
        return room

    def extension(self, basis: Vectors, vectors: Vectors, largest: float) -> Rows:
        """See ``VectorSpace``; by a rank-revealing QR of what two projections leave."""
        remainders = self._orthogonal(basis, vectors).array
        if not remainders.size or not np.isfinite(remainders).all():
            return self.room(0)
        q, r, _ = qr(arithmetic.wide(remainders).T, mode="economic", pivoting=True, check_finite=False)
        kept = min(int((np.abs(np.diag(r)) > NEW_DIRECTION * largest).sum()), self.size - len(basis))
        fresh = self.from_numpy(q[:, :kept].T)
        if not kept or not len(basis):
            return fresh
        # What pivoting left nearly dependent is cleaned once more.
        q, _ = qr(arithmetic.wide(self._orthogonal(basis, fresh).array).T, mode="economic", check_finite=False)
        return self.from_numpy(q.T)

    def _orthogonal(self, basis: Vectors, vectors: Vectors) -> Rows:
        """Project out the basis, twice: once is not enough in floating point (Kahan's rule)."""
        return self.projected(self.projected(vectors, basis), basis) if len(basis) else Rows(rows_of(vectors))

    def decayed(self, vectors: Vectors) -> Vectors:
        """See ``VectorSpace``."""
        if all(p.trained for p in self.parameters):
            return vectors
        rows = rows_of(vectors).copy()
        for p, place in zip(self.parameters, self._places, strict=True):
            rows[:, place] *= p.trained
        return Rows(rows)

    def remove(self, vector: Vectors, basis: Vectors, coordinates: Array) -> float:
        """See ``VectorSpace``."""
        return arithmetic.remove(rows_of(vector)[0], rows_of(basis), coordinates, self.threads)

    def add(self, total: Vectors, factor: float, vector: Vectors) -> None:
        """See ``VectorSpace``."""
        arithmetic.add(rows_of(total)[0], factor, rows_of(vector)[0], self.threads)

    def store(self, room: Vectors, place: int, vectors: Vectors, length: float = 1.0) -> None:
        """See ``VectorSpace``."""
        here = rows_of(room)[place : place + len(vectors)]
        for row, entries in zip(here, rows_of(vectors), strict=True):
            arithmetic.put(entries, length, row, self.threads)

    def turn(self, room: Vectors, places: Sequence[int], turn: Array) -> None:
        """See ``VectorSpace``; a few entries at a time, so that no second basis is needed."""
        rows = rows_of(room)
        # Neighbours are read where they stand, all others are copied.
        neighbours = len(places) > 0 and list(places) == list(range(places[0], places[0] + len(places)))
        here = slice(places[0], places[0] + len(places)) if neighbours else list(places)
        for chunk in arithmetic.chunks(self.size, max(1, arithmetic.HELD // max(1, len(places)))):
            turned = turn @ arithmetic.wide(rows[here, chunk])
            for place, values in zip(places, turned, strict=False):
                rows[place, chunk] = values

    def entries(self, vectors: Vectors, start: int, stop: int) -> Array:
        """See ``VectorSpace``."""
        return arithmetic.wide(rows_of(vectors)[:, start:stop])

    def to_numpy(self, vectors: Vectors) -> Array:
        """See ``VectorSpace``."""
        return arithmetic.wide(rows_of(vectors))

    def from_numpy(self, entries: Array) -> Rows:
        """See ``VectorSpace``."""
        rows = self.room(len(entries))
        rows.array[:] = entries
        return rows

    @cached_property
    def _places(self) -> list[slice]:
        starts = np.cumsum([0, *(p.size for p in self.parameters)])
        return [slice(int(a), int(b)) for a, b in pairwise(starts)]
