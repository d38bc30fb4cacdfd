"""Holds reported diagonals against products made for that alone: whatever the method, a product is the definition.

For each parameter one product with a unit vector e_i gives H_ii. For one parameter in two the entry is drawn with
probability proportional to its reported size, so that it is one that matters; for the others uniformly, so that entries
that are zero and should not be are met too. For parameters that the loss is said not to depend on, one product with
random signs must be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch, Parameter
from curvcli.models.probes import signs, uniform
from curvcli.models.vectors import VectorSpace

# A parameter's reported diagonal, divided and without weight decay; None where it is not known yet.
Reported = Callable[[str], Array | None]
# How far entry and product may be apart, relative to the largest entry: two orders of rounding.
_LIMIT = {"float32": 1e-2, "float64": 1e-7}
# So much of the root mean square of noise may be in a single entry.
_NOISE = 10.0
# A diagonal this far below the largest of its layer may be zero up to rounding.
_NEGLIGIBLE = {"float32": 1e-4, "float64": 1e-6}


@dataclass(frozen=True)
class Verified:
    """What products said of one parameter.

    Attributes:
        place: the flat place of the entry.
        product: H_ii by a product; for a parameter said to be unreached, the largest entry of Hε.
    """

    place: int
    product: float

    def difference(self, reported: Array) -> float:
        """How far the reported entry is from the product."""
        return abs(float(reported.reshape(-1)[self.place]) - self.product) if reported.size else 0.0


def agrees(difference: float, largest: float, largest_of_layer: float, dtype: str, noise: float = 0.0) -> bool:
    """Whether a difference is what two ways to the same number leave of it.

    Args:
        difference: of an entry and its product.
        largest: entry of the parameter's diagonal, in magnitude.
        largest_of_layer: the same over all parameters of the layer.
        dtype: of the computation.
        noise: what entries of products are known to be off by: a diagonal of zeros has no scale of its own.
    """
    return difference <= max(_LIMIT[dtype] * max(largest, _NEGLIGIBLE[dtype] * largest_of_layer), _NOISE * noise)


@dataclass(frozen=True)
class EntryTask(ParameterTask):
    """One entry of some parameters' diagonals by a product each, and for all others one product with random signs.

    Attributes:
        places: per parameter with a diagonal the flat place of the entry, and the parameter's size.
        matrix: whose diagonals they are.
        unreached: the others, with their sizes.
        space: of the others' vectors.
        seed: of the signs.
    """

    places: tuple[tuple[str, int, int], ...]
    unreached: tuple[tuple[str, int], ...]
    space: VectorSpace
    seed: int
    matrix: Matrix = HESSIAN

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("entries",)

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``: product by product."""
        return Cut.even(len(self.places) + bool(self.unreached), 1)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        if part.start < len(self.places):
            name, place, size = self.places[part.start]
            return {"entries": self.matrix.entry(batch, name, place, size)}
        names, sizes = tuple(name for name, _ in self.unreached), [size for _, size in self.unreached]
        probes = [signs(self.seed, f"verify:{name}", 0, (size,)) for name, size in self.unreached]
        vector = self.space.from_numpy(np.concatenate(probes)[None])
        row = self.space.to_numpy(self.matrix.products(batch, names, vector))[0]
        return {"entries": np.zeros(1), **dict(zip(names, np.split(row, np.cumsum(sizes)[:-1]), strict=True))}


@dataclass(frozen=True)
class Verification:
    """Products for some parameters (see ``Algorithm``); the result is what they said, by parameter.

    Attributes:
        reached: parameters with a diagonal.
        unreached: those that the loss is said not to depend on.
        reported: the diagonals, once they are there.
        seed: of the run.
        matrix: whose products are made.
    """

    reached: tuple[Parameter, ...]
    unreached: tuple[Parameter, ...]
    reported: Reported
    seed: int
    matrix: Matrix = HESSIAN
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One per parameter, and one for all that are said to be unreached."""
        return sum(p.size > 0 for p in self.reached) + any(p.size for p in self.unreached)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, Verified]]:
        """See ``Algorithm``; parameters without entries are left out."""
        places = tuple((p.name, self._place(p), p.size) for p in self.reached if p.size)
        unreached = tuple((p.name, p.size) for p in self.unreached if p.size)
        if not places and not unreached:
            return {}
        names = (*(name for name, _, _ in places), *(name for name, _ in unreached))
        space = about.space([p for p in self.unreached if p.size])
        sums = yield EntryTask(names, places, unreached, space, self.seed, self.matrix)
        products = zip(places, sums["entries"].tolist(), strict=False)
        verified = {name: Verified(place, product / about.denominator) for (name, place, _), product in products}
        return verified | {
            name: Verified(0, float(np.abs(sums[name]).max()) / about.denominator) for name, _ in unreached
        }

    def _place(self, parameter: Parameter) -> int:
        drawn, by_size = (uniform(self.seed, f"verify:{parameter.name}", number) for number in (0, 1))
        reported = self.reported(parameter.name)
        if reported is not None and by_size < 1 / 2:
            sizes = np.abs(np.nan_to_num(np.asarray(reported, dtype=np.float64).reshape(-1), posinf=0.0, neginf=0.0))
            shares = np.cumsum(sizes)
            if shares[-1] > 0:
                return int(min(np.searchsorted(shares, drawn * shares[-1], side="right"), parameter.size - 1))
        return int(drawn * parameter.size)
