"""The matrices that results are of, as reports call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Name to title, as it stands after "of the".
TITLES: Final[Mapping[str, str]] = {
    "hessian": "Hessian",
    "gauss_newton": "Gauss–Newton matrix",
    "fisher": "Fisher matrix",
    "empirical_fisher": "empirical Fisher matrix",
}


def check_matrix(owner: str, matrix: str) -> None:
    """Make sure that a matrix is known.

    Raises:
        ValueError: it is not.
    """
    if matrix not in TITLES:
        raise ValueError(f"{owner}: matrix {matrix!r} is not one of {', '.join(TITLES)}")
