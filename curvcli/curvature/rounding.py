"""How far products are off by rounding: the same products, of a few samples, in float64 as well.

What rounding does to a Hessian's product depends on the network: a deep one with batch norm can lose three digits of
seven in its forward pass alone, a saturated softmax all of them in 1 − p. No bound from norms and the unit roundoff is
both safe and useful there, so it is measured. Only what two products of the same samples differ by is used, so a few
samples say enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.probes import signs
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective, Parameter

# In units of the last place, what the arithmetic of a run without a more precise one beside it is taken to lose.
_UNITS = 64.0
_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}
# A few samples and one vector see less than all: what they show is taken so many times.
_SAFETY = 4.0
# Products that the largest rounding of any vector is sought by.
_STEPS = 3
# Beyond this share of what it is an error of, rounding has spoilt a result.
SPOILT = 1e-3

# Makes the objective of a few samples in the run's dtype, and the same in float64; None where there is no such model.
Twins = Callable[[], tuple[Objective, Objective] | None]


class Rounding:
    """Rounding of products with a model's Hessian (see ``BlockWork``)."""

    def __init__(self, parameters: Sequence[Parameter], twins: Twins, seed: int, dtype: str) -> None:
        """Nothing is measured yet.

        Args:
            parameters: of all blocks.
            twins: two objectives of the same few samples; asked for when first needed.
            seed: of the vectors.
            dtype: of the run.
        """
        self._parameters = tuple(p for p in parameters if p.size)
        self._make, self._seed, self._dtype = twins, seed, dtype
        self._twins: tuple[Objective, Objective] | None = None
        self._made = False
        self._errors: dict[str, tuple[float, float, float]] = {}

    @property
    def at_most(self) -> bool:
        """All are made."""
        return False

    @property
    def products(self) -> int:
        """None over the whole data."""
        return 0

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """One product with random signs for all parameters together, twice."""
        if self._errors or not self._parameters:
            return
        block = Block("", self._parameters)
        vector = np.concatenate([signs(self._seed, f"rounding:{p.name}", 0, (p.size,)) for p in self._parameters])
        pair = self._pair(block, vector)
        if pair is not None:
            plain, precise = pair
            start = 0
            for p in self._parameters:
                here = slice(start, start + p.size)
                start += p.size
                error, size = plain[here] - precise[here], precise[here]
                self._errors[p.name] = (
                    float(error @ error),
                    float(size @ size),
                    abs(float(error @ vector[here])),
                )
            objective.memory.release()
        on_step(0)

    def _pair(self, block: Block, vector: Array) -> tuple[Array, Array] | None:
        """A product in the run's dtype and in float64, divided; None without a more precise objective."""
        if not self._made:
            self._twins, self._made = self._make() if self._dtype == "float32" else None, True
        if self._twins is None:
            return None
        plain, precise = (_product(objective, block, vector) for objective in self._twins)
        return plain, precise

    def relative(self, names: Sequence[str]) -> float:
        """‖(H − H₆₄)ε‖ / ‖H₆₄ε‖ over these parameters' entries: the share of a product that is rounding, at most 1."""
        known = [self._errors[name] for name in names if name in self._errors]
        least = _UNITS * _EPSILON[self._dtype]
        error, size = (float(np.sqrt(sum(entry[i] for entry in known))) for i in (0, 1))
        if not known or not error or not np.isfinite(error + size):
            return least
        return float(min(max(_SAFETY * error / size if size else 1.0, _EPSILON[self._dtype]), 1.0))

    def noise(self, names: Sequence[str]) -> float:
        """The largest over some parameters of the root mean square entry of (H − H₆₄)ε; 0 where it was not measured."""
        sizes = {p.name: p.size for p in self._parameters}
        return max((float(np.sqrt(self._errors[n][0] / sizes[n])) for n in names if n in self._errors), default=0.0)

    def of_trace(self, names: Sequence[str]) -> float:
        """|εᵀ(H − H₆₄)ε| over these parameters' entries: what rounding does to a trace, once."""
        return _SAFETY * sum(self._errors[name][2] for name in names if name in self._errors)

    def frobenius(self, names: Sequence[str]) -> float:
        """‖H₆₄ε‖ over these parameters' entries, which is the Frobenius norm of their rows on average."""
        return float(np.sqrt(sum(self._errors[name][1] for name in names if name in self._errors)))

    def of_products(self, block: Block, vectors: Array, products: Array) -> Array:
        """How far products are off, (k,): what these very vectors' are, or what random signs' are, whichever is more.

        Args:
            block: of the vectors.
            vectors: unit ones, (k, n).
            products: their lengths, (k,).
        """
        least = self.relative(block.names) * np.abs(products)
        pairs = (self._pair(block, vector) for vector in vectors)
        own = np.array([0.0 if pair is None else float(np.linalg.norm(pair[0] - pair[1])) for pair in pairs])
        found: Array = np.maximum(_SAFETY * own, least)
        return found

    def largest(self, block: Block, scale: float) -> float:
        """About the spectral norm of H − H₆₄: how far any eigenvalue may be moved.

        Args:
            block: whose.
            scale: its largest eigenvalue in magnitude.
        """
        found = self.relative(block.names) * scale
        vector = signs(self._seed, f"rounding:{block.name}:largest", 0, (block.size,))
        for _ in range(_STEPS if block.size else 0):
            length = float(np.linalg.norm(vector))
            pair = self._pair(block, vector / length) if length else None
            if pair is None:
                break
            vector = pair[0] - pair[1]
            found = max(found, _SAFETY * float(np.linalg.norm(vector)))
        return found

    def state(self) -> dict[str, Array]:
        """What random signs gave."""
        return {name: np.array(entry) for name, entry in self._errors.items()}

    def restore(self, state: dict[str, Array]) -> int:
        """Take it up."""
        self._errors = {name: (float(e[0]), float(e[1]), float(e[2])) for name, e in state.items()}
        return 0


def _product(objective: Objective, block: Block, vector: Array) -> Array:
    total = np.zeros(len(vector))
    for batch in objective.batches(block.names):
        total += batch.hessian_products(block.names, vector[None])[0]
    return total / objective.denominator
