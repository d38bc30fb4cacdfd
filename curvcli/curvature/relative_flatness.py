"""Relative flatness of a layer, κ = Σ_{s,s'} ⟨w_s, w_s'⟩ tr H_{ss'} = tr[(WWᵀ ⊗ I) H] (Petzka et al. 2021).

W has a row w_s per output unit, H is the Hessian of the data's loss by W, without weight decay, and H_{ss'} its block
by w_s and w_s'. Scaling W by c and H with it by 1/c² leaves κ as it is. A row of a convolution is a unit's filter.
Three ways: from the columns of a Gauss–Newton block, from products with a basis of the range of WWᵀ ⊗ I, or, as an
estimate, from products with random signs that are scaled by the square root of WWᵀ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.diagonal.exact import reached_in
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.errors import ModelError
from curvcli.models.base import Array, DifferentiatedBatch, Parameter
from curvcli.models.probes import normals, signs

_STEP = 4
# Singular values below this share of the largest are zero to rounding.
_RANK = 1e-12


@dataclass(frozen=True)
class Kernel:
    """A weight with its output units.

    Attributes:
        parameter: which.
        values: its entries, in its shape, float64.
        axis: of the output units.
    """

    parameter: Parameter
    values: Array
    axis: int

    @property
    def name(self) -> str:
        """Of the parameter."""
        return self.parameter.name

    def rows(self, array: Array) -> Array:
        """Arrays of its shape, (…, *shape), as matrices with a row per unit, (…, units, weights)."""
        lead = array.ndim - len(self.parameter.shape)
        moved = np.moveaxis(array, lead + self.axis, lead)
        return moved.reshape(*moved.shape[: lead + 1], -1)

    def raveled(self, rows: Array) -> Array:
        """The way back for one matrix, (units, weights), raveled: (n,)."""
        shape = self.parameter.shape
        others = tuple(length for axis, length in enumerate(shape) if axis != self.axis)
        return np.moveaxis(rows.reshape(shape[self.axis], *others), 0, self.axis).ravel()

    @property
    def gram(self) -> Array:
        """The products WWᵀ of the units' weights, (units, units)."""
        weights = self.rows(self.values)
        return np.asarray(weights @ weights.T)

    @cached_property
    def factor(self) -> Array:
        """The B = UΣ with BBᵀ = WWᵀ, (units, rank)."""
        left, lengths, _ = np.linalg.svd(self.rows(self.values), full_matrices=False)
        kept = lengths > _RANK * lengths.max(initial=0.0)
        return np.asarray(left[:, kept] * lengths[kept])

    @cached_property
    def root(self) -> Array:
        """The symmetric square root of WWᵀ, (units, units)."""
        left, lengths, _ = np.linalg.svd(self.rows(self.values), full_matrices=False)
        return np.asarray((left * lengths) @ left.T)

    @property
    def per_unit(self) -> int:
        """Weights of one unit."""
        units = self.parameter.shape[self.axis]
        return self.parameter.size // units if units else 0

    @property
    def products(self) -> int:
        """Products by which κ is exact."""
        return int(self.factor.shape[1]) * self.per_unit


def of_whole(kernel: Kernel, hessian: Array) -> float:
    """The κ of a kernel from its block of H, (n, n)."""
    gram, columns = kernel.gram, np.empty_like(hessian)
    for number, row in enumerate(hessian.reshape(len(hessian), *kernel.parameter.shape)):
        columns[number] = kernel.raveled(gram @ kernel.rows(row))
    return float(np.trace(columns))


# -- from columns -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ColumnsTask(ParameterTask):
    """Σ_n Σ_c ± ⟨G, WWᵀ G⟩ with G = J_Wᵀ s_c, and the form of one direction, per kernel.

    Attributes:
        kernels: whose parameters they are.
        directions: one of each kernel, raveled.
        rank: columns per sample.
    """

    kernels: tuple[Kernel, ...]
    directions: tuple[Array, ...]
    rank: int

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per column."""
        del batch, part
        return self.rank

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other.
        """
        sums = np.zeros((len(self.kernels), 2))
        live = reached_in(batch, self.parameters)
        if not live:
            return {"sums": sums}
        if not batch.samples_separate(live):
            raise ModelError(f"batch {part.batch}: samples influence each other: there is no relative flatness of it.")
        state = batch.output
        for column in range(self.rank):
            columns = GAUSS_NEWTON.columns(state, column, column + 1)
            gradients, sign, start = batch.sample_gradients(live, columns.vectors)[0], float(columns.signs[0]), 0
            for place, kernel in enumerate(self.kernels):
                if kernel.name not in live:
                    continue
                own = gradients[:, start : start + kernel.parameter.size]
                start += kernel.parameter.size
                rows = kernel.rows(own.reshape(-1, *kernel.parameter.shape))
                sums[place, 0] += sign * float(np.vdot(rows, kernel.gram @ rows))
                sums[place, 1] += sign * float(((own @ self.directions[place]) ** 2).sum())
        return {"sums": sums}


@dataclass(frozen=True)
class FromColumns:
    """Exact where each kernel's block is Gauss–Newton; a product per kernel checks that (see ``Algorithm``).

    Attributes:
        kernels: in the model's order.
        rank: columns per sample.
        seed: of the directions of the checks.
        check: whether products are made.
    """

    kernels: tuple[Kernel, ...]
    rank: int
    seed: int
    check: bool
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """Columns, and a product per kernel."""
        return self.rank + self.check * len(self.kernels)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, tuple[float, float]]]:
        """See ``Algorithm``; by name κ, and by how much a form vᵀHv is not what the columns say, relative to it."""
        directions = tuple(normals(self.seed, f"flatness:{one.name}", 0, one.parameter.size) for one in self.kernels)
        names = tuple(one.name for one in self.kernels)
        sums = (yield ColumnsTask(names, self.kernels, directions, self.rank))["sums"] / about.denominator
        flatness: dict[str, tuple[float, float]] = {}
        for kernel, direction, (value, form) in zip(self.kernels, directions, sums.tolist(), strict=True):
            off = 0.0
            if self.check:
                operator = CurvatureOperator.of(about, Block(kernel.name, (kernel.parameter,)), HESSIAN)
                products = yield from operator.times(operator.space.from_numpy(direction[None]))
                measured = float(direction @ operator.space.to_numpy(products)[0])
                off = abs(measured - form) / max(abs(measured), abs(form)) if measured != form else 0.0
            flatness[kernel.name] = (value, off)
        return flatness


# -- from products ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FromBasis:
    """Σ_i Σ_j vᵀHv with v = b_i ⊗ e_j for the columns b_i of B: exact (see ``Algorithm``).

    Attributes:
        kernel: which.
    """

    kernel: Kernel
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One product per v."""
        return self.kernel.products

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[float]:
        """See ``Algorithm``."""
        kernel = self.kernel
        operator = CurvatureOperator.of(about, Block(kernel.name, (kernel.parameter,)), HESSIAN)
        done, total = (0, 0.0) if kept is None else (int(kept["at"][0]), float(kept["at"][1]))
        while done < kernel.products:
            yield Keep({"at": np.array([float(done), total])})
            places = range(done, min(done + _STEP, kernel.products))
            vectors = np.stack([self._vector(place) for place in places])
            products = yield from operator.times(operator.space.from_numpy(vectors))
            total += float((vectors * operator.space.to_numpy(products)).sum())
            done = places.stop
        return total

    def _vector(self, place: int) -> Array:
        column, unit = divmod(place, self.kernel.per_unit)
        rows = np.zeros((self.kernel.parameter.shape[self.kernel.axis], self.kernel.per_unit))
        rows[:, unit] = self.kernel.factor[:, column]
        return self.kernel.raveled(rows)


@dataclass(frozen=True)
class FromProbes:
    """Forms vᵀHv with v = (WWᵀ)^½ ε for random signs ε, whose mean is κ (see ``Algorithm``).

    One product serves all kernels: what they have to do with each other adds noise and no bias.

    Attributes:
        kernels: in the model's order.
        probes: how many.
        seed: of the signs.
    """

    kernels: Sequence[Kernel]
    probes: int
    seed: int
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One product per probe."""
        return self.probes

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Array]:
        """See ``Algorithm``; the result is (kernels, probes)."""
        parameters = tuple(one.parameter for one in self.kernels)
        operator = CurvatureOperator.of(about, Block("", parameters), HESSIAN)
        space, own = operator.space, [(name,) for name in operator.block.names]
        forms = np.zeros((len(parameters), 0)) if kept is None else kept["forms"]
        while (done := forms.shape[1]) < self.probes:
            yield Keep({"forms": forms})
            numbers = range(done, min(done + _STEP, self.probes))
            vectors = space.from_numpy(np.stack([self._vector(number) for number in numbers]))
            products = yield from operator.times(vectors)
            forms = np.concatenate([forms, space.dots_of(own, vectors, products)], axis=1)
        yield Keep({"forms": forms})
        return forms

    def _vector(self, number: int) -> Array:
        parts = []
        for kernel in self.kernels:
            drawn = signs(self.seed, f"flatness:{kernel.name}", number, kernel.parameter.shape)
            parts.append(kernel.raveled(kernel.root @ kernel.rows(drawn)))
        return np.concatenate(parts)
