"""Objectives whose Hessian is a matrix that is written down: the algorithms, tested without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.operator import Block
from curvcli.engine.interface import OnStep, unheard
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.losses.interface import OutputState, Targets
from curvcli.losses.output import Output
from curvcli.models.arrays import NumPySpace, Rows, rows_of
from curvcli.models.base import Array, Parameter, Site
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

Result = TypeVar("Result")

SIZE = 300


class StopError(Exception):
    """Raised between two steps of a piece of work."""


def stop(passes: int) -> None:
    """Put a piece of work down after its next step."""
    raise StopError


class QuadraticBatch:
    """½ xᵀ A x; only what products need."""

    def __init__(self, matrix: Array, parameters: Sequence[Parameter]) -> None:
        self._matrix = matrix
        starts = np.cumsum([0, *(p.size for p in parameters)])
        self._place = {p.name: np.arange(a, b) for p, a, b in zip(parameters, starts, starts[1:], strict=False)}

    @property
    def output(self) -> OutputState:
        empty = np.zeros((1, 1))
        return OutputState(Output(), empty, Targets(empty, empty, 1.0, 1.0, np.ones(1)))

    def hessian_products(self, block: Sequence[str], vectors: Vectors) -> Vectors:
        where = np.concatenate([self._place[name] for name in block])
        return Rows(rows_of(vectors) @ self._matrix[np.ix_(where, where)])


class Unlimited:
    """Memory of which nothing is ever in use."""

    def in_use(self) -> int:
        return 0

    def peak(self) -> int:
        return 0

    def free(self) -> int:
        return 1 << 40

    def release(self) -> None:
        pass


class Quadratic:
    """Batches that add up to a matrix, unevenly."""

    def __init__(self, matrix: Array, parameters: Sequence[Parameter], shares: Sequence[float] = (0.7, 0.3)) -> None:
        noise = np.random.default_rng(5).standard_normal(matrix.shape)
        # What one batch has too much the other has too little; a single batch is the matrix itself.
        noise = (noise + noise.T) * np.abs(matrix).max() * (0.01 if len(shares) > 1 else 0)
        self._parts = [share * matrix + sign * noise for share, sign in zip(shares, (1, -1), strict=False)]
        self._parameters = tuple(parameters)
        self.batch_weights = np.array(shares) * 10
        self.denominator = 1.0
        self.memory = Unlimited()
        self.passes = 0

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        return {p: Site(p, reached=True, why_not="a matrix") for p in parameters}

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[QuadraticBatch]:
        self.passes += 1
        for part in self._parts[start:]:
            yield QuadraticBatch(part, self._parameters)

    def batch_count(self) -> int:
        return len(self._parts)

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        return NumPySpace(tuple(parameters))

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        return "a matrix"


def found(algorithm: Algorithm[Result], objective: Any, on_step: OnStep = unheard) -> Result:
    """What an algorithm finds of an objective, run in this process."""
    return computed(algorithm, SerialEngine(objective), on_step)


def vector_parameter(size: int = SIZE, name: str = "p") -> Parameter:
    return Parameter(name, name, (size,), ("entry",))


def one_block(size: int = SIZE, name: str = "block") -> Block:
    return Block(name, (vector_parameter(size),))


def with_spectrum(values: Array, seed: int = 0) -> Array:
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2


SPECTRA = {
    "flat": np.linspace(1, 3, SIZE),
    "polynomial": np.arange(1, SIZE + 1) ** -2.0,
    "exponential": 0.7 ** np.arange(SIZE),
    "step": np.r_[np.ones(30), np.full(SIZE - 30, 1e-3)],
    "indefinite": np.r_[10 * 0.8 ** np.arange(40), -3 * 0.9 ** np.arange(60), np.zeros(SIZE - 100)],
    "negative": -np.linspace(1, 3, SIZE),
}
