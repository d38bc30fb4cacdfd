"""Vectors in tensors: every operation and every algorithm gives what it gives in arrays, to rounding.

On the processor, in the place of a device: the space itself is the same one wherever its tensors are.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from curvcli.engine.interface import Flight, OnStep, unheard
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.models import arrays
from curvcli.models.arrays import NumPySpace, rows_of
from curvcli.models.base import Array, Parameter
from curvcli.models.torch import tensor_sums
from curvcli.models.torch.tensor_space import TensorSpace
from curvcli.models.torch.tensor_vectors import TensorRows

from .conftest import QuadraticBatch, found, with_spectrum
from .test_stopped_anywhere import ALGORITHMS, PARAMETERS, SHARES, VALUES, Rows, StopError, arrays_of, copied

CPU = torch.device("cpu")
# Sums over entries are float64's in both spaces; what is stored is rounded to float32 in both, by half a grain each.
ROUNDING = {"float64": 1e-13, "float32": 2e-7}
FROZEN = (*PARAMETERS[:1], Parameter("c", "c", (7, 3), ("in", "out"), trained=False))


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums go over several chunks even of these short vectors."""
    monkeypatch.setattr(tensor_sums, "_HELD", 50)


def both(dtype: str, parameters: tuple[Parameter, ...] = FROZEN) -> tuple[NumPySpace, TensorSpace]:
    return NumPySpace(parameters, dtype), TensorSpace(parameters, CPU, getattr(torch, dtype))


def drawn(count: int, size: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, size))


DRAWS: dict[str, Any] = {
    "signs": lambda space: space.signs(3, "name", range(2, 5)),
    "signs by parameter": lambda space: space.signs_by_parameter(3, range(1, 3)),
    "normals": lambda space: space.normals(3, "name", 4),
    "spheres": lambda space: space.spheres(3, "name", range(2)),
    "units": lambda space: space.units(5, 9),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_vectors_are_the_same_numbers(name: str, dtype: str) -> None:
    """To the last bit."""
    numpy, tensors = both(dtype)
    one, two = (space.to_numpy(DRAWS[name](space)) for space in (numpy, tensors))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 64, 65, 1000])
def test_signs_of_any_length_are_the_same(size: int, dtype: str) -> None:
    numpy, tensors = both(dtype, (Parameter("p", "p", (size,), ("entry",)),))
    one, two = (space.to_numpy(space.signs(1, "n", range(3))) for space in (numpy, tensors))
    np.testing.assert_array_equal(one, two)


def measured(space: Any, a: Any, b: Any, basis: Any, turn: Array) -> dict[str, Array]:
    """Every operation that returns numbers or vectors, as float64 arrays."""
    to = space.to_numpy
    room = space.room(6)
    space.store(room, 0, b)
    space.store(room, 4, a[:2], 0.3)
    turned = space.room(6)
    space.store(turned, 0, room)
    space.turn(turned, [4, 0, 5], turn[:2])
    added = space.taken(to(a[:1]))
    space.add(added, -0.75, b[:1])
    left = space.taken(to(a[:1]))
    length = space.remove(left, basis, np.array([0.5, -0.25]))
    alone = space.taken(to(a[:1]))
    single = space.remove(alone, basis[:1], np.array([0.5]))
    return {
        "dots": space.dots(a, b[:3]),
        "norms": space.norms(a),
        "dots_of": space.dots_of([("a",), ("c",), ("a", "c"), ()], a, b[:3]),
        "inner": space.inner(a, b),
        "coordinates": space.coordinates(b, a[:1]),
        "sum": to(space.sum(a, 0.7, b[:3])),
        "projected": to(space.projected(a, basis)),
        "combined": to(space.combined(turn, a)),
        "decayed": to(space.decayed(a)),
        "room": to(room),
        "turned": to(turned),
        "added": to(added),
        "left": np.r_[to(left)[0], to(alone)[0], length, single],
        "entries": space.entries(b, 3, 8),
        "joined": to(space.joined([a, b[:1], a[1:2]])),
        "settled": to(space.settled(np.ones((2, space.size)) / 3, 7.0)),
        "grain": np.array([space.grain, space.size]),
    }


def test_every_operation_gives_what_it_gives_in_arrays(dtype: str) -> None:
    """Relative to the largest entry."""
    spaces = both(dtype)
    size, turn = spaces[0].size, drawn(3, 3, 9)
    basis = np.linalg.qr(drawn(size, 2, 7))[0].T
    made = [measured(s, *(s.from_numpy(x) for x in (drawn(3, size), drawn(4, size, 1), basis)), turn) for s in spaces]
    for name, value in made[0].items():
        np.testing.assert_allclose(
            made[1][name], value, rtol=0, atol=ROUNDING[dtype] * np.abs(value).max(), err_msg=name
        )


@pytest.mark.parametrize("held", [0, 3])
def test_an_extension_spans_what_it_spans_in_arrays(held: int, dtype: str) -> None:
    """Orthonormal, orthogonal to the basis, and fewer vectors where some are dependent."""
    numpy, tensors = both(dtype)
    basis = np.linalg.qr(drawn(numpy.size, held, 2))[0].T if held else np.zeros((0, numpy.size))
    vectors = np.vstack([drawn(2, numpy.size, 3), np.zeros((1, numpy.size)), 2 * drawn(2, numpy.size, 3)[:1]])
    spans = []
    for space in (numpy, tensors):
        fresh = space.to_numpy(space.extension(space.from_numpy(basis), space.from_numpy(vectors), 10.0))
        whole = np.vstack([space.to_numpy(space.from_numpy(basis)), fresh])
        np.testing.assert_allclose(whole @ whole.T, np.eye(len(whole)), atol=10 * ROUNDING[dtype])
        spans.append(fresh[:2].T @ fresh[:2])
    if dtype == "float64":  # in float32 noise may be taken for a direction more
        np.testing.assert_allclose(spans[1], spans[0], atol=1e-12)


def test_an_extension_of_nothing_and_of_no_numbers_is_empty(dtype: str) -> None:
    for space in both(dtype):
        empty, size = space.room(0), space.size
        assert len(space.extension(empty, space.from_numpy(np.full((2, size), np.nan)), 1.0)) == 0
        assert len(space.extension(empty, empty, 1.0)) == 0
        assert not space.is_finite(space.from_numpy(np.full((1, size), np.inf)))
        assert space.is_finite(space.from_numpy(np.ones((1, size))))


@pytest.mark.parametrize("batches", [1, 2, 3, 5])
def test_sums_over_batches_are_float64s_wherever_they_are_stopped(batches: int) -> None:
    """And taken up from a checkpoint between any two batches; from another process they come as arrays."""
    numpy, space = both("float32")
    terms = np.random.default_rng(1).standard_normal((batches, 2, space.size)).astype(np.float32)
    true = (terms.astype(np.float64).sum(0) / 7.0).astype(np.float32)
    for stop in range(batches + 1):
        bundles: list[Any] = [space.from_numpy(term) for term in terms]
        totals = bundles[0].totals(2)
        for number, bundle in enumerate(bundles):
            if number == stop and number:
                kept = totals.stored().copy()
                totals = bundle.totals(2)
                totals.restore(kept)
            totals.add(0, bundle[:1])
            totals.add(1, pickle.loads(pickle.dumps(bundle[1:])))
        into = space.room(2)
        assert space.settled(totals, 7.0, into).tensor.data_ptr() == into.tensor.data_ptr()
        np.testing.assert_array_equal(space.to_numpy(into), true)
        np.testing.assert_array_equal(space.to_numpy(space.settled(totals.stored(), 7.0)), true)
    from_arrays = numpy.from_numpy(terms[0]).totals(2)
    from_arrays.add(0, space.from_numpy(terms[0]))
    np.testing.assert_array_equal(space.to_numpy(space.settled(from_arrays)), terms[0])


def test_vectors_go_to_other_processes_as_arrays(dtype: str) -> None:
    """And are taken for vectors of this space again; the space itself can be sent too."""
    _, space = both(dtype)
    vectors = space.signs(0, "n", range(2))
    sent = pickle.loads(pickle.dumps(vectors))
    assert isinstance(sent, arrays.Rows)
    assert sent.array.dtype == dtype
    received = pickle.loads(pickle.dumps(space))
    np.testing.assert_array_equal(received.dots(sent, vectors), np.full(2, space.size))
    np.testing.assert_array_equal(received.to_numpy(received.taken(sent)), space.to_numpy(vectors))


class TensorBatch(QuadraticBatch):
    """Takes and returns tensors, in the model's dtype."""

    takes: Any = TensorRows

    def hessian_products(self, block: Sequence[str], vectors: Any) -> Any:
        assert isinstance(vectors, self.takes)
        each = [
            rows_of(super(TensorBatch, self).hessian_products(block, vectors[i : i + 1])) for i in range(len(vectors))
        ]
        return TensorRows(torch.from_numpy(np.concatenate(each)).to(getattr(torch, str(vectors.stored().dtype))))


class TensorObjective(Rows):
    """An objective whose vectors are tensors."""

    dtype = torch.float64

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[QuadraticBatch]:
        for part in self._parts[start:]:
            yield TensorBatch(part, self._parameters)

    def space(self, parameters: Sequence[Parameter]) -> Any:
        return TensorSpace(tuple(parameters), CPU, self.dtype)


class NarrowTensorObjective(TensorObjective):
    """In float32."""

    dtype = torch.float32


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(("kind", "rounding"), [(TensorObjective, 1e-6), (NarrowTensorObjective, 1e-4)])
def test_every_algorithm_gives_the_same_figures(kind: type[Rows], rounding: float, name: str) -> None:
    """Traces, diagonals, eigenvalues and densities; iterations carry rounding on, as between two spaces of arrays."""
    matrix = with_spectrum(VALUES)
    plain = arrays_of(found(ALGORITHMS[name](), Rows(matrix, PARAMETERS, SHARES)))
    tensors = arrays_of(found(ALGORITHMS[name](), kind(matrix, PARAMETERS, SHARES)))
    for one, other in zip(plain, tensors, strict=True):
        # Eigenvectors are the same up to their signs.
        np.testing.assert_allclose(np.abs(other), np.abs(one), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_is_stopped_and_taken_up_ends_in_the_same_bits(name: str) -> None:
    """What was kept went through NumPy."""

    def engine() -> SerialEngine:
        return SerialEngine(TensorObjective(with_spectrum(VALUES), PARAMETERS, SHARES))

    whole: Work[Any] = Work(ALGORITHMS[name]())
    steps: list[int] = []
    whole.run(engine(), steps.append)
    for last in {0, len(steps) // 2}:
        first: Work[Any] = Work(ALGORITHMS[name]())
        left = iter(range(last, -1, -1))

        def on_step(passes: int, left: Iterator[int] = left) -> None:
            if not next(left):
                raise StopError

        with pytest.raises(StopError):
            first.run(engine(), on_step)
        again: Work[Any] = Work(ALGORITHMS[name]())
        again.restore(copied(first.state()))
        again.run(engine())
        for one, other in zip(arrays_of(whole.result), arrays_of(again.result), strict=True):
            np.testing.assert_array_equal(other, one)


class FarEngine(SerialEngine):
    """Sends every task and what comes of it as to another process."""

    def sums(self, task: Any, flight: Flight, on_step: OnStep = unheard) -> Any:
        sent = pickle.loads(pickle.dumps(task))
        for batch in sent.batches(self._objective, flight.batch):
            cut = sent.cut(batch)
            for stop in self._strides.stops(type(task), cut, flight.position):
                part = flight.part(stop)
                flight.add(task, cut, part, pickle.loads(pickle.dumps(sent(batch, part))))
        return pickle.loads(pickle.dumps(flight.end()))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_another_process_makes_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To which vectors go as arrays, and from which they come as such."""
    monkeypatch.setattr(TensorBatch, "takes", (TensorRows, arrays.Rows))
    matrix = with_spectrum(VALUES)
    here, there = (kind(TensorObjective(matrix, PARAMETERS, SHARES)) for kind in (SerialEngine, FarEngine))
    one, other = (arrays_of(computed(ALGORITHMS[name](), engine)) for engine in (here, there))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(b, a)
