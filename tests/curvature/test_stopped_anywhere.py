"""Every piece of work on blocks, stopped after any of its steps and taken up from its state, ends in the same bits."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from covering import covering

from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.dense import UnitProducts, WholeBlock
from curvcli.curvature.density import LanczosQuadrature, Quadrature
from curvcli.curvature.diagonal.estimate import DiagonalEstimate
from curvcli.curvature.diagonal.weight_probes import HutchinsonDiagonal, XDiag
from curvcli.curvature.eigen import EigenSolution, IterativeEigenpairs
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block
from curvcli.curvature.trace.estimate import Rule, TraceEstimate
from curvcli.curvature.trace.hutchinson import Hutchinson
from curvcli.curvature.trace.hutchpp import HutchPlusPlus
from curvcli.curvature.trace.registry import traces
from curvcli.curvature.trace.unit_vectors import UnitVectors
from curvcli.curvature.trace.xnystrace import XNysTrace
from curvcli.curvature.trace.xtrace import XTrace
from curvcli.engine.serial import SerialEngine
from curvcli.engine.stride import Stride
from curvcli.engine.work import Work
from curvcli.models import arrays
from curvcli.models.base import Array, Parameter
from curvcli.models.bundle import Vectors

from .conftest import Quadratic, QuadraticBatch, with_spectrum

SIZES = {"a": 30, "b": 18}
SIZE = sum(SIZES.values())
PARAMETERS = tuple(Parameter(name, name, (size,), ("entry",)) for name, size in SIZES.items())
WHOLE = Block("whole", PARAMETERS)
VALUES = np.r_[np.linspace(-1, 1, SIZE - 3), 8.0, 9.0, 10.0]
SHARES = (0.7, 0.3)


class StopError(Exception):
    """Stands for a signal."""


class Single(QuadraticBatch):
    """Vector by vector, as the frameworks do: how many come at once changes no bit."""

    def hessian_products(self, block: Sequence[str], vectors: Vectors) -> Vectors:
        each = [super(Single, self).hessian_products(block, vectors[i : i + 1]) for i in range(len(vectors))]
        return arrays.Rows(np.concatenate([arrays.rows_of(one) for one in each]))


class Rows(Quadratic):
    """Counts the products with single batches."""

    made = 0

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[QuadraticBatch]:
        for part in self._parts[start:]:
            yield Single(part, self._parameters)


def all_traces() -> Algorithm[Any]:
    """All four estimators in common passes."""
    rule = Rule(24, None, 0, 1.0, np.array(SHARES), 0.1)
    one, two = (Block(p.name, (p,)) for p in PARAMETERS)
    return traces(
        [
            XTrace(WHOLE, rule),
            HutchPlusPlus(one, rule),
            Hutchinson(WHOLE, (one, two), rule),
            UnitVectors(two, rule),
        ]
    )


def eigenvalues(solver: Any, basis: int) -> Algorithm[Any]:
    options: dict[str, Any] = {"k": 3, "which": "largest", "tolerance": 1e-6, "seed": 0, "matrix": HESSIAN}
    return IterativeEigenpairs(WHOLE, **options, weight_decay=0.1, basis=basis, max_products=400, solver=solver)


def density() -> Algorithm[Any]:
    """Two groups of probes."""
    return LanczosQuadrature(WHOLE, 5, 6, seed=0, matrix=HESSIAN, weight_decay=0.1, vectors=18)


ALGORITHMS: dict[str, Callable[[], Algorithm[Any]]] = {
    "trace": all_traces,
    "xnystrace": lambda: XNysTrace(WHOLE, Rule(24, None, 0, 1.0, np.array(SHARES), 0.1)),
    "density": density,
    "lanczos": lambda: eigenvalues("lanczos", 60),
    "lanczos, restarted": lambda: eigenvalues("lanczos", 10),
    "lobpcg": lambda: eigenvalues("lobpcg", 400),
    "lobpcg, beyond memory": lambda: eigenvalues("lobpcg", 40),
    "dense": lambda: UnitProducts(WHOLE, HESSIAN, 0.1),
    "hutchinson": lambda: HutchinsonDiagonal(PARAMETERS[0], probes=20, rtol=None, seed=0),
    "xdiag": lambda: XDiag(PARAMETERS[0], probes=32, rtol=None, seed=0),
}


def objective() -> Rows:
    return Rows(with_spectrum(VALUES), PARAMETERS, SHARES)


def made(name: str) -> Work[Any]:
    return Work(ALGORITHMS[name]())


def results(work: Work[Any]) -> list[Array]:
    """All that a record is made of."""
    return arrays_of(work.result)


def arrays_of(result: object) -> list[Array]:
    """What any of the algorithms found."""
    match result:
        case EigenSolution():
            pairs = result.pairs
            return [pairs.values, pairs.vectors, pairs.residuals, np.array(result.products)]
        case Quadrature():
            return [result.nodes, result.squares, np.array([result.products, result.stretch])]
        case WholeBlock():
            return [result.symmetric()]
        case TraceEstimate():
            return [np.r_[result.value, result.stderr, result.products, result.samples, result.batches]]
        case DiagonalEstimate():
            return [result.value, result.stderr]
        case dict():
            return [array for one in result.values() for array in arrays_of(one)]
        case list():
            return [array for one in result for array in arrays_of(one)]
    raise AssertionError(result)


def copied(state: dict[str, Array]) -> dict[str, Array]:
    """As it comes back from disk."""
    file = io.BytesIO()
    np.savez(file, **{str(i): value for i, value in enumerate(state.values())})  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file) as kept:
        return {name: kept[str(i)] for i, name in enumerate(state)}


def steps_of(work: Work[Any]) -> list[int]:
    """Run to the end; the passes of every step."""
    passes: list[int] = []
    work.run(SerialEngine(objective()), passes.append)
    return passes


@pytest.fixture
def stride(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many vectors a batch is given at once depends on the time it takes: both ends of it."""
    if request.param == "one by one":
        monkeypatch.setattr(Stride, "parts", lambda self, start, stop: ((i, i + 1) for i in range(start, stop)))


STRIDES = ["many vectors at once", "one by one"]


@pytest.mark.parametrize(("name", "stride"), covering(ALGORITHMS, STRIDES), indirect=["stride"])
def test_stopped_after_any_step(name: str, stride: None) -> None:
    """No result changes by a bit, and what was made is not made again."""
    straight = made(name)
    steps = steps_of(straight)
    for last in sorted({*range(0, len(steps), max(1, len(steps) // 40)), len(steps) - 1}):
        left = iter(range(last + 1))

        def stop(passes: int, left: Iterator[int] = left, last: int = last) -> None:
            if next(left) == last:
                raise StopError

        first, second = made(name), made(name)
        with pytest.raises(StopError):
            first.run(SerialEngine(objective()), stop)
        second.restore(copied(first.state()))
        rest = steps_of(second)
        for one, other in zip(results(straight), results(second), strict=True):
            np.testing.assert_array_equal(one, other)
        assert rest == steps[last + 1 :]
        # What has ended is its own state.
        third = made(name)
        third.restore(copied(second.state()))
        assert steps_of(third) == []
        for one, other in zip(results(straight), results(third), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "stride"), covering([name for name in ALGORITHMS if name != "trace"], STRIDES), indirect=["stride"]
)
def test_a_step_is_one_batch(name: str, stride: None) -> None:
    """Work looks up after every batch at least, so that a signal need not wait for a pass over the data."""
    assert max(steps_of(made(name))) <= 64
    assert len(steps_of(made(name))) >= len(SHARES)
