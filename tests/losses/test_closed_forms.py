"""Every loss's closed forms against torch's own losses, and against autodiff in both frameworks, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curvcli.losses.interface import Columns
from curvcli.losses.registry import LOSSES
from curvcli.models.torch.loss_operations import TORCH
from curvcli.spec import loss as declared

from .cases import CASES, Case

cases = pytest.mark.parametrize("case", CASES.values(), ids=str)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def samples_apart(case: Case, hessian: np.ndarray) -> np.ndarray:
    """(samples, outputs, outputs) of a Hessian by the whole batch's output."""
    samples = len(case.values)
    blocks = hessian.reshape(samples, -1, samples, case.values[0].size)
    return np.stack([blocks[i, :, i] for i in range(samples)])


def product_matrix(case: Case, *, information: bool = False) -> np.ndarray:
    """The closed form of the product, applied to unit vectors: (samples, outputs, outputs)."""
    samples, size = len(case.values), case.values[0].size
    units = np.broadcast_to(np.eye(size)[:, None], (size, samples, size)).reshape(size, *case.values.shape)
    multiply = case.loss.information_product if information else case.loss.product
    return multiply(case.values, case.targets, units).reshape(size, samples, size).transpose(1, 2, 0)


def outer(columns: Columns) -> np.ndarray:
    """Σ_c sign_c s_c s_cᵀ per sample."""
    count, samples, *shape = columns.vectors.shape
    flat = columns.vectors.reshape(count, samples, int(np.prod(shape)))
    return np.einsum("c,cni,cnj->nij", columns.signs, flat, flat)


@cases
def test_value_and_denominator_are_torchs(case: Case) -> None:
    elements, total = case.reference(torch.from_numpy(case.values), case.batch)
    close(np.array(case.state.value), elements.sum().numpy())
    close(np.array(case.targets.total), total.numpy())
    by_sample = elements.reshape(len(case.values), -1).sum(1)
    close(case.state.sample_values(len(case.values)), by_sample.numpy())


@cases
def test_slopes_are_those_of_torchs_own_loss(case: Case) -> None:
    o = torch.from_numpy(case.values).requires_grad_()
    (expected,) = torch.autograd.grad(case.reference(o, case.batch)[0].sum(), o)
    close(case.state.slopes, expected.numpy())
    truth, weight = (torch.from_numpy(np.asarray(a)) for a in (case.targets.truth, scaled(case)))
    close(case.loss.slope(TORCH, o.detach(), truth, weight).expand(o.shape).numpy(), expected.numpy())


def scaled(case: Case) -> np.ndarray:
    return case.targets.weight * case.targets.scale


@cases
def test_products_are_what_torch_differentiates_the_slope_to(case: Case) -> None:
    o = torch.from_numpy(case.values).requires_grad_()
    truth, weight = (torch.from_numpy(np.asarray(a)) for a in (case.targets.truth, scaled(case)))

    def slope(o: torch.Tensor) -> torch.Tensor:
        return case.loss.slope(TORCH, o, truth, weight)

    hessian = torch.autograd.functional.jacobian(slope, o).numpy()
    close(product_matrix(case), samples_apart(case, hessian))


@cases
def test_products_are_what_tensorflow_differentiates_the_slope_to(case: Case) -> None:
    import tensorflow as tf

    from curvcli.models.tensorflow.loss_operations import TENSORFLOW

    o, truth, weight = (tf.constant(np.asarray(a), tf.float64) for a in (case.values, case.targets.truth, scaled(case)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(o)
        slope = case.loss.slope(TENSORFLOW, o, truth, weight)
        # Of the sum over samples: what one had of another's output would show, too.
        sums = [tf.reduce_sum(tf.reshape(slope, (len(case.values), -1))[:, i]) for i in range(case.values[0].size)]
    rows = [tape.gradient(entry, o, unconnected_gradients="zero").numpy() for entry in sums]
    hessian = np.stack([row.reshape(len(case.values), -1) for row in rows], axis=1)
    close(slope.numpy(), case.state.slopes)
    close(product_matrix(case), hessian)


@cases
def test_columns_multiply_out_to_the_products(case: Case) -> None:
    """In parts too, with the sign that each column says."""
    state = case.state
    close(outer(state.columns(0, state.rank)), product_matrix(case))
    parts = [state.columns(i, i + 1) for i in range(state.rank)]
    close(sum((outer(part) for part in parts), np.zeros(product_matrix(case).shape)), product_matrix(case))
    assert not case.loss.convex or bool((state.columns(0, state.rank).signs > 0).all())


@cases
def test_a_convex_loss_has_no_negative_eigenvalues(case: Case) -> None:
    smallest = np.linalg.eigvalsh(product_matrix(case)).min()
    assert smallest >= -1e-12 if case.loss.convex else smallest < -1e-3


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.loss.likelihood], ids=str)
def test_information_is_the_mean_of_drawn_slopes_outer_products(case: Case) -> None:
    """Drawn 4000 times from the model's own distribution, within six standard errors and what is rarely drawn."""
    loss, values, targets = case.loss, case.values, case.targets
    information = product_matrix(case, information=True)
    rank = loss.information_rank(values.shape)
    close(outer(loss.information_columns(values, targets, 0, rank)), information)
    rng = np.random.default_rng(1)
    slopes = np.stack([loss.drawn_slopes(values, targets, Drawn(rng)) for _ in range(4000)])
    flat = slopes.reshape(len(slopes), len(values), -1)
    outers = np.einsum("kni,knj->knij", flat, flat)
    error = outers.std(axis=0) / np.sqrt(len(slopes))
    assert (np.abs(outers.mean(axis=0) - information) <= 6 * error + 2e-3 * information.max()).all()


class Drawn:
    """Numbers from NumPy's generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._rng.random(shape)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._rng.standard_normal(shape)

    def poisson(self, rate: np.ndarray) -> np.ndarray:
        return self._rng.poisson(rate)


def test_spec_and_registry_know_the_same_losses() -> None:
    assert list(LOSSES) == list(declared.LOSSES)


def test_every_loss_is_among_the_cases() -> None:
    assert {case.spec.name for case in CASES.values()} == set(LOSSES)
