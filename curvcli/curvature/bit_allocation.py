"""How many bits each layer gets, when all of them together have so many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from curvcli.models.base import Array

# How far the solver may miss a constraint, by which the limit is lowered where it did.
_TOLERANCE = 1e-6


def allotted(costs: Array, sizes: Sequence[int], bits: Sequence[int], target: float) -> list[int]:
    """Choose one number of bits per layer, of the least summed cost whose size-weighted mean is at most a target.

    The integer programme: binary x_lb, minimise Σ c_lb x_lb, with Σ_b x_lb = 1 for each layer and
    Σ n_l b x_lb ≤ target Σ n_l.

    Args:
        costs: of each layer by each number of bits, (layers, choices); what is not finite is not chosen.
        sizes: n_l, entries of each layer.
        bits: the choices, ascending or not.
        target: no less than the least of them.

    Returns:
        The place in ``bits`` of each layer's choice.

    Raises:
        ValueError: the target is below every choice, or nothing finite is within it.
    """
    layers, choices = costs.shape
    if target < min(bits):
        raise ValueError(f"no choice of {bits} has a mean of {target}")
    weights = np.outer(np.asarray(sizes, float) / sum(sizes), bits)
    one_each = np.kron(np.eye(layers), np.ones(choices))
    # The solver's tolerances are absolute: the largest difference between two choices is 1 to it.
    allowed = np.isfinite(costs)
    if not allowed.any(axis=1).all():
        raise ValueError("a layer has no finite cost")
    relative = costs - np.where(allowed, costs, np.inf).min(axis=1, keepdims=True)
    relative = np.where(allowed, relative, 0.0)
    relative /= float(relative.max(initial=0.0)) or 1.0
    limit = float(target)
    for _ in range(100):
        solution = milp(
            relative.ravel(),
            constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(weights.ravel()[None], -np.inf, limit)],
            integrality=np.ones(layers * choices),
            bounds=Bounds(0, allowed.ravel().astype(float)),
            options={"mip_rel_gap": 0.0},
        )
        if solution.x is None:
            raise ValueError(f"no allocation was found: {solution.message}")
        places = [int(place) for place in solution.x.reshape(costs.shape).argmax(axis=1)]
        if sum(n * bits[place] for n, place in zip(sizes, places, strict=True)) <= target * sum(sizes):
            return places
        limit -= _TOLERANCE
    raise ValueError("no allocation within the target was found")
