"""Every rule by which a weight is linear in its operation, with arguments that are not the usual ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.models.torch import rules as torch_rules
from curvcli.models.torch.graph import AutogradGraph, operation

from .batchwise import batchwise, cross_entropies, traced
from .conftest import BATCH, Outcome, assert_close

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(12)
SAMPLES, CLASSES = BATCH, 3
LABELS = RNG.integers(0, CLASSES, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


def operations(output: Tensor) -> set[str]:
    return {operation(node) for node in AutogradGraph(output.grad_fn).nodes}


class Ruled(nn.Module):
    """Parameters ``w`` and perhaps ``v``, and a function of the data and of them; smooth between it and the loss."""

    def __init__(self, function: Callable[..., Tensor], *shapes: tuple[int, ...], data: tuple[int, ...] = (4,)) -> None:
        super().__init__()
        self.function, self.data = function, data
        self.w = nn.Parameter(torch.randn(shapes[0]))
        if len(shapes) > 1:
            self.v = nn.Parameter(torch.randn(shapes[1]))
        example = self.read(torch.randn(4, *data))
        self.register_buffer("mix", torch.randn(example[0].numel(), CLASSES) / example[0].numel() ** 0.5)

    def read(self, x: Tensor) -> Tensor:
        return self.function(x, self.w, self.v) if hasattr(self, "v") else self.function(x, self.w)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.read(x.reshape(x.shape[0], *self.data))).flatten(1) @ self.mix


def rows(x: Tensor) -> Tensor:
    """One row per position."""
    return x.reshape(-1, x.shape[-1])


def normed(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
    numbers = torch.arange(float(x.shape[1])).to(x)  # made of numbers that are exact in either dtype
    return F.batch_norm(x, 0.25 * numbers - 0.5, 0.5 + 0.25 * numbers, w, v, training=False, eps=2.0**-7)


def tokens(x: Tensor, size: int = 6) -> Tensor:
    """Indices, of which some come twice in a sample."""
    return (x.abs() * 3).long().clamp(max=size - 1)


def selected(x: Tensor, w: Tensor, axis: int) -> Tensor:
    """Rows or columns by the tokens of all samples in one list."""
    found = w.index_select(axis, tokens(x).reshape(-1))
    return found.reshape(x.shape[0], -1) if axis == -2 else found


Rule = tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...], tuple[int, ...]]
RULES: dict[tuple[str, str], Rule] = {
    ("Convolution", "all options, 1-D"): (
        lambda x, w, v: F.conv1d(x, w, v, stride=2, padding=3, dilation=2, groups=2),
        ((4, 1, 3), (4,)),
        (2, 6),
    ),
    ("Convolution", "all options, 2-D"): (
        lambda x, w, v: F.conv2d(x, w, v, stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2),
        ((4, 1, 2, 3), (4,)),
        (2, 4, 4),
    ),
    ("Convolution", "3-D"): (
        lambda x, w, v: F.conv3d(x, w, v, stride=(1, 2, 1), padding=(1, 0, 1)),
        ((2, 1, 2, 2, 2), (2,)),
        (1, 2, 3, 3),
    ),
    ("Convolution", "without a bias, padded to the same size"): (
        lambda x, w: F.conv1d(x, w, padding="same", dilation=2),
        ((3, 2, 3),),
        (2, 5),
    ),
    ("Convolution", "transposed"): (
        lambda x, w, v: F.conv_transpose1d(x, w, v, stride=2, padding=1, output_padding=1, groups=2),
        ((2, 2, 3), (4,)),
        (2, 4),
    ),
    ("Convolution", "weight permuted"): (lambda x, w: F.conv1d(x, w.permute(1, 0, 2)), ((2, 3, 2),), (2, 5)),
    ("Convolution", "weight reshaped"): (lambda x, w: F.conv1d(x, w.reshape(3, 2, 2)), ((12,),), (2, 5)),
    ("Convolution", "weight as data"): (
        lambda x, w: F.conv1d(w.expand(x.shape[0], -1, -1), torch.ones(1, 2, 2).to(x)) * x[:, :1, :1],
        ((2, 5),),
        (2, 5),
    ),
    ("Convolution", "one number as the bias of all"): (
        lambda x, w, v: F.conv1d(x, w, v.expand(3)),
        ((3, 2, 2), (1,)),
        (2, 5),
    ),
    ("Addmm", "beta and alpha"): (lambda x, w, v: torch.addmm(v, x, w, beta=2, alpha=0.5), ((4, 3), (3,)), (4,)),
    ("Addmm", "bias of one row"): (lambda x, w, v: torch.addmm(v, x, w.t(), beta=-1), ((3, 4), (1, 3)), (4,)),
    ("Addmm", "weight permuted by nothing"): (
        lambda x, w, v: torch.addmm(v, x, w.permute(0, 1), alpha=3),
        ((4, 4), (4,)),
        (4,),
    ),
    ("Addmm", "bias reshaped"): (lambda x, w, v: torch.addmm(v.reshape(3), x, w), ((4, 3), (3, 1)), (4,)),
    ("Addmm", "bias of one number"): (lambda x, w, v: torch.addmm(v, x, w, beta=0.3), ((4, 3), (1,)), (4,)),
    ("Addmm", "zero beta"): (lambda x, w, v: torch.addmm(v, x, w, beta=0.0), ((4, 3), (3,)), (4,)),
    ("Addmm", "rows of one sample"): (
        lambda x, w, v: torch.addmm(v, rows(x), w, alpha=0.5).reshape(x.shape[0], 3, 2),
        ((4, 2), (2,)),
        (3, 4),
    ),
    ("Mm", "plain"): (torch.mm, ((4, 3),), (4,)),
    ("Mm", "permuted by nothing"): (lambda x, w: torch.mm(x, w.permute(0, 1)), ((4, 4),), (4,)),
    ("Mm", "permuted"): (lambda x, w: torch.mm(x, w.permute(1, 0)), ((4, 4),), (4,)),
    ("Mm", "transposed twice"): (lambda x, w: torch.mm(x, w.t().transpose(-1, 0)), ((4, 4),), (4,)),
    ("Mm", "reshaped"): (lambda x, w: torch.mm(x, w.reshape(4, 4)), ((2, 8),), (4,)),
    ("Mm", "viewed, then transposed"): (lambda x, w: torch.mm(x, w.view(2, 4).t()), ((8,),), (4,)),
    ("Mm", "three axes permuted, then viewed"): (
        lambda x, w: torch.mm(x, w.permute(2, 0, 1).reshape(4, 4)),
        ((2, 2, 4),),
        (4,),
    ),
    ("Mm", "transposed, then reshaped"): (lambda x, w: torch.mm(x, w.t().reshape(4, 3)), ((6, 2),), (4,)),
    ("Mm", "one column expanded"): (lambda x, w: torch.mm(x, w.expand(4, 3)), ((4, 1),), (4,)),
    ("Mm", "unsqueezed"): (lambda x, w: torch.mm(x, w.unsqueeze(1)), ((4,),), (4,)),
    ("Mm", "weight on the left"): (lambda x, w: torch.mm(w, rows(x).t()).t().reshape(x.shape[0], -1), ((3, 4),), (4,)),
    ("Mm", "rows of one sample"): (
        lambda x, w: torch.mm(rows(x), w.t()).reshape(x.shape[0], 3, 2),
        ((2, 4),),
        (3, 4),
    ),
    ("Mm", "rows time-major"): (
        lambda x, w: torch.mm(rows(x.transpose(0, 1)), w).reshape(3, x.shape[0], 2).transpose(0, 1),
        ((4, 2),),
        (3, 4),
    ),
    ("Add", "alpha"): (lambda x, w: torch.add(x, w, alpha=-1.5), ((4,),), (4,)),
    ("Add", "first, with alpha"): (lambda x, w: torch.add(w, x, alpha=-1.5), ((4,),), (4,)),
    ("Add", "one number"): (lambda x, w: x + w, ((),), (4,)),
    ("Add", "one per row"): (lambda x, w: torch.add(x, w, alpha=2), ((3, 1),), (3, 4)),
    ("Add", "axes of one in front"): (lambda x, w: x + w, ((1, 1, 4),), (3, 4)),
    ("Add", "more axes than the data"): (lambda x, w: (x + w).transpose(0, 1), ((2, 1, 4),), (4,)),
    ("Sub", "alpha"): (lambda x, w: torch.sub(x, w, alpha=0.7), ((4,),), (4,)),
    ("Sub", "first, with alpha"): (lambda x, w: torch.sub(w, x, alpha=0.7), ((3, 1),), (3, 4)),
    ("Mul", "one per column"): (lambda x, w: x * w, ((4,),), (4,)),
    ("Mul", "first, one per row"): (lambda x, w: w * x, ((3, 1),), (3, 4)),
    ("Mul", "one number"): (lambda x, w: w * x, ((),), (3, 4)),
    ("Mul", "transposed"): (lambda x, w: x * w.t(), ((4, 3),), (3, 4)),
    ("Mul", "broadcast data"): (lambda x, w: x[:, :1] * w, ((3, 4),), (3, 4)),
    ("Mul", "middle axis"): (lambda x, w: x * w.unsqueeze(1), ((3,),), (2, 3, 2)),
    ("NativeLayerNorm", "one axis"): (lambda x, w, v: F.layer_norm(x, (4,), w, v, eps=1e-2), ((4,), (4,)), (3, 4)),
    ("NativeLayerNorm", "two axes"): (
        lambda x, w, v: F.layer_norm(x, (3, 4), w, v, eps=1e-2),
        ((3, 4), (3, 4)),
        (2, 3, 4),
    ),
    ("NativeLayerNorm", "without a bias"): (lambda x, w: F.layer_norm(x, (3, 4), w), ((3, 4),), (3, 4)),
    ("NativeLayerNorm", "weight transposed"): (lambda x, w: F.layer_norm(x, (3, 4), w.t()), ((4, 3),), (3, 4)),
    ("NativeBatchNorm", "vectors"): (normed, ((4,), (4,)), (4,)),
    ("NativeBatchNorm", "images"): (normed, ((3,), (3,)), (3, 2, 2)),
    ("NativeBatchNorm", "weight reshaped"): (
        lambda x, w, v: normed(x, w.reshape(-1), v.t().reshape(-1)),
        ((1, 3), (1, 3)),
        (3, 2),
    ),
    ("Embedding", "plain"): (lambda x, w: F.embedding(tokens(x), w), ((6, 2),), (4,)),
    ("Embedding", "padding"): (lambda x, w: F.embedding(tokens(x), w, padding_idx=1), ((6, 2),), (4,)),
    ("Embedding", "the last row is padding"): (
        lambda x, w: F.embedding(tokens(x), w, padding_idx=-1),
        ((6, 2),),
        (4,),
    ),
    ("Embedding", "rows of a transposed table"): (lambda x, w: F.embedding(tokens(x), w.t()), ((2, 6),), (4,)),
    ("IndexSelect", "rows"): (lambda x, w: selected(x, w, -2), ((6, 2),), (4,)),
    ("IndexSelect", "columns"): (lambda x, w: selected(x, w, 1).t().reshape(x.shape[0], -1), ((2, 6),), (4,)),
}
# Parameters of the cases that no rule is for: they go by one product per entry.
WITHOUT_FORM = {
    ("Convolution", "transposed", "w"),
    ("Convolution", "weight permuted", "w"),
    ("Convolution", "weight reshaped", "w"),
    ("Convolution", "weight as data", "w"),
    ("Convolution", "one number as the bias of all", "v"),
    ("Mm", "transposed, then reshaped", "w"),
    ("Mm", "one column expanded", "w"),
    ("Mm", "weight on the left", "w"),
    ("Add", "more axes than the data", "w"),
    ("NativeLayerNorm", "weight transposed", "w"),
    ("NativeBatchNorm", "weight reshaped", "w"),
    ("NativeBatchNorm", "weight reshaped", "v"),
    ("Embedding", "rows of a transposed table", "w"),
    ("IndexSelect", "columns", "w"),
}
DATA = RNG.standard_normal((SAMPLES, 48))


def ruled(name: tuple[str, str]) -> tuple[nn.Module, np.ndarray]:
    torch.manual_seed(0)
    function, shapes, shape = RULES[name]
    module = Ruled(function, *shapes, data=shape)
    return module, DATA[:, : int(np.prod(shape))]


FORMS = ("output_hessian", "output_hessian_shared")


@pytest.mark.parametrize("name", RULES, ids=" ".join)
def test_rules_of_weights(name: tuple[str, str], diag: Diag, tmp_path: Path) -> None:
    """Whatever the arguments, and however the weight is turned on its way: by its rule, forced, the dense diagonal.

    Where a rule does not apply, the method is refused, and what is taken instead gives the dense diagonal, too.
    """
    module, x = ruled(name)
    assert name[0] in operations(module(torch.from_numpy(x).float()))
    path = traced(module, x, tmp_path / "m.pt", count=BATCH)
    expected = batchwise(module, x, LABELS, cross_entropies)
    for layer in ("w", "v")[: len(expected)]:
        words = (path, {"x": x}, LABELS, LOGITS, "--no-verify", "--layer", layer)
        forced = [diag(*words, "--method", form) for form in FORMS]
        done = [result for result in forced if result.code == 0]
        assert {result.code for result in forced} <= {0, 2}
        assert bool(done) == ((*name, layer) not in WITHOUT_FORM)
        for result in done or [diag(*words)]:
            assert result.code == 0
            assert_close(result.diagonal, {f"{layer}/{layer}": expected[f"{layer}/{layer}"]}, 1e-9)


def test_every_rule_applies_to_something() -> None:
    """For each operation there is a case whose weight goes by the rule; one that is added to the table needs one."""
    assert {kind for kind, label in RULES if (kind, label, "w") not in WITHOUT_FORM} == set(torch_rules._RULES)


@pytest.mark.parametrize("name", [("Mm", "permuted by nothing"), ("Addmm", "beta and alpha"), ("Mul", "transposed")])
def test_rules_in_float32(name: tuple[str, str], diag: Diag, tmp_path: Path) -> None:
    """The form of an operation is confirmed in the run's own dtype, too."""
    module, x = ruled(name)
    x = x.astype(np.float32).astype(np.float64)
    path = traced(module, x, tmp_path / "m.pt", count=BATCH)
    options = ("--dtype", "float32", "--layer", "w", "--method", "output_hessian")
    result = diag(path, {"x": x}, LABELS, LOGITS, *options)
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, LABELS, cross_entropies, only={"w/w"}), 1e-4)


def test_gradients_scaled_by_frequency_are_not_this_rules(diag: Diag, tmp_path: Path) -> None:
    """``scale_grad_by_freq`` makes a gradient that is none of the loss: torch's own, and no rule is laid over it."""
    torch.manual_seed(0)

    def function(x: Tensor, w: Tensor) -> Tensor:
        return F.embedding(tokens(x), w, scale_grad_by_freq=True)

    module, x = Ruled(function, (6, 2)), DATA[:, :4]
    result = diag(traced(module, x, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS)
    assert not any(method.startswith("output_hessian") for method in result.method.values())
    assert result.code in (0, 3, 4)
