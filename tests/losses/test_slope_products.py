"""The product that takes the place of autodiff through a slope: the same numbers, and little kept for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from curvcli.models.tensorflow.slope import slope_of as slope_in_tensorflow
from curvcli.models.torch.loss_operations import TORCH
from curvcli.models.torch.slope import slope_of

from .cases import CASES, Case

CLOSED = {str(case): case for case in CASES.values() if case.loss.closed}
closed = pytest.mark.parametrize("case", CLOSED.values(), ids=str)


def targets(case: Case) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(case.targets.truth), np.asarray(case.targets.weight * case.targets.scale)


def torch_derivatives(slope: Any, case: Case) -> list[np.ndarray]:
    """∂ℓ/∂o, ∇²_o ℓ u, and the derivative of ⟨∇²_o ℓ u, v⟩ by o."""
    o = torch.from_numpy(case.values).requires_grad_()
    u, v = (torch.from_numpy(np.random.default_rng(i).standard_normal(case.values.shape)) for i in range(2))
    first = slope(o, *(torch.from_numpy(array) for array in targets(case))).expand(o.shape)
    (second,) = torch.autograd.grad(first, o, u, create_graph=True)
    (third,) = torch.autograd.grad(second, o, v)
    return [each.detach().numpy() for each in (first, second, third)]


@closed
def test_torch_differentiates_it_twice_as_autodiff_does(case: Case) -> None:
    ours = torch_derivatives(lambda *arguments: slope_of(case.loss, *arguments), case)
    autodiff = torch_derivatives(lambda *arguments: case.loss.slope(TORCH, *arguments), case)
    for found, expected in zip(ours, autodiff, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@closed
def test_tensorflow_differentiates_it_twice_as_torch_does(case: Case) -> None:
    import tensorflow as tf

    u, v = (tf.constant(np.random.default_rng(i).standard_normal(case.values.shape)) for i in range(2))

    @tf.function
    def derivatives(o: Any) -> list[Any]:
        first = slope_in_tensorflow(case.loss, o, *(tf.constant(array) for array in targets(case)))
        (second,) = tf.gradients([first], [o], [u])
        (third,) = tf.gradients([second], [o], [v])
        return [first, second, third]

    expected = torch_derivatives(lambda *arguments: slope_of(case.loss, *arguments), case)
    for found, of_torch in zip(derivatives(tf.constant(case.values)), expected, strict=True):
        np.testing.assert_allclose(found, of_torch, rtol=1e-12, atol=1e-13)


@closed
def test_the_output_is_all_that_is_kept_of_its_size(case: Case) -> None:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    o = torch.from_numpy(case.values).requires_grad_()
    truth, weight = (torch.from_numpy(array) for array in targets(case))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        slope_of(case.loss, o, truth, weight)
    assert sum(kept.values()) <= o.untyped_storage().nbytes() + weight.untyped_storage().nbytes()
