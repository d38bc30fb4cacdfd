"""The softmax's closed forms, to the last digits however sure it is: against 60 decimal digits."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest

from curvcli.losses.interface import End, OutputState, Targets
from curvcli.losses.registry import settle
from curvcli.spec.loss import LossSpec


def state(scale: float, axis: int, shape: tuple[int, ...]) -> OutputState:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
    truth = np.moveaxis(np.eye(shape[axis])[labels], -1, axis)
    weight = np.full([1 if i == axis else n for i, n in enumerate(shape)], 0.75)
    loss = settle(LossSpec(name="cross_entropy", from_logits=True), End(None, axis, "y", "model.pt"))
    return OutputState(
        loss, rng.standard_normal(shape) * scale, Targets(truth, weight, 1.0, float(weight.sum()), np.ones(1))
    )


def rows(array: np.ndarray, axis: int) -> np.ndarray:
    """(places, classes)."""
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


def probabilities(logits: np.ndarray) -> list[Decimal]:
    powers = [(Decimal(float(z)) - Decimal(float(logits.max()))).exp() for z in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(("axis", "shape"), [(1, (3, 4)), (1, (2, 4, 3)), (2, (2, 3, 4))])
@pytest.mark.parametrize("scale", [1, 30, 100])
def test_products_columns_and_loss_keep_their_digits(scale: float, axis: int, shape: tuple[int, ...]) -> None:
    """Relative errors of 1e-12 entry by entry, where 1 − p is 1e-50 too."""
    known = state(scale, axis, shape)
    vector = np.random.default_rng(1).standard_normal((1, *shape))
    product = rows(known.product(vector)[0], axis)
    columns = known.columns(0, known.rank).vectors
    diagonal = rows((columns**2).sum(0), axis)
    logits, along, truth = (rows(a, axis) for a in (known.values, vector[0], known.targets.truth))
    with localcontext() as context:
        context.prec = 60
        weight, loss = Decimal("0.75"), Decimal(0)
        for n, row in enumerate(logits):
            p = probabilities(row)
            u = [Decimal(float(one)) for one in along[n]]
            mean = sum(a * b for a, b in zip(p, u, strict=True))
            loss -= weight * p[int(truth[n].argmax())].ln()
            for c in range(len(p)):
                assert product[n, c] == pytest.approx(float(weight * p[c] * (u[c] - mean)), rel=1e-12)
                others = sum(p[i] for i in range(len(p)) if i != c)
                assert diagonal[n, c] == pytest.approx(float(weight * p[c] * others), rel=1e-12)
    assert known.value == pytest.approx(float(loss), rel=1e-13)
