"""A name that nobody knows is an error wherever a choice goes by it: none falls through to a default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from curvcli.curvature.diagonal.estimators import Effort, plan_estimates
from curvcli.curvature.trace.estimate import Rule
from curvcli.curvature.trace.registry import estimators
from curvcli.models.base import Site

from .conftest import one_block, vector_parameter

UNKNOWN: Any = "hinge"
RULE = Rule(8, None, 0, 1.0, np.ones(1), 0.0)
EFFORT = Effort(8, None, 0, 3, None, 1 << 30)


def trace_of(size: int) -> object:
    return estimators([one_block(size)], None, UNKNOWN, RULE, 1 << 30)


def diagonal_of() -> object:
    parameter = vector_parameter(20)
    site = Site("p", reached=True, why_not="a matrix")
    return plan_estimates([parameter], {parameter.name: site}, UNKNOWN, EFFORT)


PLACES: dict[str, Callable[[], object]] = {
    "trace of a block": lambda: trace_of(20),
    "trace of a small block": lambda: trace_of(2),
    "diagonal": diagonal_of,
}


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_name_is_an_error(place: str) -> None:
    """The type checker proves that none is forgotten; what gets past it is told at once, with the name."""
    with pytest.raises((AssertionError, ValueError), match=UNKNOWN):
        PLACES[place]()
