"""Quadratic forms of a block's matrix, vector by vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.models.base import Array


@dataclass(frozen=True)
class QuadraticForms:
    """vᵀHv of the Hessian (see ``Algorithm``).

    Attributes:
        block: of the Hessian.
        vectors: each gives v, (n,), float64, when it is needed.
        weight_decay: λ.
    """

    block: Block
    vectors: Sequence[Callable[[], Array]]
    weight_decay: float = 0.0
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One product per vector."""
        return len(self.vectors)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Array]:
        """See ``Algorithm``; the result is (vectors,), float64, divided, weight decay included."""
        operator = CurvatureOperator.of(about, self.block, HESSIAN, self.weight_decay)
        forms = np.empty(len(self.vectors))
        for place, vector in enumerate(self.vectors):
            entries = vector()
            products = yield from operator.times(operator.space.from_numpy(entries[None]))
            forms[place] = float(entries @ operator.space.to_numpy(products)[0])
        return forms
