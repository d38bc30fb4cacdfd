"""Matrices with a known spectrum whose products are cheap at any size: random signs and cosine transforms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct, idct

from curvcli.curvature.eigen import EigenSolution, IterativeEigenpairs
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.wanted import Which, chosen
from curvcli.models.arrays import NumPySpace, Rows, rows_of
from curvcli.models.base import Array, Parameter
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

from .conftest import found, one_block


class Rotated:
    """Q diag(values) Qᵀ with a random orthogonal Q that is never formed; its only batch is itself."""

    denominator = 1.0

    def __init__(self, values: Array, seed: int) -> None:
        self._values, rng = values, np.random.default_rng(seed)
        self._signs = rng.choice([-1.0, 1.0], (2, len(values)))
        self.calls = 0

    def batch_count(self) -> int:
        return 1

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        return NumPySpace(tuple(parameters))

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[Rotated]:
        if not start:
            yield self

    def hessian_products(self, block: Sequence[str], vectors: Vectors) -> Vectors:
        self.calls += len(vectors)
        return Rows(self._rows(rows_of(vectors)))

    def _rows(self, rows: Array) -> Array:
        first, second = self._signs
        turned = idct(second * dct(rows * first, norm="ortho"), norm="ortho")
        return np.asarray(first * idct(second * dct(turned * self._values, norm="ortho"), norm="ortho"))


@dataclass(frozen=True)
class Case:
    """One search on one operator."""

    seed: int
    values: Array
    k: int
    which: Which
    basis: int
    name: str

    def solved(self, tolerance: float, max_products: int) -> tuple[EigenSolution, Rotated]:
        objective, block = Rotated(self.values, self.seed), one_block(len(self.values))
        search = IterativeEigenpairs(
            block,
            k=self.k,
            which=self.which,
            tolerance=tolerance,
            seed=self.seed,
            matrix=HESSIAN,
            weight_decay=0.0,
            basis=self.basis,
            max_products=max_products,
        )
        return found(search, objective), objective

    def missed_by(self, result: EigenSolution) -> float:
        """The largest difference to the true values, relative to the largest magnitude; infinite if some lack."""
        true = self.values[chosen(self.values, self.k, self.which)]
        values = result.pairs.values
        if len(values) < len(true):
            return float("inf")
        if self.which == "magnitude":
            true, values = np.sort(np.abs(true)), np.sort(np.abs(values))
        return float(np.abs(true - values).max() / np.abs(self.values).max())


def spectrum(kind: str, distinct: int, rng: np.random.Generator) -> Array:
    """Distinct values of one of four kinds, some with a part below zero."""
    if kind == "linear":
        values = np.linspace(rng.choice([-1.0, 0.0, 0.5]), 1.0, distinct)
    elif kind == "power law":
        values = np.arange(1, distinct + 1) ** -rng.uniform(0.5, 3.0)
    elif kind == "crowded":
        # Dense towards both ends, as random matrices are away from theirs.
        values = np.cos(np.linspace(0, np.pi, distinct)) + rng.choice([0.0, 1.0, 3.0])
    else:
        # Clusters far narrower than their distances, wider and narrower than a tolerance.
        centres = rng.uniform(-1, 1, max(2, distinct // int(rng.integers(2, 9))))
        values = rng.choice(centres, distinct) + 10.0 ** rng.uniform(-12, -3) * rng.standard_normal(distinct)
    if rng.random() < 0.5:
        # A few that stand out, as trained networks have them.
        values = np.concatenate(
            [values, values.max() + np.abs(values).max() * rng.uniform(0.1, 3, int(rng.integers(1, 12)))]
        )
    if rng.random() < 0.15:
        values[rng.random(len(values)) < 0.7] = 0.0
    return values * rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-3, 3)


def random_case(seed: int, smallest: int = 600, largest: int = 5000) -> Case:
    """Any of the kinds, at any end, with multiplicities from 1 to 10."""
    rng = np.random.default_rng([seed, 20])
    size = int(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    kind = str(rng.choice(["crowded", "clustered", "linear", "power law"]))
    copies = int(rng.integers(1, 11))
    values = np.repeat(spectrum(kind, size // copies + 1, rng), copies)
    if rng.random() < 0.3:
        # Some are repeated, most are not.
        few = np.flatnonzero(rng.random(len(values) // copies) < 0.05) * copies
        alone = rng.permutation(len(values))[: len(values) // 2]
        values[alone] += rng.standard_normal(len(alone)) * np.abs(values).max() * 0.01
        values[few] = values[few // 2]
    values = rng.permutation(values)[:size]
    which: Which = str(rng.choice(["largest", "largest", "smallest", "smallest", "both", "magnitude"]))  # type: ignore[assignment]
    k = int(rng.integers(1, 21))
    basis = int(rng.choice([1000, 1000, 100, 2 * k + 40]))
    return Case(seed, values, k, which, basis, f"{seed}: {kind} × {copies}, n {size}, k {k} {which}, basis {basis}")
