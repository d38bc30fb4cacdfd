"""Vectors are opaque to algorithms: a second kind, lists of one array per parameter, gives the same figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from curvcli.models import arrays, probes
from curvcli.models.arrays import NumPySpace, rows_of
from curvcli.models.base import Array, Parameter
from curvcli.models.bundle import Totals, Vectors

from .conftest import QuadraticBatch, found, with_spectrum
from .test_stopped_anywhere import ALGORITHMS, PARAMETERS, SHARES, VALUES, Rows, arrays_of


class Lists(Vectors):
    """Vectors with an array per parameter, (k, size)."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = list(parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, place: slice) -> Lists:
        return Lists([part[place] for part in self.parts])

    def totals(self, count: int) -> Totals:
        return ListTotals([np.zeros((count, part.shape[1])) for part in self.parts])

    def stored(self) -> Array:
        return np.concatenate(self.parts, axis=1)


class ListTotals(Totals):
    """Their sums."""

    def __init__(self, parts: list[Array]) -> None:
        self.parts = parts

    def add(self, start: int, vectors: Any) -> None:
        for mine, part in zip(self.parts, vectors.parts, strict=True):
            mine[start : start + len(part)] += part

    def restore(self, sums: Array) -> None:
        self.parts = np.split(sums.copy(), np.cumsum([part.shape[1] for part in self.parts])[:-1], axis=1)

    def stored(self) -> Array:
        return np.concatenate(self.parts, axis=1)


class ListSpace:
    """See ``VectorSpace``: every operation parameter by parameter."""

    grain = 2.0**-53

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self._flat = NumPySpace(self.parameters)
        self.size = self._flat.size

    def _split(self, vectors: Vectors) -> Lists:
        entries = self._flat.to_numpy(vectors)
        return Lists(np.split(entries.copy(), np.cumsum([p.size for p in self.parameters])[:-1], axis=1))

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

    def room(self, count: int) -> Lists:
        return Lists([np.zeros((count, p.size)) for p in self.parameters])

    def joined(self, bundles: Sequence[Any]) -> Lists:
        return Lists([np.concatenate(parts) for parts in zip(*(b.parts for b in bundles), strict=True)])

    def settled(self, sums: Any, by: float = 1.0, into: Lists | None = None) -> Lists:
        return Lists([part / by for part in self.taken(sums).parts])

    def taken(self, kept: Any) -> Any:
        return self.from_numpy(kept) if isinstance(kept, np.ndarray) else kept

    def dots(self, left: Any, right: Any) -> Array:
        return np.asarray(sum((a * b).sum(1) for a, b in zip(left.parts, right.parts, strict=True)))

    def norms(self, vectors: Any) -> Array:
        return np.sqrt(self.dots(vectors, vectors))

    def dots_of(self, parameters: Sequence[Sequence[str]], left: Any, right: Any) -> Array:
        dots = [(a * b).sum(1) for a, b in zip(left.parts, right.parts, strict=True)]
        names = [p.name for p in self.parameters]
        return np.stack([sum(dots[names.index(name)] for name in chosen) for chosen in parameters])

    def inner(self, left: Any, right: Any) -> Array:
        return np.asarray(sum(a @ b.T for a, b in zip(left.parts, right.parts, strict=True)))

    def coordinates(self, basis: Any, vector: Any) -> Array:
        return self.inner(basis, vector)[:, 0]

    def is_finite(self, vectors: Any) -> bool:
        return all(bool(np.isfinite(part).all()) for part in vectors.parts)

    def sum(self, left: Any, factor: float, right: Any) -> Lists:
        return Lists([a + factor * b for a, b in zip(left.parts, right.parts, strict=True)])

    def projected(self, vectors: Any, basis: Any) -> Lists:
        along = self.inner(vectors, basis)
        return Lists([v - along @ b for v, b in zip(vectors.parts, basis.parts, strict=True)])

    def combined(self, turn: Array, vectors: Any) -> Lists:
        return Lists([turn @ part for part in vectors.parts])

    def extension(self, basis: Any, vectors: Any, largest: float) -> Lists:
        flat = self._flat
        return self._split(flat.extension(flat.taken(basis.stored()), flat.taken(vectors.stored()), largest))

    def decayed(self, vectors: Any) -> Lists:
        return Lists([part * p.trained for p, part in zip(self.parameters, vectors.parts, strict=True)])

    def remove(self, vector: Any, basis: Any, coordinates: Array) -> float:
        for part, others in zip(vector.parts, basis.parts, strict=True):
            np.subtract(part, coordinates @ others, out=part)
        return float(self.norms(vector)[0])

    def add(self, total: Any, factor: float, vector: Any) -> None:
        for mine, part in zip(total.parts, vector.parts, strict=True):
            np.add(mine, factor * part, out=mine)

    def store(self, room: Any, place: int, vectors: Any, length: float = 1.0) -> None:
        for mine, part in zip(room.parts, vectors.parts, strict=True):
            mine[place : place + len(part)] = part / length

    def turn(self, room: Any, places: Sequence[int], turn: Array) -> None:
        rows = list(places)
        for part in room.parts:
            part[rows[: len(turn)]] = turn @ part[rows]

    def entries(self, vectors: Any, start: int, stop: int) -> Array:
        return self.to_numpy(vectors)[:, start:stop]

    def to_numpy(self, vectors: Any) -> Array:
        return np.asarray(vectors.stored())

    def from_numpy(self, entries: Array) -> Lists:
        return self._split(self._flat.from_numpy(entries))


class ListBatch(QuadraticBatch):
    """Takes and returns vectors of that kind."""

    def hessian_products(self, block: Sequence[str], vectors: Any) -> Any:
        products = rows_of(super().hessian_products(block, arrays.Rows(vectors.stored())))
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


class PartsBatch(QuadraticBatch):
    """Returns each product in parts, as frameworks do with long ones: one for all parameters, or one for each."""

    ends: tuple[int, ...] = ()

    def hessian_products(self, block: Sequence[str], vectors: Any) -> Any:
        products = rows_of(super().hessian_products(block, vectors))
        return arrays.Parts([tuple(np.split(row, self.ends)) for row in products])


class BatchOfEach(PartsBatch):
    """One for each."""

    ends = tuple(np.cumsum([p.size for p in PARAMETERS])[:-1])


class PartsRows(Rows):
    """An objective with such batches."""

    kind: type[PartsBatch] = PartsBatch

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[QuadraticBatch]:
        for part in self._parts[start:]:
            yield self.kind(part, self._parameters)


class RowsOfEach(PartsRows):
    """Likewise."""

    kind = BatchOfEach


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", [PartsRows, RowsOfEach])
def test_vectors_in_parts_give_the_same_figures(kind: type[Rows], name: str) -> None:
    """However a product is cut, and to the rounding of sums."""
    matrix = with_spectrum(VALUES)
    plain = arrays_of(found(ALGORITHMS[name](), Rows(matrix, PARAMETERS, SHARES)))
    parts = arrays_of(found(ALGORITHMS[name](), kind(matrix, PARAMETERS, SHARES)))
    for one, other in zip(plain, parts, strict=True):
        np.testing.assert_allclose(np.abs(other), np.abs(one), rtol=1e-6, atol=1e-7)
