"""Every matrix, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from curvcli.curvature.matrices.empirical_fisher import EMPIRICAL_FISHER
from curvcli.curvature.matrices.fisher import FISHER
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix

REGISTRY: Final[Mapping[str, Matrix]] = {
    matrix.name: matrix for matrix in (HESSIAN, GAUSS_NEWTON, FISHER, EMPIRICAL_FISHER)
}
MATRICES: Final = tuple(REGISTRY)
