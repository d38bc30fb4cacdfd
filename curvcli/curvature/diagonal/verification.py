"""Holds reported diagonals against products made for that alone: whatever the method, a product is the definition.

For each parameter one product with a unit vector e_i gives H_ii. For one parameter in two the entry is drawn with
probability proportional to its reported size, so that it is one that matters; for the others uniformly, so that entries
that are zero and should not be are met too. For parameters that the loss is said not to depend on, one product with
random signs must be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.probes import signs, uniform
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective, Parameter

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


class Verification:
    """Products for some parameters (see ``BlockWork``).

    Attributes:
        spent: products made over every batch.
    """

    def __init__(
        self, reached: Sequence[Parameter], unreached: Sequence[Parameter], reported: Reported, seed: int
    ) -> None:
        """Nothing done yet.

        Args:
            reached: parameters with a diagonal.
            unreached: those that the loss is said not to depend on.
            reported: the diagonals, once they are there.
            seed: of the run.
        """
        self._reached = tuple(p for p in reached if p.size)
        self._unreached = tuple(p for p in unreached if p.size)
        self._reported, self._seed = reported, seed
        self._places: dict[str, int] = {}
        self._sums = {p.name: 0.0 for p in self._reached}
        self._rows = {p.name: np.zeros(p.size) for p in self._unreached}
        self._batch, self._position = 0, 0
        self._denominator = 1.0

    @property
    def at_most(self) -> bool:
        """All are made."""
        return False

    @property
    def products(self) -> int:
        """One per parameter, and one for all that are said to be unreached."""
        return len(self._reached) + bool(self._unreached)

    @property
    def spent(self) -> int:
        """All of them, or none yet."""
        return self.products

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Batch by batch, product by product."""
        self._denominator = objective.denominator
        names = [p.name for p in (*self._reached, *self._unreached)]
        self._places = {p.name: self._place(p) for p in self._reached}
        for batch in objective.batches(names, start=self._batch):
            for p in self._reached[self._position :]:
                self._sums[p.name] += batch.diagonal_entries({p.name: self._places[p.name]})[p.name]
                self._position += 1
                on_step(1)
            if self._unreached:
                block = tuple(p.name for p in self._unreached)
                probes = [signs(self._seed, f"verify:{p.name}", 0, (p.size,)) for p in self._unreached]
                (row,) = batch.hessian_products(block, np.concatenate(probes)[None])
                ends = np.cumsum([p.size for p in self._unreached])[:-1]
                for p, part in zip(self._unreached, np.split(row, ends), strict=True):
                    self._rows[p.name] += part
            self._batch, self._position = self._batch + 1, 0
            on_step(bool(self._unreached))

    def _place(self, parameter: Parameter) -> int:
        drawn, by_size = (uniform(self._seed, f"verify:{parameter.name}", number) for number in (0, 1))
        reported = self._reported(parameter.name)
        if reported is not None and by_size < 1 / 2:
            sizes = np.abs(np.nan_to_num(np.asarray(reported, dtype=np.float64).reshape(-1), posinf=0.0, neginf=0.0))
            shares = np.cumsum(sizes)
            if shares[-1] > 0:
                return int(min(np.searchsorted(shares, drawn * shares[-1], side="right"), parameter.size - 1))
        return int(drawn * parameter.size)

    def result(self, name: str) -> Verified | None:
        """What was found of a parameter; None where it has no entries, or nothing was made yet."""
        if name in self._sums and self._places:
            return Verified(self._places[name], self._sums[name] / self._denominator)
        if name in self._rows:
            return Verified(0, float(np.abs(self._rows[name]).max()) / self._denominator)
        return None

    def state(self) -> dict[str, Array]:
        """Sums, and how far they go."""
        numbers = np.array([self._sums[p.name] for p in self._reached])
        found = {"place": np.array([float(self._batch), float(self._position)]), "sums": numbers}
        return found | {f"row:{name}": row for name, row in self._rows.items()}

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._batch, self._position = (int(n) for n in state["place"])
        self._sums = {p.name: float(n) for p, n in zip(self._reached, state["sums"], strict=True)}
        self._rows = {name: state[f"row:{name}"].copy() for name in self._rows}
        return self._batch * self.products + self._position
