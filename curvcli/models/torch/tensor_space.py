"""Vectors in tensors on the device where products are made: all that leaves it is a few numbers, or what is written.

Random vectors are the NumPy space's, drawn on the processor: signs are moved as one bit each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.linalg import qr
from torch import Tensor

from curvcli.models import probes
from curvcli.models.arrays import NEW_DIRECTION, ArrayTotals
from curvcli.models.base import Array, Parameter, flat_size
from curvcli.models.bundle import Vectors
from curvcli.models.torch import bus, tensor_sums
from curvcli.models.torch.tensor_vectors import TensorRows, TensorTotals, tensor_of

# Rows all begin at a multiple of so many bytes: the kernels of a product may go by that.
_LINE = 512


@dataclass(frozen=True)
class TensorSpace:
    """Vectors in tensors; see ``VectorSpace``.

    Attributes:
        parameters: of the block, in order.
        device: where they are.
        dtype: of what is stored; sums are float64 there too.
    """

    parameters: tuple[Parameter, ...]
    device: torch.device
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """See ``VectorSpace``."""
        return flat_size(self.parameters)

    @property
    def grain(self) -> float:
        """See ``VectorSpace``."""
        return torch.finfo(self.dtype).eps / 2

    def _tensor(self, vectors: Vectors) -> Tensor:
        return tensor_of(vectors, self.device)

    def _numbers(self, array: Array) -> Tensor:
        """A few numbers that go to the device, float64."""
        return bus.to_device(np.asarray(array, dtype=np.float64), self.device)

    # -- made -----------------------------------------------------------------------------------------------------

    def signs(self, seed: int, name: str, numbers: range) -> TensorRows:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows.tensor, numbers, strict=True):
            row.copy_(self._signs(seed, name, number, self.size))
        return rows

    def signs_by_parameter(self, seed: int, numbers: range) -> TensorRows:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows.tensor, numbers, strict=True):
            for p, place in zip(self.parameters, self._places, strict=True):
                row[place] = self._signs(seed, p.name, number, p.size)
        return rows

    def _signs(self, seed: int, name: str, number: int, size: int) -> Tensor:
        return bus.signs(probes.sign_bits(seed, name, number, size), size, self.device, self.dtype)

    def normals(self, seed: int, name: str, number: int) -> TensorRows:
        """See ``VectorSpace``."""
        return self.from_numpy(probes.normals(seed, name, number, self.size)[None])

    def spheres(self, seed: int, name: str, numbers: range) -> TensorRows:
        """See ``VectorSpace``."""
        rows = self.room(len(numbers))
        for row, number in zip(rows.tensor, numbers, strict=True):
            row.copy_(bus.to_device(probes.sphere(seed, name, number, self.size), self.device, self.dtype))
        return rows

    def units(self, start: int, stop: int) -> TensorRows:
        """See ``VectorSpace``."""
        rows = self.room(stop - start)
        rows.tensor.zero_()
        rows.tensor[:, start:stop].fill_diagonal_(1.0)
        return rows

    def room(self, count: int) -> TensorRows:
        """See ``VectorSpace``."""
        entries = _LINE // self.dtype.itemsize
        stride = -(-self.size // entries) * entries
        return TensorRows(torch.empty(count, stride, dtype=self.dtype, device=self.device)[:, : self.size])

    def joined(self, bundles: Sequence[Vectors]) -> Vectors:
        """See ``VectorSpace``."""
        if len(bundles) == 1:
            return bundles[0]
        room, place = self.room(sum(map(len, bundles))), 0
        for bundle in bundles:
            self.store(room, place, bundle)
            place += len(bundle)
        return room

    def settled(self, sums: Any, by: float = 1.0, into: Vectors | None = None) -> TensorRows:
        """See ``VectorSpace``."""
        if not isinstance(sums, TensorTotals):
            stored = sums.stored() if isinstance(sums, ArrayTotals) else sums
            count, size = stored.shape
            sums = TensorTotals(count, size, self.device)
            sums.restore(stored)
        room = self.room(len(sums)) if into is None else TensorRows(self._tensor(into))
        sums.divided(by, room.tensor)
        return room

    def taken(self, kept: Any) -> Vectors:
        """See ``VectorSpace``."""
        return TensorRows(self._tensor(kept)) if isinstance(kept, Vectors) else self.from_numpy(kept)

    # -- measured -------------------------------------------------------------------------------------------------

    def dots(self, left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        return bus.to_host(tensor_sums.dots(self._tensor(left), self._tensor(right)))

    def norms(self, vectors: Vectors) -> Array:
        """See ``VectorSpace``."""
        return np.sqrt(self.dots(vectors, vectors))

    def dots_of(self, parameters: Sequence[Sequence[str]], left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        a, b = self._tensor(left), self._tensor(right)
        each = [tensor_sums.dots(a[:, place], b[:, place]) for place in self._places]
        by_parameter = bus.to_host(torch.stack(each)) if each else np.zeros((0, len(left)))
        names = [p.name for p in self.parameters]
        chosen = np.array([[name in of_choice for name in names] for of_choice in map(set, parameters)], dtype=float)
        return np.asarray(chosen.reshape(len(parameters), len(names)) @ by_parameter)

    def inner(self, left: Vectors, right: Vectors) -> Array:
        """See ``VectorSpace``."""
        return bus.to_host(tensor_sums.inner(self._tensor(left), self._tensor(right)))

    def coordinates(self, basis: Vectors, vector: Vectors) -> Array:
        """See ``VectorSpace``."""
        return self.inner(basis, vector)[:, 0]

    def is_finite(self, vectors: Vectors) -> bool:
        """See ``VectorSpace``."""
        return bus.holds(torch.isfinite(self._tensor(vectors)).all())

    # -- combined -------------------------------------------------------------------------------------------------

    def sum(self, left: Vectors, factor: float, right: Vectors) -> TensorRows:
        """See ``VectorSpace``."""
        room = self.room(len(left))
        tensor_sums.scaled_sum(self._tensor(left), factor, self._tensor(right), room.tensor)
        return room

    def projected(self, vectors: Vectors, basis: Vectors) -> TensorRows:
        """See ``VectorSpace``."""
        rows, against = TensorRows(self._tensor(vectors).clone()), self._tensor(basis)
        tensor_sums.remove(rows.tensor, against, tensor_sums.inner(rows.tensor, against))
        return rows

    def combined(self, turn: Array, vectors: Vectors) -> TensorRows:
        """See ``VectorSpace``."""
        room = self.room(len(turn))
        tensor_sums.combined(self._numbers(turn), self._tensor(vectors), room.tensor)
        return room

    def extension(self, basis: Vectors, vectors: Vectors, largest: float) -> TensorRows:
        """See ``VectorSpace``; by a QR of what two projections leave, whose small factor tells the rank."""
        remainders = self._orthogonal(basis, vectors)
        if not remainders.numel() or not bus.holds(torch.isfinite(remainders).all()):
            return self.room(0)
        q, r = torch.linalg.qr(tensor_sums.wide(remainders).T)
        # Pivoting, which devices have not, needs the small factor alone.
        small, ranked, _ = qr(bus.to_host(r), mode="economic", pivoting=True, check_finite=False)
        independent = int((np.abs(np.diag(ranked)) > NEW_DIRECTION * largest).sum())
        kept = min(independent, self.size - len(basis))
        fresh = self.room(kept)
        fresh.tensor.copy_((q @ self._numbers(small[:, :kept])).T)
        if not kept or not len(basis):
            return fresh
        # What pivoting left nearly dependent is cleaned once more.
        q, _ = torch.linalg.qr(tensor_sums.wide(self._orthogonal(basis, fresh)).T)
        fresh.tensor.copy_(q.T)
        return fresh

    def _orthogonal(self, basis: Vectors, vectors: Vectors) -> Tensor:
        """Project out the basis, twice: once is not enough in floating point (Kahan's rule)."""
        if not len(basis):
            return self._tensor(vectors)
        return self.projected(self.projected(vectors, basis), basis).tensor

    def decayed(self, vectors: Vectors) -> Vectors:
        """See ``VectorSpace``."""
        if all(p.trained for p in self.parameters):
            return vectors
        rows = self._tensor(vectors).clone()
        for p, place in zip(self.parameters, self._places, strict=True):
            if not p.trained:
                rows[:, place] = 0.0
        return TensorRows(rows)

    # -- in place -------------------------------------------------------------------------------------------------

    def remove(self, vector: Vectors, basis: Vectors, coordinates: Array) -> float:
        """See ``VectorSpace``."""
        squares = tensor_sums.remove(self._tensor(vector), self._tensor(basis), self._numbers(coordinates[None]))
        return float(np.sqrt(bus.number(squares)))

    def add(self, total: Vectors, factor: float, vector: Vectors) -> None:
        """See ``VectorSpace``."""
        self._tensor(total).add_(self._tensor(vector), alpha=factor)

    def store(self, room: Vectors, place: int, vectors: Vectors, length: float = 1.0) -> None:
        """See ``VectorSpace``."""
        tensor_sums.put(self._tensor(vectors), length, self._tensor(room)[place : place + len(vectors)])

    def turn(self, room: Vectors, places: Sequence[int], turn: Array) -> None:
        """See ``VectorSpace``; a few entries at a time, so that no second basis is needed."""
        where = bus.to_device(np.array(places, dtype=np.int64), self.device)
        tensor_sums.turn_rows(self._tensor(room), where, self._numbers(turn))

    # -- to and from NumPy ----------------------------------------------------------------------------------------

    def entries(self, vectors: Vectors, start: int, stop: int) -> Array:
        """See ``VectorSpace``."""
        return bus.to_host(self._tensor(vectors)[:, start:stop])

    def to_numpy(self, vectors: Vectors) -> Array:
        """See ``VectorSpace``."""
        return bus.to_host(self._tensor(vectors))

    def from_numpy(self, entries: Array) -> TensorRows:
        """See ``VectorSpace``."""
        rows = self.room(len(entries))
        rows.tensor.copy_(bus.to_device(entries, self.device, self.dtype))
        return rows

    @cached_property
    def _places(self) -> list[slice]:
        starts = np.cumsum([0, *(p.size for p in self.parameters)])
        return [slice(int(a), int(b)) for a, b in pairwise(starts)]
