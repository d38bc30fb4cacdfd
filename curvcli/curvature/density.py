"""The spectral density by stochastic Lanczos quadrature (Golub, Meurant 1994; Ghorbani, Krishnan, Xiao 2019).

From a random v, m Lanczos steps give Ritz values θ_j and weights w_j (the squared first components of T's eigenvectors)
with Σ_j w_j p(θ_j) = vᵀ p(H) v / ‖v‖² for every polynomial p of degree 2m − 1: the mean over v has the moments of the
spectrum. The density on a grid is these atoms under Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.curvature.lanczos import Lanczos
from curvcli.curvature.operator import Block, CurvatureOperator, Flight, Matrix, finite
from curvcli.curvature.probes import signs
from curvcli.curvature.threads import blas_on_one_thread
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective

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
    )


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


class QuadratureWork:
    """Lanczos from random signs, some probes side by side (see ``BlockWork``).

    Attributes:
        spent: products made.
        stretch: the least ‖Hy‖/‖y‖ seen, an upper bound of the smallest |eigenvalue|.
        squares: vᵀH²v of each probe, (probes,): their mean is ‖H‖_F².
    """

    def __init__(
        self,
        block: Block,
        *,
        probes: int,
        steps: int,
        seed: int,
        matrix: Matrix,
        weight_decay: float,
        vectors: int,
    ) -> None:
        """Nothing done yet.

        Args:
            block: whose density it is.
            probes: start vectors.
            steps: Lanczos steps from each.
            seed: of the start vectors.
            matrix: Hessian or Gauss–Newton.
            weight_decay: λ.
            vectors: how many of the block's size fit into memory; fewer steps are made where one basis does not.
        """
        self.block, self._probes, self._seed = block, probes, seed
        self._matrix, self._decay = matrix, weight_decay
        self.steps = max(2, min(steps, block.size, vectors))
        self._together = max(1, vectors // self.steps)
        self._nodes = np.zeros((0, self.steps))
        self._weights = np.zeros((0, self.steps))
        self.squares = np.zeros(0)
        self.stretch = float("inf")
        self.spent = 0
        self._group: Lanczos | None = None
        self._flight = Flight()

    @property
    def at_most(self) -> bool:
        """All are made."""
        return False

    @property
    def products(self) -> int:
        """One per step and probe."""
        return self._probes * self.steps

    @blas_on_one_thread
    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Group after group of probes."""
        operator = CurvatureOperator(
            objective, matrix=self._matrix, weight_decay=self._decay, flight=self._flight, on_step=on_step
        )

        def times(rows: Array) -> Array:
            products = finite(operator.times(self.block, rows), self.block.name)
            self.spent += len(rows)
            return products

        while len(self._nodes) < self._probes:
            self._group = self._group or Lanczos(self._starts(), self.steps)
            for tridiagonal in self._group.run(times):
                self._add(*tridiagonal.ritz())
                self.stretch = min(self.stretch, tridiagonal.smallest_stretch())
            self._group = None

    def _starts(self) -> Array:
        """Those of the next group."""
        first = len(self._nodes)
        numbers = range(first, min(first + self._together, self._probes))
        return np.stack([signs(self._seed, f"{self.block.name}:density", i, (self.block.size,)) for i in numbers])

    def _add(self, nodes: Array, weights: Array) -> None:
        short = self.steps - len(nodes)
        # A Krylov space that ended early leaves fewer atoms; the row is filled up with weightless ones.
        padded = np.pad(nodes, (0, short), mode="edge"), np.pad(weights, (0, short))
        self._nodes = np.concatenate([self._nodes, padded[0][None]])
        self._weights = np.concatenate([self._weights, padded[1][None] / weights.sum()])
        self.squares = np.append(self.squares, float((weights * nodes**2).sum() / weights.sum()) * self.block.size)

    def density(self, tolerance: float) -> Density:
        """What the probes so far say; differences up to ``tolerance`` are rounding."""
        zero = [largest_weight_at_zero(x, w, tolerance) for x, w in zip(self._nodes, self._weights, strict=True)]
        return smoothed(self._nodes, self._weights, np.array(zero), exact=False)

    @property
    def nodes(self) -> Array:
        """Ritz values so far, (probes, steps)."""
        return self._nodes

    def state(self) -> dict[str, Array]:
        """Atoms of the finished probes, and the bases of those in work."""
        numbers = np.array([self.stretch if np.isfinite(self.stretch) else -1.0, float(self.spent)])
        kept = {"nodes": self._nodes, "weights": self._weights, "squares": self.squares, "numbers": numbers}
        group = {} if self._group is None else self._group.state()
        return kept | group | self._flight.state()

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._nodes, self._weights, self.squares = state["nodes"], state["weights"], state["squares"]
        self.stretch = float(state["numbers"][0]) if state["numbers"][0] >= 0 else float("inf")
        self.spent = int(state["numbers"][1])
        self._group = Lanczos.of(state) if "lanczos step" in state else None
        self._flight.restore(state)
        return self.spent
