"""How strongly layers are coupled, from the squares of products, with errors by the jackknife."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.curvature.student import widening, widening_for_skewness
from curvcli.models.base import Array

# Figures that change by no more than this when a probe is left out do not depend on it.
_EQUAL = 1e-12


@dataclass(frozen=True, eq=False)
class BlockSquares:
    """What products with vectors of each block gave.

    Attributes:
        rows: of every block j, (probes, blocks): ‖H_ij z‖² for every block i; one row of sums for an exact one.
        exact: which blocks' are sums over all unit vectors.
    """

    rows: tuple[Array, ...]
    exact: tuple[bool, ...]

    def means(self) -> Array:
        """An estimate of ‖H_ij‖² at [j, i], or that itself."""
        return np.stack([rows.mean(0) for rows in self.rows])

    @property
    def asymmetry(self) -> float:
        """How far ‖H_ij‖ from the columns of j differs from that from the columns of i, relative to the largest norm.

        Of blocks that are exact: two computations of one number. 0 where there are none.
        """
        norms = np.sqrt(self.means())
        both = np.logical_and.outer(self.exact, self.exact)
        largest = float(norms[both].max(initial=0.0))
        return float(np.abs(norms - norms.T)[both].max(initial=0.0)) / largest if largest else 0.0


@dataclass(frozen=True, eq=False)
class Figures:
    """What follows from ‖H_ij‖², all arrays by the same places.

    Attributes:
        norms: ‖H_ij‖_F, (blocks, blocks).
        values: ‖H_ij‖² / (‖H_ii‖ ‖H_jj‖), (blocks, blocks); NaN where a block of the two is zero.
        outside: Σ_{j≠i} ‖H_ij‖² / Σ_j ‖H_ij‖², (blocks,); NaN where all is zero.
    """

    norms: Array
    values: Array
    outside: Array

    @classmethod
    def of(cls, means: Array, exact: tuple[bool, ...]) -> Figures:
        """From an estimate of ‖H_ij‖² at [j, i]: an exact one where there is one, else the mean of both."""
        sure = np.array(exact)
        squares = (means + means.T) / 2
        squares = np.where(sure[:, None] & ~sure[None, :], means, squares)
        squares = np.where(~sure[:, None] & sure[None, :], means.T, squares)
        own = np.diag(squares)
        with np.errstate(all="ignore"):
            values = squares / np.sqrt(np.multiply.outer(own, own))
            np.fill_diagonal(values, np.where(own > 0, 1.0, own / own))
            outside = 1 - own / squares.sum(1)
        return cls(np.sqrt(squares), values, outside)

    def stacked(self) -> Array:
        """All of them, (blocks, 2 · blocks + 1)."""
        return np.concatenate([self.norms, self.values, self.outside[:, None]], axis=1)


@dataclass(frozen=True, eq=False)
class Coupling:
    """How strongly blocks are coupled; all arrays but two (blocks, blocks).

    Attributes:
        norms: see ``Figures``.
        norms_stderr: their standard errors, 0 where exact.
        values: see ``Figures``.
        stderr: their standard errors, 0 where exact.
        degrees: of freedom of these; infinite where exact.
        outside: see ``Figures``, (blocks,).
        outside_stderr: its standard error, (blocks,).
    """

    norms: Array
    norms_stderr: Array
    values: Array
    stderr: Array
    degrees: Array
    outside: Array
    outside_stderr: Array

    @classmethod
    def of(cls, squares: BlockSquares) -> Coupling:
        """Figures with their errors.

        Each block's probes are left out one at a time (Efron and Stein 1981, The jackknife estimate of variance); those
        of different blocks are independent, so that their variances add up, with the degrees of freedom of Welch and
        Satterthwaite. Errors are widened for few probes and for skewed ones (see ``student``), the latter by the
        pseudo-values of the worst block.
        """
        means, count = squares.means(), len(squares.rows)
        figures = Figures.of(means, squares.exact).stacked()
        variance, weighted, wider = np.zeros_like(figures), np.zeros_like(figures), np.ones_like(figures)
        with np.errstate(all="ignore"):
            for number, rows in enumerate(squares.rows):
                if squares.exact[number]:
                    continue
                probes = len(rows)
                if probes < 2:
                    variance[:] = np.nan
                    continue
                without = np.empty((probes, *figures.shape))
                for left_out in range(probes):
                    changed = means.copy()
                    changed[number] = (rows.sum(0) - rows[left_out]) / (probes - 1)
                    without[left_out] = Figures.of(changed, squares.exact).stacked()
                off = without - without.mean(0)
                off[:, np.abs(off).max(0) <= _EQUAL * np.abs(figures)] = 0.0
                share = (probes - 1) / probes * (off**2).sum(0)
                variance += share
                weighted += share**2 / (probes - 1)
                pseudo = probes * figures - (probes - 1) * without
                for place in zip(*np.nonzero(share > 0), strict=True):
                    wider[place] = max(wider[place], widening_for_skewness(pseudo[(slice(None), *place)]))
            degrees = np.where(variance > 0, variance**2 / weighted, np.where(variance == 0, np.inf, np.nan))
            students = np.vectorize(widening, otypes=[float])(np.nan_to_num(degrees, nan=0.0, posinf=np.inf))
            stderr = np.sqrt(variance) * students * wider
        norms, values, outside = np.split(figures, [count, 2 * count], axis=1)
        errors = np.split(stderr, [count, 2 * count], axis=1)
        return cls(norms, errors[0], values, errors[1], degrees[:, count : 2 * count], outside[:, 0], errors[2][:, 0])
