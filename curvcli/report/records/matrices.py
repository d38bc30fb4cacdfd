"""The matrices that a report may hold numbers of, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

HESSIAN: Final = "hessian"
FISHER: Final = "fisher"
MATRICES: Final[Mapping[str, str]] = {
    HESSIAN: "Hessian",
    "gauss_newton": "Gauss–Newton matrix",
    FISHER: "Fisher matrix",
    "empirical_fisher": "empirical Fisher matrix",
}


def named(matrix: str) -> str:
    """Return what a matrix is called in a sentence, ``Hessian``; of several joined by ``+``, all of them."""
    return " and ".join(MATRICES.get(word, word) for word in matrix.split("+"))


def named_together(matrices: Iterable[str]) -> str:
    """Return what the matrices of a whole column are called: the one that all rows share, or where to find which."""
    words = {word for matrix in matrices for word in matrix.split("+") if word}
    return named(words.pop() if words else HESSIAN) if len(words) < 2 else "matrix that the column matrix names"
