"""XNysTrace (Epperly, Tropp, Webber 2024, section 4): XTrace by Nyström approximation, for semidefinite matrices.

From Y = AΩ alone, with H = ΩᵀY, the approximation A⟨Ω⟩ = Y H⁻¹ Yᵀ is the best that is known of A. Without test vector i
it is A⟨Ω⟩ − u uᵀ with u = Y H⁻¹ eᵢ / √(H⁻¹)ᵢᵢ, and ωᵢᵀ u = 1/√(H⁻¹)ᵢᵢ. So the estimates are
trᵢ = tr A⟨Ω⟩ − ‖Y H⁻¹ eᵢ‖² / (H⁻¹)ᵢᵢ + sᵢ / (H⁻¹)ᵢᵢ, where sᵢ scales the part of ωᵢ that the others do not span to the
length that it has on average (test vectors are uniform on a sphere). Each costs one product where XTrace takes two. A
small shift ν makes H definite where A is singular or products are rounded: everything is done with A + νI, and νn is
taken away from the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.operator import Block
from curvcli.curvature.sketch import Growing
from curvcli.curvature.tasks import Part, Sums
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, TraceTask, leave_one_out_error
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

_STEP = 8
# The first shift, relative to the products' root mean square entry; and how it grows while H is not definite.
_SHIFT, _GROWTH = float(np.finfo(np.float64).eps), 10.0


@dataclass(frozen=True)
class NystromTask(TraceTask):
    """A Ω of new test vectors, and ωᵀ A_b ω for every batch b: (1, k)."""

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("own",)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        products = self.products(batch, self.vectors)
        return {"products": products, "own": self.products.space.dots(self.vectors, products)[None]}


@dataclass(frozen=True)
class NystromMatrices:
    """All that the estimates need, of A + νI.

    Attributes:
        gram: ΩᵀΩ, (k, k).
        form: H = ΩᵀY, (k, k), positive definite.
        factor: any R with RᵀR = YᵀY, (r, k).
        shift: ν.
    """

    gram: Array
    form: Array
    factor: Array
    shift: float

    @classmethod
    def of(cls, space: VectorSpace, tests: Vectors, images: Vectors) -> NystromMatrices | None:
        """From Ω and AΩ; None where all of it is zero.

        Coordinates in an orthonormal basis stand for YᵀY, whose own entries would hold half the digits.
        """
        lengths = space.norms(images)
        if not lengths.any():
            return None
        gram, form = space.inner(tests, tests), space.inner(tests, images)
        basis = space.extension(space.room(0), images, float(lengths.max()))
        along, beside = space.inner(basis, images), space.inner(basis, tests)
        values, turn = np.linalg.eigh(gram - beside.T @ beside)
        outside = np.sqrt(np.maximum(values, 0.0))[:, None] * turn.T
        form = (form + form.T) / 2
        shift = _SHIFT * float(np.linalg.norm(lengths)) / np.sqrt(space.size)
        while not _definite(form + shift * gram):
            shift *= _GROWTH
        return cls(gram, form + shift * gram, np.concatenate([along + shift * beside, shift * outside]), shift)

    def leave_one_out(self, size: int) -> Array:
        """trᵢ of A, (k,), for a block of ``size`` entries."""
        inverse = solve_triangular(cholesky(self.form), np.eye(len(self.form)))
        along = self.factor @ inverse
        weight = (inverse**2).sum(1)
        without = ((along @ inverse.T) ** 2).sum(0) / weight
        scale = (size - len(self.gram) + 1) * np.diag(np.linalg.inv(self.gram))
        estimates: Array = (along**2).sum() - without + scale / weight - self.shift * size
        return estimates

    def error_of_mean(self, size: int) -> float:
        """The standard error of the mean of the trᵢ, not divided (see ``estimate.leave_one_out_error``)."""
        return leave_one_out_error(self.leave_one_out(size), lambda test: self.without(test).leave_one_out(size))

    def without(self, test: int) -> NystromMatrices:
        """The same as if this test vector had never been drawn."""
        gram, form = (np.delete(np.delete(one, test, 0), test, 1) for one in (self.gram, self.form))
        return NystromMatrices(gram, form, np.delete(self.factor, test, 1), self.shift)


def _definite(matrix: Array) -> bool:
    try:
        cholesky(matrix)
    except LinAlgError:
        return False
    return True


@dataclass(frozen=True)
class XNysTrace:
    """XNysTrace in steps of a few test vectors; Ω and AΩ are kept (see ``TraceEstimator``)."""

    block: Block
    rule: Rule
    method = "xnystrace"

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the one block."""
        return (self.block.name,)

    @property
    def at_most(self) -> bool:
        """Whether a tolerance may end it earlier."""
        return self.rule.rtol is not None

    @property
    def passes_per_batch(self) -> int:
        """One product per test vector."""
        return min(self.rule.probes, self.block.size)

    def steps(self, about: About, kept: Mapping[str, Any] | None) -> Steps[dict[str, TraceEstimate]]:
        """See ``Algorithm``."""
        products = self.rule.of_batch(about, self.block)
        space, forms = products.space, np.zeros((len(self.rule.weights), 0))
        most = self.passes_per_batch
        tests, images = Growing(space, most), Growing(space, most)
        if kept is not None:
            forms = kept["own"]
            images.append(space.taken(kept["images"]))
            tests.append(self._tests(space, range(len(images))))
        while len(images) < most and not self._met(space, tests.vectors, images.vectors, forms):
            yield Keep({"own": forms, "images": images.vectors})
            drawn = tests.append(self._tests(space, range(len(images), min(len(images) + _STEP, most))))
            sums = yield NystromTask(self.block.names, products, drawn)
            images.append(space.settled(sums["products"]))
            forms = np.concatenate([forms, sums["own"]], axis=1)
        yield Keep({"own": forms, "images": images.vectors})
        return {self.block.name: self._estimate(space, tests.vectors, images.vectors, forms)}

    def _tests(self, space: VectorSpace, numbers: range) -> Vectors:
        return space.spheres(self.rule.seed, f"{self.block.name}:xnystrace", numbers)

    def _met(self, space: VectorSpace, tests: Vectors, images: Vectors, forms: Array) -> bool:
        if self.rule.rtol is None or not len(images):
            return False
        return self._estimate(space, tests, images, forms).converged

    def _estimate(self, space: VectorSpace, tests: Vectors, images: Vectors, forms: Array) -> TraceEstimate:
        """The mean of the leave-one-out estimates.

        They depend on all batches together; what each batch adds is told by its own ωᵀ A_b ω, and the rest divided by
        the batches' weights, which leaves the spread over the data as it is.
        """
        small, weights = NystromMatrices.of(space, tests, images), self.rule.weights
        samples = np.zeros(len(images)) if small is None else small.leave_one_out(space.size)
        batches = forms.mean(1)
        batches += (samples.mean() - batches.sum()) * weights / weights.sum()
        error = 0.0 if small is None else small.error_of_mean(space.size)
        return self.rule.close(
            self.block, self.method, batches, samples, error, products=len(images), independent=False
        )
