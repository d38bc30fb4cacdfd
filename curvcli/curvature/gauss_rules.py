"""Gauss quadrature from Lanczos, made shorter, or with a node where the spectrum ends (Golub, Meurant 2010).

A rule of m nodes is the eigenvalues and first components of a tridiagonal matrix, and that matrix can be had back from
nodes and weights (*Matrices, Moments and Quadrature*, 4). Without its last row it is the rule of fewer steps; with
another last entry it has a node that is prescribed (6.2).
"""

from __future__ import annotations

import numpy as np

from curvcli.models.base import Array

# What is shorter than this, relative to the largest node, is rounding: there are no more nodes.
_EXHAUSTED = 1e-13
# How far below the spectrum a node is put, relative to the largest: on it, a matrix would be singular.
_BELOW = 1e-13


def tridiagonal(nodes: Array, weights: Array, steps: int) -> Array:
    """The matrix of a rule's first steps, (k, k); fewer than ``steps`` where there are no more nodes.

    Lanczos on the diagonal matrix of all nodes, from the roots of their weights, gives the coefficients that they were
    made of.

    Args:
        nodes: (m,).
        weights: (m,), with sum 1.
        steps: at most m.
    """
    basis = np.zeros((steps, len(nodes)))
    matrix, vector = np.zeros((steps, steps)), np.sqrt(weights)
    for step in range(steps):
        basis[step] = vector / np.linalg.norm(vector)
        product = nodes * basis[step]
        matrix[step, step] = basis[step] @ product
        for _ in range(2):  # rounding is taken out
            product -= basis[: step + 1].T @ (basis[: step + 1] @ product)
        length = float(np.linalg.norm(product))
        if step + 1 == steps or length <= _EXHAUSTED * float(np.abs(nodes).max(initial=0.0)):
            return matrix[: step + 1, : step + 1]
        matrix[step, step + 1] = matrix[step + 1, step] = length
        vector = product
    return matrix


def shorter(nodes: Array, weights: Array, steps: int) -> tuple[Array, Array]:
    """What a rule would have been after fewer Lanczos steps: its nodes and weights, (steps,) each.

    Args:
        nodes: (m,).
        weights: (m,), with sum 1.
        steps: at most m.
    """
    values, vectors = np.linalg.eigh(tridiagonal(nodes, weights, steps))
    return values, vectors[0] ** 2


def with_node_below(nodes: Array, weights: Array, lowest: float) -> tuple[Array, Array]:
    """The Gauss–Radau rule of as many nodes, the first of them where the spectrum ends, or below all nodes.

    For a function whose odd derivatives are positive and whose even ones are negative, as log(1 + x/α), the Gauss rule
    gives more than the integral, and this one less.

    Args:
        nodes: of a Gauss rule, (m,), m at least 2.
        weights: (m,), with sum 1.
        lowest: what no eigenvalue is below.
    """
    matrix = tridiagonal(nodes, weights, len(nodes))
    end = min(lowest, float(nodes.min())) - _BELOW * float(np.abs(nodes).max())
    if len(matrix) > 1:
        before = matrix[:-1, :-1] - end * np.eye(len(matrix) - 1)
        right = np.zeros(len(before))
        right[-1] = matrix[-1, -2] ** 2
        matrix[-1, -1] = end + np.linalg.solve(before, right)[-1]
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors[0] ** 2
