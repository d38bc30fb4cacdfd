"""How far products are off by rounding: the same products, of a few samples, in float64 as well.

What rounding does to a Hessian's product depends on the network: a deep one with batch norm can lose three digits of
seven in its forward pass alone, a saturated softmax all of them in 1 − p. No bound from norms and the unit roundoff is
both safe and useful there, so it is measured. Only what two products of the same samples differ by is used, so a few
samples say enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.operator import Block
from curvcli.models.base import Array, Parameter
from curvcli.models.probes import signs

# In units of the last place, what the arithmetic of a run without a more precise one beside it is taken to lose.
_UNITS = 64.0
_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}
# A few samples and one vector see less than all: what they show is taken so many times.
_SAFETY = 4.0
# Products that the largest rounding of any vector is sought by.
_STEPS = 3
# Beyond this share of what it is an error of, rounding has spoilt a result.
SPOILT = 1e-3

# A product of the Hessian of a few samples with a vector of a block, (n,) → (n,), divided.
Multiply = Callable[[Block, Array], Array]
# Makes two of the same few samples, in the run's dtype and in float64; None where there is no such model.
Twins = Callable[[], tuple[Multiply, Multiply] | None]


class Pair:
    """Products in the run's dtype and in float64, of the same few samples."""

    def __init__(self, twins: Twins, dtype: str) -> None:
        """Open nothing before it is needed.

        Args:
            twins: called once.
            dtype: of the run.
        """
        self._make, self._dtype = twins, dtype

    @cached_property
    def _twins(self) -> tuple[Multiply, Multiply] | None:
        return self._make() if self._dtype == "float32" else None

    def products(self, block: Block, vector: Array) -> tuple[Array, Array] | None:
        """A product by both; None without a more precise one."""
        if self._twins is None:
            return None
        plain, precise = (multiply(block, vector) for multiply in self._twins)
        return plain, precise


@dataclass(frozen=True)
class Rounding:
    """What random signs showed of the rounding of products, and further products where they say more.

    Attributes:
        parameters: of all blocks.
        pair: makes products.
        seed: of the vectors.
        dtype: of the run.
        errors: per parameter ‖(H − H₆₄)ε‖², ‖H₆₄ε‖² and |εᵀ(H − H₆₄)ε| over its entries.
    """

    parameters: tuple[Parameter, ...]
    pair: Pair
    seed: int
    dtype: str
    errors: Mapping[str, tuple[float, float, float]]

    def _pair(self, block: Block, vector: Array) -> tuple[Array, Array] | None:
        return self.pair.products(block, vector)

    def relative(self, names: Sequence[str]) -> float:
        """‖(H − H₆₄)ε‖ / ‖H₆₄ε‖ over these parameters' entries: the share of a product that is rounding, at most 1."""
        errors = [self.errors[name] for name in names if name in self.errors]
        least = _UNITS * _EPSILON[self.dtype]
        error, size = (float(np.sqrt(sum(entry[i] for entry in errors))) for i in (0, 1))
        if not errors or not error or not np.isfinite(error + size):
            return least
        return float(min(max(_SAFETY * error / size if size else 1.0, _EPSILON[self.dtype]), 1.0))

    def noise(self, names: Sequence[str]) -> float:
        """The largest over some parameters of the root mean square entry of (H − H₆₄)ε; 0 where it was not measured."""
        sizes = {p.name: p.size for p in self.parameters}
        return max((float(np.sqrt(self.errors[n][0] / sizes[n])) for n in names if n in self.errors), default=0.0)

    def of_trace(self, names: Sequence[str]) -> float:
        """|εᵀ(H − H₆₄)ε| over these parameters' entries: what rounding does to a trace, once."""
        return _SAFETY * sum(self.errors[name][2] for name in names if name in self.errors)

    def frobenius(self, names: Sequence[str]) -> float:
        """‖H₆₄ε‖ over these parameters' entries, which is the Frobenius norm of their rows on average."""
        return float(np.sqrt(sum(self.errors[name][1] for name in names if name in self.errors)))

    def of_products(self, block: Block, vectors: Array, products: Array) -> Array:
        """How far products are off, (k,): what these very vectors' are, or what random signs' are, whichever is more.

        Args:
            block: of the vectors.
            vectors: unit ones, (k, n).
            products: their lengths, (k,).
        """
        least = self.relative(block.names) * np.abs(products)
        pairs = (self._pair(block, vector) for vector in vectors)
        errors = np.array([0.0 if pair is None else float(np.linalg.norm(pair[0] - pair[1])) for pair in pairs])
        bounds: Array = np.maximum(_SAFETY * errors, least)
        return bounds

    def largest(self, block: Block, scale: float) -> float:
        """About the spectral norm of H − H₆₄: how far any eigenvalue may be moved.

        Args:
            block: whose.
            scale: its largest eigenvalue in magnitude.
        """
        bound = self.relative(block.names) * scale
        vector = signs(self.seed, f"rounding:{block.name}:largest", 0, (block.size,))
        for _ in range(_STEPS if block.size else 0):
            length = float(np.linalg.norm(vector))
            pair = self._pair(block, vector / length) if length else None
            if pair is None:
                break
            vector = pair[0] - pair[1]
            bound = max(bound, _SAFETY * float(np.linalg.norm(vector)))
        return bound


@dataclass(frozen=True)
class MeasuredRounding:
    """One product with random signs for all parameters together, twice (see ``Algorithm``); no pass over the data.

    Attributes:
        parameters: of all blocks.
        twins: called when first needed.
        seed: of the vectors.
        dtype: of the run.
    """

    parameters: tuple[Parameter, ...]
    twins: Twins
    seed: int
    dtype: str
    passes_per_batch = 0
    at_most = False

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Rounding]:
        """See ``Algorithm``."""
        pair, parameters = Pair(self.twins, self.dtype), tuple(p for p in self.parameters if p.size)
        if kept is None:
            kept = {name: np.array(sizes) for name, sizes in self._measured(pair, parameters).items()}
        yield Keep(kept)
        errors = {name: (float(e[0]), float(e[1]), float(e[2])) for name, e in kept.items()}
        return Rounding(parameters, pair, self.seed, self.dtype, errors)

    def _measured(self, pair: Pair, parameters: tuple[Parameter, ...]) -> dict[str, tuple[float, float, float]]:
        if not parameters:
            return {}
        vector = np.concatenate([signs(self.seed, f"rounding:{p.name}", 0, (p.size,)) for p in parameters])
        products = pair.products(Block("", parameters), vector)
        if products is None:
            return {}
        plain, precise = products
        errors, start = {}, 0
        for p in parameters:
            here = slice(start, start + p.size)
            start += p.size
            error, size = plain[here] - precise[here], precise[here]
            errors[p.name] = float(error @ error), float(size @ size), abs(float(error @ vector[here]))
        return errors
