"""Operations that a framework can't differentiate twice, or not in float64, or gets wrong: rewritten before use.

One small network around each, saved in both formats, against the dense Hessian of the same written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.spelled import spell_out

from .conftest import SAMPLES, Outcome, assert_close

pytestmark = pytest.mark.filterwarnings("ignore")
ONE_BATCH = True
Diag = Callable[..., Outcome]
Weights = dict[str, Tensor]
RNG = np.random.default_rng(12)
IMAGES, LABELS = RNG.standard_normal((SAMPLES, 5, 5, 2)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


@dataclass(frozen=True)
class Operation:
    """One operation on images of four channels, three times.

    Attributes:
        saved: for the TorchScript file, channels first.
        by_hand: of elementary operations, channels first.
        tensorflow: for the SavedModel, channels last.
        weights: shapes of its own parameters, named as ``saved`` names them.
    """

    saved: Callable[[], nn.Module]
    by_hand: Callable[[Tensor, Weights], Tensor]
    tensorflow: Callable[[Any, Any, dict[str, Any]], Any]
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)


def normalised_by_hand(x: Tensor, _: Weights) -> Tensor:
    squares = F.pad(x.square(), (0, 0, 0, 0, 1, 1))
    return x / (1.25 + 0.25 * sum(squares[:, i : i + 4] for i in range(3))) ** 0.75


def interpolated(x: Tensor, size: tuple[int, int], *, corners: bool) -> Tensor:
    for axis, (before, after) in zip((2, 3), zip((4, 4), size, strict=True), strict=True):
        matrix = torch.zeros(after, before, dtype=x.dtype)
        for i in range(after):
            place = i * (before - 1) / (after - 1) if corners else (i + 0.5) * before / after - 0.5
            place = min(max(place, 0.0), before - 1.0)
            low = min(int(place), before - 2)
            matrix[i, low] = 1 - (place - low)
            matrix[i, low + 1] = place - low
        x = torch.tensordot(x, matrix, dims=([axis], [1])).movedim(-1, axis)
    return x


def grouped(tf: Any, x: Any, weights: dict[str, Any]) -> Any:
    """As Keras does it: in a function left to the compiler."""
    convolve = tf.function(lambda a, b: tf.nn.conv2d(a, b, 1, "VALID"), jit_compile=True)
    return convolve(x, tf.transpose(weights["weight"], (2, 3, 1, 0)))


def weight_normed(w: Weights) -> Tensor:
    v = w["parametrizations.weight.original1"]
    return w["parametrizations.weight.original0"] * v / v.square().sum((1, 2, 3), keepdim=True).sqrt()


def weight_normed_tf(tf: Any, x: Any, w: dict[str, Any]) -> Any:
    v = w["parametrizations.weight.original1"]
    kernel = w["parametrizations.weight.original0"] * v / tf.sqrt(tf.reduce_sum(v * v, (1, 2, 3), keepdims=True))
    return tf.nn.conv2d(x, tf.transpose(kernel, (2, 3, 1, 0)), 1, "VALID")


def resized_as_matrix(resize: Callable[[Any, Any], Any]) -> Callable[[Tensor, Weights], Tensor]:
    """A resizing of 4×4 pixels is linear: its matrix is what it makes of the unit images."""

    def by_hand(x: Tensor, _: Weights) -> Tensor:
        tf = tensorflow()
        units = np.eye(16, dtype=np.float32).reshape(16, 4, 4, 1)
        columns = torch.from_numpy(resize(tf, units).numpy().reshape(16, -1)).double()
        return x.flatten(2) @ columns

    return by_hand


def bicubic(tf: Any, x: Any) -> Any:
    return tf.image.resize(x, (7, 3), "bicubic")


def antialiased(tf: Any, x: Any) -> Any:
    return tf.image.resize(x, (2, 3), antialias=True)


OPERATIONS = {
    "silu": Operation(nn.SiLU, lambda x, _: x * torch.sigmoid(x), lambda tf, x, _: tf.nn.silu(x)),
    "softsign": Operation(nn.Softsign, lambda x, _: x / (1 + x.abs()), lambda tf, x, _: tf.nn.softsign(x)),
    "hard_sigmoid": Operation(
        nn.Hardsigmoid, lambda x, _: (x + 3).clamp(0, 6) / 6, lambda tf, x, _: tf.nn.relu6(x + 3) / 6
    ),
    "hard_sigmoid_in_place": Operation(
        lambda: nn.Hardsigmoid(inplace=True),
        lambda x, _: (x + 3).clamp(0, 6) / 6,
        lambda tf, x, _: tf.nn.relu6(x + 3) / 6,
    ),
    "response_normalisation": Operation(
        lambda: nn.LocalResponseNorm(3, alpha=0.75, beta=0.75, k=1.25),
        normalised_by_hand,
        lambda tf, x, _: tf.nn.local_response_normalization(x, 1, 1.25, 0.25, 0.75),
    ),
    "bilinear": Operation(
        lambda: nn.Upsample((7, 3), mode="bilinear"),
        lambda x, _: interpolated(x, (7, 3), corners=False),
        lambda tf, x, _: tf.image.resize(x, (7, 3)),
    ),
    "bilinear_corners": Operation(
        lambda: nn.Upsample((3, 6), mode="bilinear", align_corners=True),
        lambda x, _: interpolated(x, (3, 6), corners=True),
        lambda tf, x, _: tf.compat.v1.image.resize_bilinear(x, (3, 6), align_corners=True),
    ),
    "nearest": Operation(
        lambda: nn.Upsample(scale_factor=2),
        lambda x, _: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
        lambda tf, x, _: tf.image.resize(x, (8, 8), "nearest"),
    ),
    "pooled_with_places": Operation(
        lambda: nn.MaxPool2d(2),
        lambda x, _: x.reshape(-1, 4, 2, 2, 2, 2).amax((3, 5)),
        lambda tf, x, _: tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")[0],
    ),
    "groups": Operation(
        lambda: nn.Conv2d(4, 6, 2, groups=2, bias=False),
        lambda x, w: torch.cat([F.conv2d(x[:, i : i + 2], w["weight"][3 * i // 2 :][:3]) for i in (0, 2)], 1),
        grouped,
        {"weight": (6, 2, 2, 2)},
    ),
    "weight_norm": Operation(
        lambda: torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 2, bias=False)),
        lambda x, w: F.conv2d(x, weight_normed(w)),
        weight_normed_tf,
        {"parametrizations.weight.original0": (3, 1, 1, 1), "parametrizations.weight.original1": (3, 4, 2, 2)},
    ),
}

FLOAT32_ONLY = {"bicubic": bicubic, "antialiased": antialiased}


class Network(nn.Module):
    """A convolution, tanh, the operation, a dense layer."""

    def __init__(self, middle: nn.Module, width: int) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(2, 4, 2, bias=False), middle, nn.Linear(width, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(2.0 * torch.tanh(self.first(x))).flatten(1))


def made(operation: Operation) -> tuple[Network, Weights, Callable[[Weights], Tensor]]:
    """The network, its weights, which float32 holds, and the loss by hand as a function of these."""
    torch.manual_seed(3)
    middle = operation.saved().double()
    width = middle(torch.zeros(1, 4, 4, 4, dtype=torch.float64)).numel()
    network = Network(middle, width).double()
    weights = {key: p.detach().float().double() for key, p in network.named_parameters()}
    network.load_state_dict(weights)
    images, labels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2), torch.from_numpy(LABELS)

    def loss(values: Weights) -> Tensor:
        own = {key.removeprefix("middle."): value for key, value in values.items() if key.startswith("middle.")}
        h = operation.by_hand(2 * torch.tanh(F.conv2d(images, values["first.weight"])), own)
        return F.cross_entropy(h.flatten(1) @ values["last.weight"].T, labels)

    return network, weights, loss


def dense_diagonal(weights: Weights, loss: Callable[[Weights], Tensor]) -> dict[str, np.ndarray]:
    """Of the whole Hessian, entry by entry, parameter by parameter."""
    found = {}
    for name, value in weights.items():
        block = torch.autograd.functional.hessian(lambda v, n=name: loss({**weights, n: v}), value)
        found[name] = torch.diagonal(block.reshape(value.numel(), -1)).reshape(value.shape).numpy()
    return found


def save_tensorflow(operation: Operation, weights: Weights, path: Path) -> None:
    """The same network as a SavedModel with kernels as PyTorch has them; its variables have no dots in their names."""
    tf = tensorflow()

    class Module(tf.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.all = {
                key.replace(".", "_"): tf.Variable(value.numpy(), dtype=tf.float32) for key, value in weights.items()
            }

        @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, 5, 5, 2), tf.float32, name="x")])
        def __call__(self, x: Any) -> dict[str, Any]:
            own = {key: self.all[f"middle_{key}".replace(".", "_")] for key in operation.weights}
            h = 2 * tf.tanh(tf.nn.conv2d(x, tf.transpose(self.all["first_weight"], (2, 3, 1, 0)), 1, "VALID"))
            h = tf.transpose(operation.tensorflow(tf, h, own), (0, 3, 1, 2))
            width = self.all["last_weight"].shape[1]
            return {"logits": tf.matmul(tf.reshape(h, (-1, width)), self.all["last_weight"], transpose_b=True)}

    module = Module()
    tf.saved_model.save(module, str(path), signatures=module.__call__)


def diagonals(diag: Diag, operation: Operation, weights: Weights, folder: Path, *options: str) -> dict[str, np.ndarray]:
    """The SavedModel's, by the names that the TorchScript file has for them."""
    save_tensorflow(operation, weights, folder / "m")
    result = diag(folder / "m", {"x": IMAGES}, LABELS, LOGITS, *options)
    assert result.code == 0
    names = {key.replace(".", "_"): key for key in weights}
    return {names[key.split("/")[-1]]: value for key, value in result.diagonal.items()}


@pytest.mark.parametrize("name", OPERATIONS)
def test_diagonals_through_an_operation(name: str, diag: Diag, tmp_path: Path) -> None:
    """The TorchScript file's and the SavedModel's are the dense Hessian's, to 1e-9."""
    network, weights, loss = made(OPERATIONS[name])
    expected = dense_diagonal(weights, loss)
    network.float()
    if name == "weight_norm":  # which can't be scripted
        torch.jit.trace(network, torch.zeros(2, 2, 5, 5)).save(str(tmp_path / "m.pt"))
    else:
        torch.jit.script(network).save(str(tmp_path / "m.pt"))
    result = diag(tmp_path / "m.pt", {"x": IMAGES.transpose(0, 3, 1, 2)}, LABELS, LOGITS)
    assert result.code == 0
    # What a parametrisation made of a layer's weight is that layer's.
    named = {key.replace("parametrizations.", ""): value for key, value in expected.items()}
    assert_close({key.replace("/", "."): value for key, value in result.diagonal.items()}, named, 1e-9)
    assert_close(diagonals(diag, OPERATIONS[name], weights, tmp_path), expected, 1e-9)


@pytest.mark.parametrize("name", FLOAT32_ONLY)
def test_operations_that_exist_in_float32_only(
    name: str, diag: Diag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Right in float32, and refused by name in float64."""
    resize = FLOAT32_ONLY[name]
    by_hand = resized_as_matrix(resize)
    width = by_hand(torch.zeros(1, 4, 4, 4, dtype=torch.float64), {}).numel()
    middle = nn.Sequential(nn.Flatten(), nn.Linear(64, width))  # PyTorch has none that is equal: only its width counts
    operation = Operation(lambda: middle, by_hand, lambda tf, x, _: resize(tf, x))
    _, weights, loss = made(operation)
    weights = {key: value for key, value in weights.items() if not key.startswith("middle.")}
    found = diagonals(diag, operation, weights, tmp_path, "--dtype", "float32")
    assert_close(found, dense_diagonal(weights, loss), 1e-5)
    result = diag(tmp_path / "m", {"x": IMAGES}, LABELS, LOGITS)
    assert result.code == 3
    assert "in float32 only" in capfd.readouterr().err


@pytest.mark.parametrize(("corners", "half"), [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("sizes", [((5, 7), (9, 3)), ((4, 1), (4, 6)), ((3, 8), (1, 16)), ((224, 10), (97, 33))])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_written_out_bilinear_resizing_is_the_kernels(
    kind: str, sizes: tuple[tuple[int, int], tuple[int, int]], corners: bool, half: bool
) -> None:
    """To the rounding of float32."""
    tf = tensorflow()
    before, after = sizes
    images = (RNG.standard_normal((2, *before, 3)) * 50 + 100).clip(0, 255).astype(kind)

    def resize(x: Any) -> Any:
        return tf.raw_ops.ResizeBilinear(images=x, size=after, align_corners=corners, half_pixel_centers=half)

    graph = tf.function(resize).get_concrete_function(tf.TensorSpec((None, None, None, 3), kind)).graph
    graph_def = graph.as_graph_def()
    spell_out(graph_def)
    assert all(node.op != "ResizeBilinear" for node in graph_def.node)
    source, result = graph.inputs[0].name, graph.outputs[0].name

    @tf.function
    def written_out(x: Any) -> Any:
        return tf.graph_util.import_graph_def(graph_def, {source: x}, [result], name="")[0]

    expected = resize(images).numpy()
    np.testing.assert_allclose(written_out(tf.constant(images)).numpy(), expected, atol=2e-5 * expected.max())
