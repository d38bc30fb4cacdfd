"""Diagonal of a weight that is used several times, by pairs of its uses, whatever else the model does.

Give use t a copy of the weight, with an output z_t = A_t W and data A_t that may depend on the outputs of uses before
it (recurrent nets, tied embeddings, shared branches). Then, with J_t the derivative of z_t by W where A_t stays,

    H = Σ_n Σ_{s,t} J_sᵀ (∂²ℓ_n/∂z_s∂z_t) J_t + Σ_{s<t} (J_sᵀ (∂A_t/∂z_s)ᵀ ∂ℓ_n/∂z_t and its transpose),

so each basis vector of each z_s takes one product with the Hessian by all z_t and one directional derivative of all
A_t, for all samples at once and for all parameters that share these uses; a product per entry of W is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.diagonal.exact import ExactDiagonal, reached_in, trace, vectors_at_once, with_traces
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.errors import ModelError
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.wording import option

_STEP = 64
# The first derivatives, and three that make sure the samples are independent.
OVERHEAD = 4


@dataclass(frozen=True)
class PairsTask(ParameterTask):
    """What the basis vectors of all outputs give in one batch; ``weight`` as in ``PairsOfUses``."""

    weight: int

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return tuple(map(trace, self.parameters))

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``."""
        live = reached_in(batch, self.parameters)
        readable = live and not self._unlike(batch, live)
        vectors = batch.uses_vectors(live) if readable else len(live)
        return Cut.even(vectors, vectors_at_once(batch, self.weight, _STEP))

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One product per basis vector, and what goes before them."""
        return part.stop - part.start + (OVERHEAD if part.start == 0 and part.stop else 0)

    def _unlike(self, batch: DifferentiatedBatch, live: tuple[str, ...]) -> str | None:
        """A parameter that is used in another way in this batch."""
        sites = batch.sites(live)
        return next((n for n in live if sites[n].uses is None or sites[n].uses != sites[live[0]].uses), None)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other, or the uses are other ones in this batch.
        """
        live = reached_in(batch, self.parameters)
        if part.start == 0 and live:
            instead, other = option("method", "coordinate"), self._unlike(batch, live)
            if other is not None:
                raise ModelError(f"batch {part.batch}: {other} is used in another way there; use {instead}.")
            if not batch.uses_separate(live):
                raise ModelError(
                    f"batch {part.batch}: samples influence each other (batch statistics?); use {instead}."
                )
        diagonals = batch.uses_diagonal(live, part.start, part.stop) if live and part.stop else {}
        return with_traces(diagonals, self.parameters)


@dataclass(frozen=True)
class PairsOfUses:
    """Parameters that share their uses.

    Attributes:
        parameters: their full names.
        vectors: entries of all outputs, per sample.
        weight: multiplications per sample of the parameters' operations; see ``vectors_at_once``.
    """

    parameters: tuple[str, ...]
    vectors: int
    weight: int = 1
    method = "pairs_of_uses"
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One product per basis vector, and what goes before them."""
        return self.vectors + OVERHEAD

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[ExactDiagonal]:
        """See ``Algorithm``."""
        sums = yield PairsTask(self.parameters, self.weight)
        return ExactDiagonal.of(sums, self.parameters, about)
