"""Which targets a loss takes, what is said of others, and which axis holds the classes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from curvcli.errors import DataError, SpecError
from curvcli.losses.class_targets import class_axis_of
from curvcli.losses.interface import End, RawTargets, Targets
from curvcli.losses.registry import settle
from curvcli.spec.loss import LossSpec


def read(target: Any, shape: tuple[int, ...], axis: int = 1, **declared: Any) -> Targets:
    loss = settle(LossSpec(**declared), End(None, axis, "y", "model.pt"))
    given = None if target is None else np.asarray(target)
    return loss.targets(RawTargets(given, None, shape, [100 + i for i in range(shape[0])]))


WRONG: dict[str, tuple[Any, tuple[int, ...], dict[str, Any], str]] = {
    "no target": (None, (2, 3), {"name": "mse"}, "the loss mse compares the model's output with a target"),
    "shape": (
        [[1.0], [2.0]],
        (2, 3),
        {"name": "huber"},
        "has shape (1,) per sample, the model returns (3,)",
    ),
    "negative count": ([2, -1], (2,), {"name": "poisson"}, "row 101: poisson needs targets of 0 or more, found -1"),
    "three classes": ([1, 0, -1], (3,), {"name": "hinge"}, "row 101: hinge needs targets of -1 and 1, or of 0 and 1"),
    "two": ([1, 2], (2,), {"name": "hinge"}, "row 101: hinge needs targets of -1 and 1, or of 0 and 1, found 2"),
    "share": ([0.5, 1.5], (2,), {"name": "bce", "from_logits": True}, "row 101: binary cross-entropy needs targets"),
    "halves": (
        [[1.0, 2.0]],
        (1, 2),
        {"name": "gaussian_nll", "log_variance": True},
        "gaussian_nll on an output of shape (2,), means and variances, needs (1,)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_targets_are_told_with_their_row(name: str) -> None:
    target, shape, declared, message = WRONG[name]
    with pytest.raises(DataError, match=re.escape(message)):
        read(target, shape, **declared)


def test_ignored_targets_have_no_weight_and_are_not_read() -> None:
    """Whatever stands there: a label out of range, a third class, NaN where that is declared."""
    found = read([1, 9, 0], (3,), name="hinge", ignore_index=9)
    np.testing.assert_array_equal(found.weight, [1, 0, 1])
    assert found.total == 2
    found = read([[1.0, np.nan], [2.0, 3.0]], (2, 2), name="mse", ignore_nan=True)
    np.testing.assert_array_equal(found.weight, [[1, 0], [1, 1]])
    assert found.total == 1.5
    assert np.isfinite(found.truth).all()


def test_pos_weight_is_one_per_class() -> None:
    with pytest.raises(SpecError, match=re.escape("loss.pos_weight has 2 entries, model.pt returns (3,)")):
        read(np.ones((2, 3)), (2, 3), name="bce", from_logits=True, pos_weight=[1.0, 2.0])


VALUES: dict[str, tuple[dict[str, Any], np.ndarray, str]] = {
    "odd": ({"name": "gaussian_nll", "log_variance": True}, np.ones((2, 3)), "an even number of them along axis 1"),
    "variance": ({"name": "gaussian_nll", "log_variance": False}, np.array([[1.0, -2.0]]), "Set log_variance = true"),
    "rate": ({"name": "poisson", "log_input": False}, np.array([1.0, -2.0]), "Set log_input = true"),
}


@pytest.mark.parametrize("name", VALUES)
def test_outputs_that_contradict_the_declaration_are_refused(name: str) -> None:
    declared, values, message = VALUES[name]
    with pytest.raises(SpecError, match=message):
        settle(LossSpec(**declared), End(None, 1, "y", "model.pt")).check(values)


def axis(shape: tuple[int, ...], target: np.ndarray, convention: int = 1, declared: int | None = None) -> int:
    spec = LossSpec(name="cross_entropy", from_logits=True, class_axis=declared)
    return class_axis_of(spec, shape, target, convention, "model.pt")[0]


@pytest.mark.parametrize("convention", [1, -1])
def test_the_targets_shape_tells_the_class_axis(convention: int) -> None:
    """Whatever the framework's convention: of tokens × classes and of classes × tokens."""
    assert axis((2, 7, 5), np.zeros((2, 7), int), convention) == 2
    assert axis((2, 5, 7), np.zeros((2, 7), int), convention) == 1
    assert axis((2, 5, 7, 7), np.zeros((2, 7, 7), int), convention) == 1
    assert axis((2, 7, 5), np.full((2, 7, 5), 0.2), convention) == 2


def test_where_two_axes_fit_the_convention_is_taken_and_the_other_told() -> None:
    """What is declared goes before it, counted from either end; without a convention that fits, it is refused."""
    labels = np.zeros((2, 5), int)
    spec = LossSpec(name="cross_entropy", from_logits=True)
    assert class_axis_of(spec, (2, 5, 5), labels, 1, "model.pt") == (1, (2,))
    assert class_axis_of(spec, (2, 5, 5), labels, -1, "model.pt") == (2, (1,))
    with pytest.raises(SpecError, match=r"could be axis 2 or 3.*\nAdd class_axis = 2 to \[loss\]"):
        axis((2, 3, 4, 4), np.zeros((2, 3, 4), int), 1)
    assert axis((2, 5, 5), labels, declared=1) == 1
    assert axis((2, 5, 5), labels, declared=-1) == 2
    with pytest.raises(SpecError, match=r"loss.class_axis = 3: model.pt returns \(5, 5\)"):
        axis((2, 5, 5), labels, declared=3)


def test_soft_labels_that_fit_two_axes_follow_the_convention() -> None:
    doubly = np.full((2, 3, 3), 1 / 3)
    assert axis((2, 3, 3), doubly, 1) == 1
    assert axis((2, 3, 3), doubly, -1) == 2
