"""Linear, logistic and softmax regression, as saved models in both formats, against their closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvcli.models.tensorflow.runtime import tensorflow

from .conftest import SAMPLES, Outcome, assert_close

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
RNG = np.random.default_rng(11)
X = RNG.standard_normal((SAMPLES, 4))
W = RNG.standard_normal((4, 3)).astype(np.float32).astype(np.float64)


def torch_model(path: Path) -> None:
    import torch

    module = torch.nn.Linear(4, 3, bias=False)
    module.weight.data = torch.from_numpy(W.T).float().contiguous()
    torch.jit.save(torch.jit.trace(module, torch.zeros(2, 4)), path)


def tensorflow_model(path: Path) -> None:
    tf = tensorflow()

    class Linear(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable(W.astype(np.float32), name="weight")

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="input")])
        def __call__(self, input: Any) -> Any:
            return input @ self.weight

    module = Linear()
    tf.saved_model.save(module, str(path), signatures=module.__call__)


@pytest.fixture(params=["torch", "tensorflow"])
def regression(request: pytest.FixtureRequest, diag: Diag, tmp_path: Path) -> Callable[..., np.ndarray]:
    def diagonal(target: np.ndarray, loss: str) -> np.ndarray:
        path = tmp_path / "model"
        (torch_model if request.param == "torch" else tensorflow_model)(path)
        result = diag(path, {"input": X}, target, loss)
        assert result.code == 0
        (found,) = result.diagonal.values()
        return found.T if request.param == "torch" else found

    return diagonal


def check(found: np.ndarray, expected: np.ndarray) -> None:
    assert_close({"w": found}, {"w": expected}, 1e-12)


def test_linear_regression(regression: Callable[..., np.ndarray]) -> None:
    """With the mean over m outputs, H is 2/(N·m) XᵀX for every output."""
    found = regression(RNG.standard_normal((SAMPLES, 3)), 'name = "mse"')
    check(found, np.repeat((2 / (SAMPLES * 3) * (X**2).sum(0))[:, None], 3, axis=1))


def test_logistic_regression(regression: Callable[..., np.ndarray]) -> None:
    """H is XᵀDX/(N·m) with D = p(1 − p)."""
    found = regression(RNG.integers(0, 2, (SAMPLES, 3)).astype(float), 'name = "bce"\nfrom_logits = true')
    p = 1 / (1 + np.exp(-X @ W))
    check(found, np.einsum("ni,no->io", X**2, p * (1 - p)) / (SAMPLES * 3))


def test_softmax_regression(regression: Callable[..., np.ndarray]) -> None:
    """H's diagonal is Σ x_i² p_c(1 − p_c)/N."""
    found = regression(RNG.integers(0, 3, SAMPLES), 'name = "cross_entropy"\nfrom_logits = true')
    e = np.exp(X @ W)
    p = e / e.sum(1, keepdims=True)
    check(found, np.einsum("ni,no->io", X**2, p * (1 - p)) / SAMPLES)
