"""The spectral density by stochastic Lanczos quadrature (Golub, Meurant 1994; Ghorbani, Krishnan, Xiao 2019).

From a random v, m Lanczos steps give Ritz values θ_j and weights w_j (the squared first components of T's eigenvectors)
with Σ_j w_j p(θ_j) = vᵀ p(H) v / ‖v‖² for every polynomial p of degree 2m − 1: the mean over v has the moments of the
spectrum. The density on a grid is these atoms under Gaussians.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps, within
from curvcli.curvature.krylov import Krylov
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.curvature.student import mean_error
from curvcli.models.base import Array
from curvcli.models.vectors import VectorSpace

_GRID = 1001
# The Gaussians' width, and how far the grid goes beyond the outermost atom, as shares of the support.
_WIDTH, _MARGIN = 0.01, 0.05


@dataclass(frozen=True)
class Density:
    """Atoms and the density made of them.

    Attributes:
        nodes: (probes, m), eigenvalues or Ritz values.
        weights: (probes, m); each row sums to 1.
        grid: (g,).
        density: (g,), mean over probes.
        density_stderr: (g,), over probes; 0 where exact, NaN for one probe.
        bandwidth: of the Gaussians.
        weight_at_zero: share of eigenvalues that are zero to within the tolerance where all are known; else the most
            that the moments allow to be zero, which more steps bring down to that share.
        weight_at_zero_stderr: over probes.
        support: (smallest, largest) atom.
        estimates: from how many the errors are; none where the spectrum is known.
        degrees: of freedom of the errors; infinite where it is known.
        independent: whether the estimates are independent of each other.
    """

    nodes: Array
    weights: Array
    grid: Array
    density: Array
    density_stderr: Array
    bandwidth: float
    weight_at_zero: float
    weight_at_zero_stderr: float
    support: tuple[float, float]
    estimates: int
    degrees: float
    independent: bool


def smoothed(nodes: Array, weights: Array, zero: Array, *, exact: bool) -> Density:
    """Put Gaussians on atoms.

    Args:
        nodes: (probes, m).
        weights: (probes, m).
        zero: the weight at zero of each probe, (probes,).
        exact: whether the atoms are all eigenvalues; then there is no random error.
    """
    used = nodes[weights > 0] if (weights > 0).any() else np.zeros(1)
    low, high = float(used.min()), float(used.max())
    spread = high - low if high > low else max(abs(high), 1.0)
    grid = np.linspace(low - _MARGIN * spread, high + _MARGIN * spread, _GRID)
    bandwidth = _WIDTH * spread
    each = np.array([_on_grid(x, w, grid, bandwidth) for x, w in zip(nodes, weights, strict=True)])
    count = len(nodes)
    error = np.sqrt(count) if count > 1 else float("nan")

    def stderr(samples: Array) -> Array:
        return np.zeros(samples.shape[1:]) if exact else samples.std(axis=0, ddof=min(1, count - 1)) / error

    return Density(
        nodes,
        weights,
        grid,
        each.mean(0),
        stderr(each),
        bandwidth,
        float(zero.mean()),
        float(stderr(zero)),
        (low, high),
        estimates=0 if exact else count,
        degrees=float("inf") if exact else count - 1.0,
        independent=not exact,
    )


def exact_density(values: Array, tolerance: float) -> Density:
    """The density of a spectrum that is known.

    Args:
        values: all eigenvalues, (n,); none are one zero.
        tolerance: magnitudes up to this are zero to rounding.
    """
    values = values if len(values) else np.zeros(1)
    weights = np.full((1, len(values)), 1.0 / len(values))
    zero = np.mean(np.abs(values) <= tolerance, keepdims=True)
    return smoothed(values[None], weights, zero, exact=True)


def largest_weight_at_zero(nodes: Array, weights: Array, tolerance: float) -> float:
    """The most that a measure with these moments can have within the tolerance of zero.

    It has no more between two nodes than all nodes from the one to the other weigh together, both included (Chebyshev,
    Markov, Stieltjes; Szegő, Orthogonal Polynomials, § 3.41). What Ritz values at zero weigh says less: until one has
    converged, the whole null space is carried by one beside it.

    Args:
        nodes: Ritz values of one probe, (m,).
        weights: theirs, (m,), with sum 1; zero for the steps that a Krylov space which ended early has not.
        tolerance: magnitudes up to this are zero to rounding.
    """
    if not np.isfinite(nodes).all():
        return float("nan")
    order = np.argsort(nodes[weights > 0])
    x, w = nodes[weights > 0][order], weights[weights > 0][order]
    first, last = np.searchsorted(x, -tolerance, "left"), np.searchsorted(x, tolerance, "right")
    if len(x) < len(nodes):  # The Krylov space ended: these atoms are the measure.
        return float(w[first:last].sum())
    return float(min(w[max(first - 1, 0) : last + 1].sum(), 1.0))


def _on_grid(nodes: Array, weights: Array, grid: Array, width: float) -> Array:
    """Σ_j w_j N(x; θ_j, width²) at every x of the grid."""
    total = np.zeros(len(grid))
    for start in range(0, len(nodes), 256):
        part = slice(start, start + 256)
        distance = (grid[:, None] - nodes[part][None]) / width
        total += np.exp(-0.5 * distance**2) @ weights[part]
    return np.asarray(total / (width * np.sqrt(2 * np.pi)))


@dataclass
class Quadrature:
    """Atoms of the probes so far.

    Attributes:
        size: n, entries of the block.
        nodes: Ritz values, (probes, steps).
        weights: theirs, (probes, steps); each row sums to 1.
        squares: vᵀH²v of each probe, (probes,): their mean is ‖H‖_F².
        stretch: the least ‖Hy‖/‖y‖ seen, an upper bound of the smallest |eigenvalue|.
        products: made.
    """

    size: int
    nodes: Array
    weights: Array
    squares: Array = field(default_factory=lambda: np.zeros(0))
    stretch: float = float("inf")
    products: int = 0

    @classmethod
    def of(cls, size: int, steps: int, kept: Mapping[str, Array] | None) -> Quadrature:
        """None yet, or what ``arrays`` gave."""
        if kept is None:
            return cls(size, np.zeros((0, steps)), np.zeros((0, steps)))
        stretch, products = (float(n) for n in kept["numbers"])
        stretch = stretch if stretch >= 0 else float("inf")
        return cls(size, kept["nodes"], kept["weights"], kept["squares"], stretch, int(products))

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, by name."""
        numbers = np.array([self.stretch if np.isfinite(self.stretch) else -1.0, float(self.products)])
        return {"nodes": self.nodes, "weights": self.weights, "squares": self.squares, "numbers": numbers}

    def add(self, process: Krylov) -> None:
        """Take in the result of one more probe."""
        process.solve()
        nodes, weights = process.ritz, process.shares
        short = self.nodes.shape[1] - len(nodes)
        # A Krylov space that ended early leaves fewer atoms; the row is filled up with weightless ones.
        padded = np.pad(nodes, (0, short), mode="edge"), np.pad(weights, (0, short))
        self.nodes = np.concatenate([self.nodes, padded[0][None]])
        self.weights = np.concatenate([self.weights, padded[1][None] / weights.sum()])
        self.squares = np.append(self.squares, float((weights * nodes**2).sum() / weights.sum()) * self.size)
        self.stretch = min(self.stretch, process.smallest_stretch())

    def frobenius(self) -> tuple[float, float]:
        """‖H‖_F, whose square is the mean of ‖Hv‖² over random signs, and its standard error."""
        frobenius = float(np.sqrt(float(self.squares.mean())))
        return frobenius, mean_error(self.squares) / (2 * frobenius) if frobenius else 0.0

    def condition(self) -> float:
        """A lower bound of |λ|max / |λ|min: ‖Hy‖ over a Krylov space bounds the smallest |eigenvalue| from above."""
        largest = max(abs(edge) for edge in self.density(0.0).support)
        return largest / self.stretch if self.stretch > 0 else float("inf")

    def density(self, tolerance: float) -> Density:
        """What the probes so far say; differences up to ``tolerance`` are rounding."""
        zero = [largest_weight_at_zero(x, w, tolerance) for x, w in zip(self.nodes, self.weights, strict=True)]
        return smoothed(self.nodes, self.weights, np.array(zero), exact=False)


@dataclass(frozen=True)
class LanczosQuadrature:
    """Lanczos from random signs, some probes side by side (see ``Algorithm``).

    Attributes:
        block: whose density it is.
        probes: start vectors.
        most_steps: Lanczos steps from each.
        seed: of the start vectors.
        matrix: which.
        weight_decay: λ.
        vectors: how many of the block's size fit into memory; fewer steps are made where one basis does not.
        start: the only vector to start from, (n,), in place of random signs.
    """

    block: Block
    probes: int
    most_steps: int
    seed: int
    matrix: Matrix
    weight_decay: float
    vectors: int
    start: Array | None = None
    at_most = False

    @property
    def length(self) -> int:
        """Lanczos steps that are made from each."""
        return max(2, min(self.most_steps, self.block.size, self.vectors))

    @property
    def passes_per_batch(self) -> int:
        """One product per step and probe."""
        return self.probes * self.length

    def steps(self, about: About, kept: Mapping[str, Any] | None) -> Steps[Quadrature]:
        """See ``Algorithm``: group after group of probes.

        Raises:
            NotFiniteError: products are no numbers.
        """
        operator = CurvatureOperator.of(about, self.block, self.matrix, self.weight_decay)
        space = operator.space
        quadrature = Quadrature.of(self.block.size, self.length, kept)
        group = [] if kept is None else _group_of(kept, space, self.length)
        while len(quadrature.nodes) < self.probes:
            group = group or self._group(space, len(quadrature.nodes))
            while live := [one for one in group if not (one.full or one.exhausted)]:
                yield Keep({**quadrature.arrays(), **_arrays(group)})
                vectors = space.joined([one.current for one in live])
                products = yield from operator.finite_times(vectors, live[0].next if len(live) == 1 else None)
                quadrature.products += len(live)
                for place, one in enumerate(live):
                    one.extend(products[place : place + 1])
            for one in group:
                quadrature.add(one)
            group = []
        yield Keep(quadrature.arrays())
        return quadrature

    def _group(self, space: VectorSpace, first: int) -> list[Krylov]:
        """The next probes: as many as there is room for."""
        together = max(1, self.vectors // self.length)
        numbers = range(first, min(first + together, self.probes))
        starts = space.signs(self.seed, f"{self.block.name}:density", numbers) if self.start is None else None
        if starts is None:
            starts = space.from_numpy(np.asarray(self.start)[None])
        rooms = (space.room(self.length) for _ in range(len(starts)))
        return [Krylov(space, starts[i : i + 1], room, room=self.length) for i, room in enumerate(rooms)]


def _arrays(group: list[Krylov]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for place, one in enumerate(group):
        arrays |= {f"group {place}:{name}": values for name, values in {**one.state(), "basis": one.basis}.items()}
    return arrays


def _group_of(kept: Mapping[str, Any], space: VectorSpace, length: int) -> list[Krylov]:
    """The processes that were under way."""
    group: list[Krylov] = []
    while state := within(kept, f"group {len(group)}:"):
        rows = space.room(length)
        space.store(rows, 0, space.taken(state["basis"]))
        group.append(Krylov.of(state, space, rows))
    return group
