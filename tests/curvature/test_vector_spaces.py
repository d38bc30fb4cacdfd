"""Vectors are opaque to algorithms: a second kind, lists of one array per parameter, gives the same figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from curvcli.models import probes
from curvcli.models.base import Array, Parameter
from curvcli.models.vectors import NumPySpace

from .conftest import QuadraticBatch, found, with_spectrum
from .test_stopped_anywhere import ALGORITHMS, PARAMETERS, SHARES, VALUES, Rows, arrays_of


class Lists:
    """One vector or a bundle of them: an array per parameter, (size,) or (k, size). It is no array."""

    __array__ = None

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = list(parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, place: Any) -> Lists:
        return Lists([part[place] for part in self.parts])

    def __setitem__(self, place: Any, other: Lists) -> None:
        for mine, part in zip(self.parts, other.parts, strict=True):
            mine[place] = part

    def __iter__(self) -> Iterator[Lists]:
        return (self[i] for i in range(len(self)))

    def __add__(self, other: Lists) -> Lists:
        return Lists([a + b for a, b in zip(self.parts, other.parts, strict=True)])

    def __iadd__(self, other: Lists) -> Lists:
        for mine, part in zip(self.parts, other.parts, strict=True):
            np.add(mine, part, out=mine)
        return self

    def copy(self) -> Lists:
        return Lists([part.copy() for part in self.parts])

    def zeros(self, count: int) -> Lists:
        return Lists([np.zeros((count, part.shape[-1])) for part in self.parts])


class ListSpace:
    """See ``VectorSpace``: every operation parameter by parameter."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self._flat = NumPySpace(self.parameters)
        self.size = self._flat.size

    def _split(self, entries: Array) -> Lists:
        return Lists(np.split(entries, np.cumsum([p.size for p in self.parameters])[:-1], axis=-1))

    def signs(self, seed: int, name: str, numbers: range) -> Lists:
        return self._split(self._flat.signs(seed, name, numbers))

    def signs_by_parameter(self, seed: int, numbers: range) -> Lists:
        each = ([probes.signs(seed, p.name, i, (p.size,)) for i in numbers] for p in self.parameters)
        return Lists([np.stack(one) for one in each])

    def normals(self, seed: int, name: str, number: int) -> Lists:
        return self._split(self._flat.normals(seed, name, number))

    def spheres(self, seed: int, name: str, numbers: range) -> Lists:
        return self._split(self._flat.spheres(seed, name, numbers))

    def units(self, start: int, stop: int) -> Lists:
        return self._split(self._flat.units(start, stop))

    def zeros(self, count: int) -> Lists:
        return Lists([np.zeros((count, p.size)) for p in self.parameters])

    room = zeros

    def bundle(self, vectors: Sequence[Lists]) -> Lists:
        return Lists([np.stack(parts) for parts in zip(*(v.parts for v in vectors), strict=True)])

    def joined(self, bundles: Sequence[Lists]) -> Lists:
        return Lists([np.concatenate(parts) for parts in zip(*(b.parts for b in bundles), strict=True)])

    def dot(self, left: Lists, right: Lists) -> float:
        return float(sum(a @ b for a, b in zip(left.parts, right.parts, strict=True)))

    def norm(self, vector: Lists) -> float:
        return float(np.sqrt(self.dot(vector, vector)))

    def dots(self, left: Lists, right: Lists) -> Array:
        return np.asarray(sum((a * b).sum(1) for a, b in zip(left.parts, right.parts, strict=True)))

    def norms(self, vectors: Lists) -> Array:
        return np.sqrt(self.dots(vectors, vectors))

    def dots_of(self, parameters: Sequence[str], left: Lists, right: Lists) -> Array:
        pairs = zip(self.parameters, left.parts, right.parts, strict=True)
        return np.asarray(sum((a * b).sum(1) for p, a, b in pairs if p.name in parameters))

    def inner(self, left: Lists, right: Lists) -> Array:
        return np.asarray(sum(a @ b.T for a, b in zip(left.parts, right.parts, strict=True)))

    def coordinates(self, basis: Lists, vector: Lists) -> Array:
        return np.asarray(sum(a @ b for a, b in zip(basis.parts, vector.parts, strict=True)))

    def is_finite(self, vectors: Lists) -> bool:
        return all(bool(np.isfinite(part).all()) for part in vectors.parts)

    def sum(self, left: Lists, factor: float, right: Lists) -> Lists:
        return Lists([a + factor * b for a, b in zip(left.parts, right.parts, strict=True)])

    def divided(self, vectors: Lists, by: float) -> Lists:
        return Lists([part / by for part in vectors.parts])

    def without(self, vector: Lists, basis: Lists, coordinates: Array) -> Lists:
        return Lists([v - coordinates @ b for v, b in zip(vector.parts, basis.parts, strict=True)])

    def projected(self, vectors: Lists, basis: Lists) -> Lists:
        along = self.inner(vectors, basis)
        return Lists([v - along @ b for v, b in zip(vectors.parts, basis.parts, strict=True)])

    def combined(self, turn: Array, vectors: Lists) -> Lists:
        return Lists([turn @ part for part in vectors.parts])

    def extension(self, basis: Lists, vectors: Lists, largest: float) -> Lists:
        return self._split(self._flat.extension(self.to_numpy(basis), self.to_numpy(vectors), largest))

    def store(self, room: Lists, place: int, vector: Lists, length: float = 1.0) -> None:
        room[place] = self.divided(vector, length)

    def turn(self, room: Lists, places: Sequence[int], turn: Array) -> None:
        rows = list(places)
        for part in room.parts:
            part[rows[: len(turn)]] = turn @ part[rows]

    def decayed(self, vectors: Lists) -> Lists:
        return Lists([part * p.trained for p, part in zip(self.parameters, vectors.parts, strict=True)])

    def entries(self, vectors: Lists, start: int, stop: int) -> Array:
        return self.to_numpy(vectors)[:, start:stop]

    def to_numpy(self, vectors: Lists) -> Array:
        return np.concatenate(vectors.parts, axis=-1)

    def from_numpy(self, entries: Array) -> Lists:
        return self._split(np.array(entries, dtype=np.float64))


class ListBatch(QuadraticBatch):
    """Takes and returns vectors of that kind."""

    def hessian_products(self, block: Sequence[str], vectors: Any) -> Any:
        products = super().hessian_products(block, np.concatenate(vectors.parts, axis=1))
        return Lists(np.split(products, np.cumsum([part.shape[1] for part in vectors.parts])[:-1], axis=1))


class ListRows(Rows):
    """An objective whose vectors are lists."""

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[QuadraticBatch]:
        for part in self._parts[start:]:
            yield ListBatch(part, self._parameters)

    def space(self, parameters: Sequence[Parameter]) -> Any:
        return ListSpace(parameters)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_vectors_of_another_kind_give_the_same_figures(name: str) -> None:
    """Traces, diagonals, eigenpairs and densities, to the rounding of sums that are added up in another order."""
    matrix = with_spectrum(VALUES)
    plain = arrays_of(found(ALGORITHMS[name](), Rows(matrix, PARAMETERS, SHARES)))
    lists = arrays_of(found(ALGORITHMS[name](), ListRows(matrix, PARAMETERS, SHARES)))
    for one, other in zip(plain, lists, strict=True):
        # Eigenvectors are the same up to their signs.
        np.testing.assert_allclose(np.abs(other), np.abs(one), rtol=1e-6, atol=1e-7)
