"""A name that nobody knows is an error wherever a choice goes by it: none falls through to a default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from curvcli.curvature.trace.work import estimators

from curvcli.curvature import loss_hessian
from curvcli.curvature.diagonal.estimators import Effort, plan_estimates
from curvcli.curvature.operator import CurvatureOperator
from curvcli.curvature.trace.estimate import Rule
from curvcli.errors import DataError
from curvcli.models.base import OutputState, Site
from curvcli.models.loss import BatchLoss, TargetReader, check_declaration, loss_sum, resolve_link, total_weight
from curvcli.spec.dataset import LossSpec

from .conftest import Quadratic, one_block, vector_parameter

UNKNOWN: Any = "hinge"
VALUES = np.full((2, 3), 0.25)
STATE = OutputState(UNKNOWN, VALUES, VALUES, np.ones((2, 1)), 1.0)
LOSS = LossSpec.model_construct(name=UNKNOWN, from_logits=True, class_weights=None, ignore_index=None)
RULE = Rule(8, None, 0, 1.0, np.ones(1), 0.0)
EFFORT = Effort(8, None, 0, 3, None, 1 << 30)


def trace_of(size: int) -> object:
    return estimators([one_block(size)], None, UNKNOWN, RULE, 1 << 30)


def diagonal_of() -> object:
    parameter = vector_parameter(20)
    site = Site("p", reached=True, why_not="a matrix")
    return plan_estimates([parameter], {parameter.name: site}, UNKNOWN, EFFORT)


def product() -> object:
    block = one_block(4)
    return CurvatureOperator(Quadratic(np.eye(4), block.parameters), matrix=UNKNOWN).times(block, np.eye(4))  # type: ignore[arg-type]


PLACES: dict[str, Callable[[], object]] = {
    "link of a loss": lambda: resolve_link(LOSS, None, "m.pt"),
    "check of a declaration": lambda: check_declaration(LOSS, UNKNOWN, VALUES, -1, "m.pt"),
    "targets": lambda: TargetReader(LOSS, "identity", -1, "y").batch(VALUES, (2, 3), [0, 1]),
    "weight": lambda: total_weight(BatchLoss(UNKNOWN, VALUES, np.ones((2, 1)), 1.0, -1), 2),
    "loss": lambda: loss_sum(STATE),
    "rank of the loss's Hessian": lambda: loss_hessian.rank(STATE),
    "its columns": lambda: loss_hessian.columns(STATE, 0, 2),
    "its product": lambda: loss_hessian.apply(STATE, VALUES[None]),
    "trace of a block": lambda: trace_of(20),
    "trace of a small block": lambda: trace_of(2),
    "diagonal": diagonal_of,
    "matrix": product,
}


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_name_is_an_error(place: str) -> None:
    """The type checker proves that none is forgotten; what gets past it is told at once, with the name."""
    with pytest.raises(AssertionError, match=UNKNOWN):
        PLACES[place]()


def test_a_loss_that_needs_a_target_refuses_to_do_without() -> None:
    """It is not taken for the model's own loss."""
    reader = TargetReader(LossSpec(name="mse"), "identity", -1, "y")
    with pytest.raises(DataError, match="the loss mse compares"):
        reader.batch(None, (2, 3), [0, 1])


def test_columns_of_a_loss_that_is_linear_in_the_output_are_zero() -> None:
    """Its Hessian is none, whatever number of them is asked for."""
    state = OutputState("output", VALUES, np.zeros(0), np.ones(1), 1.0)
    assert loss_hessian.rank(state) == 0
    assert not loss_hessian.columns(state, 0, 2).any()
