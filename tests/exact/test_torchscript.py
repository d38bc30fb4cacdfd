"""TorchScript models against dense float64 Hessians of the eager module, made by torch alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn
from torch.nn import functional as F

from .conftest import SAMPLES, Outcome, assert_close
from .torch_networks import Attention, Bag, Convolutions, Dead, Ending, Recurrent, Smooth, TimeMajor, Twice

Diag = Callable[..., Outcome]
Loss = Callable[[Tensor, Tensor], Tensor]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")

LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
IMAGES, VECTORS, SEQUENCES = (2, 8, 8), (5,), (5, 3)
NETWORKS = {
    "convolutions": (Convolutions, IMAGES),
    "smooth": (Smooth, VECTORS),
    "attention": (Attention, "tokens"),
    "bag": (Bag, "tokens"),
    "twice": (Twice, (4,)),
    "dead": (Dead, (4,)),
    "recurrent": (Recurrent, SEQUENCES),
    "time_major": (TimeMajor, SEQUENCES),
}


def data(shape: tuple[int, ...] | str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 7, (SAMPLES, 5)) if shape == "tokens" else rng.standard_normal((SAMPLES, *shape))
    return x, rng.integers(0, 3, SAMPLES)


def save(module: nn.Module, x: np.ndarray, path: Path, how: str = "script") -> Path:
    example = torch.from_numpy(x[:4])
    example = example.float() if example.is_floating_point() else example
    made = torch.jit.script(module) if how == "script" else torch.jit.trace(module, example)
    torch.jit.save(made, path)
    return path


def dense(module: nn.Module, x: np.ndarray, y: Tensor, loss: Loss) -> dict[str, np.ndarray]:
    """The diagonal of the full Hessian, one parameter at a time, by ``torch.autograd.functional.hessian``."""
    exact = copy.deepcopy(module).double().eval()
    inputs = torch.from_numpy(x)
    found = {}
    for name, parameter in exact.named_parameters():

        def value(p: Tensor, name: str = name) -> Tensor:
            return loss(torch.func.functional_call(exact, {name: p}, (inputs,)), y)

        hessian = torch.autograd.functional.hessian(value, parameter.detach())
        size = parameter.numel()
        owner, _, label = name.rpartition(".")
        found[f"{owner or label}/{label}"] = hessian.reshape(size, size).diagonal().reshape(parameter.shape).numpy()
    return found


@pytest.mark.parametrize(("name", "how"), covering(NETWORKS, ["script", "trace"]))
def test_the_diagonal_of_every_parameter_is_the_dense_hessians(name: str, how: str, diag: Diag, tmp_path: Path) -> None:
    """Whatever the layers between, scripted or traced, all diagonals equal the dense Hessian's to 1e-9."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module = build().eval()
    x, y = data(shape)
    result = diag(save(module, x, tmp_path / "m.pt", how), {"x": x}, y, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, dense(module, x, torch.from_numpy(y), F.cross_entropy), 1e-9)


@pytest.mark.parametrize("method", ["output_hessian_shared", "coordinate", "gauss_newton"])
def test_every_method_gives_the_same_where_it_applies(method: str, diag: Diag, tmp_path: Path) -> None:
    """Forced methods agree with the dense Hessian on convolutions."""
    torch.manual_seed(0)
    module = Convolutions().eval()
    x, y = data(IMAGES)
    options = ("--layer", "first", "--layer", "second", "--layer", "norm")
    result = diag(save(module, x, tmp_path / "m.pt"), {"x": x}, y, LOGITS, "--method", method, *options)
    expected = dense(module, x, torch.from_numpy(y), F.cross_entropy)
    assert_close(result.diagonal, {k: v for k, v in expected.items() if k in result.diagonal}, 1e-9)
    assert set(result.diagonal) == {"first/weight", "first/bias", "second/weight", "norm/weight", "norm/bias"}


@pytest.mark.parametrize(
    ("ending", "reduction"), covering(["logits", "softmax", "log_softmax", "by_hand"], ["mean", "sum"])
)
def test_cross_entropy_of_logits_and_of_probabilities(ending: str, reduction: str, diag: Diag, tmp_path: Path) -> None:
    """A model that ends in softmax has the same curvature as its logits."""
    torch.manual_seed(0)
    module = Ending(ending)
    x, y = data(VECTORS)
    declared = "true" if ending in ("logits", "log_softmax") else "false"
    lines = f'name = "cross_entropy"\nfrom_logits = {declared}\nreduction = "{reduction}"'
    result = diag(save(module, x, tmp_path / "m.pt", "trace"), {"x": x}, y, lines)
    plain = copy.deepcopy(module)
    plain.ending = "logits"
    expected = dense(plain, x, torch.from_numpy(y), lambda o, t: F.cross_entropy(o, t, reduction=reduction))
    assert_close(result.diagonal, expected, 1e-9)


def test_class_weights_and_ignored_targets_divide_by_the_weights_used(diag: Diag, tmp_path: Path) -> None:
    """The mean's denominator is the used weight of the whole data, not the number of samples."""
    torch.manual_seed(0)
    module = Ending("logits")
    x, y = data(VECTORS)
    y[::5] = -1
    lines = LOGITS + "\nclass_weights = [1.0, 3.0, 0.5]\nignore_index = -1"
    result = diag(save(module, x, tmp_path / "m.pt"), {"x": x}, y, lines)
    weight = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
    expected = dense(module, x, torch.from_numpy(y), lambda o, t: F.cross_entropy(o, t, weight=weight, ignore_index=-1))
    assert_close(result.diagonal, expected, 1e-9)


@pytest.mark.parametrize("ending", ["logits", "sigmoid"])
def test_binary_cross_entropy(ending: str, diag: Diag, tmp_path: Path) -> None:
    """BCE over several outputs, from logits and through a final sigmoid."""
    torch.manual_seed(0)
    module = Ending(ending)
    x, _ = data(VECTORS)
    y = np.random.default_rng(1).integers(0, 2, (SAMPLES, 3)).astype(float)
    lines = f'name = "bce"\nfrom_logits = {"true" if ending == "logits" else "false"}'
    result = diag(save(module, x, tmp_path / "m.pt", "trace"), {"x": x}, y, lines)
    plain = copy.deepcopy(module)
    plain.ending = "logits"
    expected = dense(plain, x, torch.from_numpy(y), F.binary_cross_entropy_with_logits)
    assert_close(result.diagonal, expected, 1e-9)


def test_squared_error_with_weight_decay(diag: Diag, tmp_path: Path) -> None:
    """MSE is the mean over samples and outputs; weight decay adds its constant to every entry."""
    torch.manual_seed(0)
    module = Smooth()
    x, _ = data(VECTORS)
    y = np.random.default_rng(1).standard_normal((SAMPLES, 3))
    result = diag(save(module, x, tmp_path / "m.pt"), {"x": x}, y, 'name = "mse"\nweight_decay = 0.25')
    expected = {k: v + 0.25 for k, v in dense(module, x, torch.from_numpy(y), F.mse_loss).items()}
    assert_close(result.diagonal, expected, 1e-9)


@pytest.mark.parametrize("ending", ["energy", "batch_energy"])
def test_the_models_own_scalar(ending: str, diag: Diag, tmp_path: Path) -> None:
    """Loss `output`: one number per sample is averaged; one number per batch is taken over the whole data."""
    torch.manual_seed(0)
    module = Ending(ending)
    x, y = data(VECTORS)
    result = diag(save(module, x, tmp_path / "m.pt", "trace"), {"x": x}, None, 'name = "output"')
    assert_close(result.diagonal, dense(module, x, torch.from_numpy(y), lambda o, t: o.mean()), 1e-9)


def test_gradient_and_loss(diag: Diag, tmp_path: Path) -> None:
    """The gradient and the loss beside the diagonal are torch's own."""
    torch.manual_seed(0)
    module = Smooth()
    x, y = data(VECTORS)
    result = diag(save(module, x, tmp_path / "m.pt"), {"x": x}, y, LOGITS)
    exact = copy.deepcopy(module).double()
    loss = F.cross_entropy(exact(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    expected = {n.replace(".", "/"): p.grad.numpy() for n, p in exact.named_parameters()}
    assert result.loss == pytest.approx(loss.item(), rel=1e-13)
    assert_close(result.gradient, expected, 1e-12)


def test_the_split_of_the_data_changes_nothing(diag: Diag, tmp_path: Path) -> None:
    """Batches of 1, 5, 16 and 37 give the same to 1e-12."""
    torch.manual_seed(0)
    module = Convolutions().eval()
    x, y = data(IMAGES)
    path = save(module, x, tmp_path / "m.pt")
    whole = diag(path, {"x": x}, y, LOGITS, "--batch-size", "37").diagonal
    for size in ("1", "5", "16"):
        assert_close(diag(path, {"x": x}, y, LOGITS, "--batch-size", size).diagonal, whole, 1e-12)


def test_float32_is_close_to_float64(diag: Diag, tmp_path: Path) -> None:
    """In float32 every entry is within 1e-4 of the largest one."""
    torch.manual_seed(0)
    module = Attention()
    x, y = data("tokens")
    path = save(module, x, tmp_path / "m.pt")
    exact = diag(path, {"x": x}, y, LOGITS).diagonal
    assert_close(diag(path, {"x": x}, y, LOGITS, "--dtype", "float32").diagonal, exact, 1e-4)


def test_unused_and_dead_layers_have_zeros(diag: Diag, tmp_path: Path) -> None:
    """A layer the loss does not reach, and one behind a closed ReLU, have zeros and not errors."""
    torch.manual_seed(0)
    x, y = data(IMAGES)
    unused = diag(save(Convolutions().eval(), x, tmp_path / "a.pt"), {"x": x}, y, LOGITS, "--layer", "unused")
    assert unused.code == 0
    assert not any(v.any() for v in (*unused.diagonal.values(), *unused.gradient.values()))
    x, y = data((4,))
    dead = diag(save(Dead(), x, tmp_path / "b.pt"), {"x": x}, y, LOGITS, "--layer", "dead")
    assert dead.code == 0
    assert not any(v.any() for v in dead.diagonal.values())


class Product(nn.Module):
    """Π(f_i² − 3f_i + 1), whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Parameter(torch.tensor([1.0, 2.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.f**2 - 3 * self.f + 1).prod() + 0.0 * x.sum()


def test_the_diagonal_is_not_the_row_sums(diag: Diag, tmp_path: Path) -> None:
    """For Π(f² − 3f + 1) at (1, 2, 0) the diagonal is (−2, −2, 2); the naive double gradient gives (−6, 0, 2)."""
    x = np.ones((1, 1))
    result = diag(save(Product(), x, tmp_path / "m.pt"), {"x": x}, None, 'name = "output"')
    np.testing.assert_allclose(result.diagonal["f/f"], [-2, -2, 2], rtol=1e-12)


def test_batch_norm_in_training_mode_is_never_taken_for_independent_samples(diag: Diag, tmp_path: Path) -> None:
    """With batch statistics baked into a trace, samples interact: the planner turns to coordinates."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.ReLU(), nn.Linear(6, 3))
    x, y = data(VECTORS)
    path = save(module, x, tmp_path / "m.pt", "trace")
    result = diag(path, {"input": x}, y, LOGITS, "--batch-size", str(SAMPLES))
    assert result.code == 0
    assert_close(result.diagonal, dense(module, x, torch.from_numpy(y), F.cross_entropy), 1e-9)
