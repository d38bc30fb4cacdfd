"""torch.export archives against dense float64 Hessians of the eager module, made by torch alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.models.open import open_model
from curvcli.models.torch.model import TorchModel
from curvcli.models.torch.program import differentiable

from .batchwise import batchwise, cross_entropies, traced
from .conftest import SAMPLES, Outcome, assert_close
from .exported import AUTO, exported
from .torch_networks import Attention, Bag, Convolutions, Dead, Recurrent, Smooth, TimeMajor, Twice

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
IMAGES, SEQUENCES = (2, 8, 8), (5, 3)
RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)


def opened(path: Path, dtype: str = "float64") -> TorchModel:
    model = open_model(path, dtype=dtype)
    assert isinstance(model, TorchModel)
    return model


def inputs_of(shape: tuple[int, ...] | str) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 7, (SAMPLES, 5)) if shape == "tokens" else rng.standard_normal((SAMPLES, *shape))


def example(x: np.ndarray, count: int = 4) -> Tensor:
    tensor = torch.from_numpy(x[:count])
    return tensor.float() if tensor.is_floating_point() else tensor


class Encoder(nn.Module):
    """PyTorch's own: fused attention, layer norms, a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(
            self.layer(self.table(x), src_key_padding_mask=(x == 0) & (x.sum(1, keepdim=True) > 0)).mean(1)
        )


class Gated(nn.Module):
    """What has no second derivative, or a wrong one, until it is written out; or written out by hand."""

    def __init__(self, *, by_hand: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.Linear(6, 3)
        self.by_hand = by_hand

    def forward(self, x: Tensor) -> Tensor:
        if not self.by_hand:
            return self.two(torch.tanh(F.hardsigmoid(2 * self.one(x)) * F.hardswish(self.one(x))))
        parts = self.one.parametrizations.weight
        size, direction = parts.original0, parts.original1
        h = F.linear(x, size * direction / direction.square().sum(1, keepdim=True).sqrt(), self.one.bias)
        return self.two(torch.tanh((2 * h + 3).clamp(0, 6) / 6 * h * (h + 3).clamp(0, 6) / 6))


class Detached(nn.Module):
    """A region without gradients, which is another function to differentiate than the same with them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        with torch.no_grad():
            size = h.norm(dim=1, keepdim=True) + h.detach().sum(1, keepdim=True)
        return self.two(h * size)


class Branching(nn.Module):
    """One way or another, by a batch's first number; PyTorch's own second derivative of ``cond`` is zero."""

    def __init__(self, *, by_hand: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)
        self.by_hand = by_hand

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        if self.by_hand:
            return self.two(torch.tanh(h) if bool(x[0, 0] > 0) else torch.sin(h))
        return self.two(torch.cond(x[0, 0] > 0, torch.tanh, torch.sin, (h,)))


class Cast(nn.Module):
    """Autocast, and a dtype written in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = torch.tanh(self.one(x))
        return self.two(h.float() + torch.zeros(1, dtype=torch.float32))


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...] | str]] = {
    "convolutions": (Convolutions, IMAGES),
    "smooth": (Smooth, (5,)),
    "attention": (Attention, "tokens"),
    "encoder": (Encoder, "tokens"),
    "bag": (Bag, "tokens"),
    "twice": (Twice, (4,)),
    "dead": (Dead, (4,)),
    "recurrent": (Recurrent, SEQUENCES),
    "time_major": (TimeMajor, SEQUENCES),
    "gated": (Gated, (4,)),
    "detached": (Detached, (4,)),
    "branching": (Branching, (4,)),
}
# The random networks of the gate have such layers too.
SLOW = {"convolutions", "attention", "encoder", "recurrent", "dead", "twice"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NETWORKS])
def test_the_diagonal_of_every_parameter_is_the_dense_hessians(name: str, diag: Diag, tmp_path: Path) -> None:
    """Whatever the layers between, from a file in float32 with any number of samples, to 1e-9."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module = build().eval()
    x = inputs_of(shape)
    path = exported(module, (example(x),), tmp_path / "m.pt2")
    result = diag(path, {"x": x}, Y, LOGITS, "--no-verify")
    assert result.code == 0
    with differentiable(torch.float64):
        expected = batchwise(by_hand(module), x, Y, cross_entropies)
    names = {k: k.replace("one.parametrizations.weight/", "one/weight.") for k in expected}
    assert_close(result.diagonal, {names[k]: v for k, v in expected.items()}, 1e-9)


def by_hand(module: nn.Module) -> nn.Module:
    """A network that autograd differentiates rightly."""
    if hasattr(module, "by_hand"):
        module = copy.deepcopy(module)
        module.by_hand = True
    return module


@pytest.mark.parametrize(
    "name", [pytest.param("convolutions", marks=pytest.mark.slow), "encoder", "gated", "time_major"]
)
def test_what_decompositions_leave_has_the_same_derivatives(name: str, tmp_path: Path) -> None:
    """Core ATen operators have fused kernels without second derivatives: products equal the eager module's."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module, x = build().eval(), inputs_of(shape)
    program = torch.export.export(module, (example(x),), dynamic_shapes=({0: AUTO},)).run_decompositions()
    torch.export.save(program, tmp_path / "m.pt2")
    model = opened(tmp_path / "m.pt2")
    model.parameters.require(list(model.parameters))
    eager = by_hand(module).double()
    data = torch.from_numpy(x)
    with differentiable(torch.float64):
        pairs = [
            (model.program({"x": data}), list(model.parameters.values())),
            (eager(data), [eager.get_parameter(name) for name in model.parameters]),
        ]
        found, expected = (product(F.cross_entropy(out, torch.from_numpy(Y)), by) for out, by in pairs)
    assert float((found - expected).abs().max()) <= 1e-9 * float(expected.abs().max())


class Copied(nn.Module):
    """``copy_`` in three ways; what decompositions make of it has no derivative of PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        whole, part = torch.empty_like(h).copy_(h.sin()), torch.zeros_like(h)
        part[:, 1:3] = h[:, :2].tanh()
        part[:, 3:].copy_(h[:, :1].exp())
        return self.two(whole * part + h)


@pytest.mark.parametrize("decomposed", [False, True])
def test_a_decomposed_graph_is_told_to_have_lost_what_was_detached(
    decomposed: bool, diag: Diag, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Torch drops ``detach`` and ``no_grad`` in it without a trace, so nobody can say whether it had any."""
    torch.manual_seed(0)
    x = inputs_of((4,))
    module = Copied().eval()
    program = torch.export.export(module, (example(x),), dynamic_shapes=({0: AUTO},))
    torch.export.save(program.run_decompositions() if decomposed else program, tmp_path / "m.pt2")
    result = diag(tmp_path / "m.pt2", {"x": x}, Y, LOGITS, "--no-verify")
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, Y, cross_entropies), 1e-9)
    assert ("drops every detach and torch.no_grad" in capsys.readouterr().err) is decomposed


def product(loss: Tensor, by: list[Tensor]) -> Tensor:
    """The Hessian times the signs of a seed."""
    generator = torch.Generator().manual_seed(1)
    first = torch.autograd.grad(loss, by, create_graph=True, allow_unused=True)
    signs = [torch.randint(0, 2, p.shape, generator=generator, dtype=torch.float64) * 2 - 1 for p in by]
    along = sum((g * s).sum() for g, s in zip(first, signs, strict=True) if g is not None)
    second = torch.autograd.grad(along, by, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(second, by, strict=True)])


def test_lower_precision_written_in_a_graph_is_widened(diag: Diag, tmp_path: Path) -> None:
    """Autocast would round in the middle: what is computed in float64 is the network without it."""
    torch.manual_seed(0)
    module = Cast()
    path = exported(module, (example(X),), tmp_path / "m.pt2")
    plain = nn.Sequential(module.one, nn.Tanh(), module.two)
    expected = batchwise(plain, X, Y, cross_entropies)
    result = diag(path, {"x": X}, Y, LOGITS, "--no-verify")
    names = {"0/": "one/", "2/": "two/"}
    assert_close(result.diagonal, {names[k[:2]] + k[2:]: v for k, v in expected.items()}, 1e-9)


class Named(nn.Module):
    """Tied, frozen, unused and nested things, with names."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)
        self.head.weight = self.table.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.unused, self.scale = nn.Linear(2, 2), nn.Parameter(torch.ones(4))
        self.register_buffer("shift", torch.ones(4))

    def forward(self, tokens: Tensor, more: dict[str, Tensor], mask: Tensor | None = None, *, flag: bool) -> Any:
        h = self.frozen(self.table(tokens).mean(1) + more["vector"]) * self.scale + self.shift
        return {"logits": self.head(h), "states": (h, {"first": h[:, :1]}), "mask": mask, "flag": flag}


def test_names_are_those_of_the_module(tmp_path: Path) -> None:
    """Inputs by argument, outputs by key and place, layers by module; tied weights once, buffers not at all."""
    torch.manual_seed(0)
    module = Named().eval()
    tokens, vector = torch.randint(0, 7, (4, 5)), torch.randn(4, 4)
    free = {"tokens": {0: AUTO}, "more": {"vector": {0: AUTO}}, "flag": None}
    path = exported(module, (tokens, {"vector": vector}), tmp_path / "m.pt2", {"flag": True}, free=free)
    model = opened(path, "float32")
    assert model.program.inputs == ("tokens", "more_vector")
    assert [port.name for port in model.outputs] == ["logits", "states.0", "states.1.first", "mask", "flag"]
    layers = {layer.name: (layer.kind, {p.label: p.trained for p in layer.parameters}) for layer in model.layers}
    assert layers == {
        "scale": ("Parameter", {"scale": True}),
        "table": ("Embedding", {"weight": True}),
        "head": ("Linear", {"bias": True}),
        "frozen": ("Linear", {"weight": False, "bias": False}),
        "unused": ("Module", {"weight": True, "bias": True}),
    }
    found = model.program({"tokens": tokens[:3].int(), "more_vector": vector[:3]})
    own = module(tokens[:3], {"vector": vector[:3]}, flag=True)
    assert torch.equal(found["logits"], own["logits"])
    assert torch.equal(found["states.1.first"], own["states"][1]["first"])


def test_tied_weights_are_one_parameter(tmp_path: Path) -> None:
    """Its gradient is that of both uses, as the eager module's."""
    torch.manual_seed(0)
    module = Named().double().eval()
    tokens, vector = torch.randint(0, 7, (4, 5)), torch.randn(4, 4).double()
    path = exported(module, (tokens, {"vector": vector}), tmp_path / "m.pt2", {"flag": True}, free=None)
    model = opened(path)
    model.parameters.require(["table.weight"])
    (found,) = torch.autograd.grad(
        model.program({"tokens": tokens, "more_vector": vector})["logits"].square().sum(),
        [model.parameters["table.weight"]],
    )
    (own,) = torch.autograd.grad(
        module(tokens, {"vector": vector}, flag=True)["logits"].square().sum(), [module.table.weight]
    )
    assert torch.allclose(found, own, 1e-12, 1e-12)


class Ending(nn.Module):
    """Three classes, as whatever the test says."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.end = nn.Linear(4, 5), nn.Linear(5, 3), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.two(torch.tanh(self.one(x))))


@pytest.mark.parametrize(
    "end",
    [lambda z: z.softmax(-1), lambda z: z.log_softmax(1).reshape(-1, 1, 3).squeeze(1) * 1.0],
    ids=["softmax", "log_softmax, moved"],
)
def test_a_final_softmax_is_cut(end: Callable[[Tensor], Tensor], diag: Diag, tmp_path: Path) -> None:
    """The loss is taken of the logits before it, so the last layer needs the columns of its Hessian alone."""
    torch.manual_seed(0)
    module = Ending(end)
    path = exported(module, (example(X),), tmp_path / "m.pt2")
    final = opened(path).program.final(None)
    assert final is not None
    logits = final.before({"x": torch.from_numpy(X)})
    assert torch.allclose(logits, module.two(torch.tanh(module.one(example(X, SAMPLES)))).double(), atol=1e-5)
    result = diag(path, {"x": X}, Y, LOGITS.replace("true", "false"), "--no-verify")
    plain = Ending(nn.Identity())
    plain.load_state_dict(module.state_dict())
    assert_close(result.diagonal, batchwise(plain, X, Y, cross_entropies), 1e-9)


def test_a_loss_that_the_model_returns(diag: Diag, tmp_path: Path) -> None:
    """One number per sample, as loss.name = "output" has it."""
    torch.manual_seed(0)
    module = Ending(lambda z: z.square().mean(1))
    path = exported(module, (example(X),), tmp_path / "m.pt2")
    result = diag(path, {"x": X}, None, 'name = "output"', "--no-verify")
    assert_close(result.diagonal, batchwise(module, X, Y, lambda out, _: out.sum()), 1e-9)


# -- batches of one number of samples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 8, 37, 64])
def test_an_export_for_one_number_of_samples_gives_the_same(count: int, diag: Diag, tmp_path: Path) -> None:
    """Its batches have that number whatever the spec says, and what is missing in the last one is filled up."""
    torch.manual_seed(0)
    module = Smooth().eval()
    x = inputs_of((5,))
    path = exported(module, (example(np.concatenate([x, x]), count),), tmp_path / "m.pt2", free=None)
    result = diag(path, {"x": x}, Y, LOGITS, "--no-verify")
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, Y, cross_entropies, size=SAMPLES), 1e-9)


class Mixing(nn.Module):
    """Each sample is held against the batch's mean."""

    def __init__(self, *, scalar: bool) -> None:
        super().__init__()
        self.one, self.scalar = nn.Linear(4, 3), scalar

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        return h.square().mean() if self.scalar else h - h.mean(0, keepdim=True)


@pytest.mark.parametrize("scalar", [False, True])
def test_a_batch_is_not_filled_up_where_samples_meet(
    scalar: bool, compute: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The filling would change the answers: two lines say what to do."""
    path = exported(Mixing(scalar=scalar), (example(X, 16 if scalar else 8),), tmp_path / "m.pt2", free=None)
    loss = 'name = "output"' if scalar else LOGITS
    assert compute("diag", path, {"x": X}, None if scalar else Y, loss)[0] in (2, 3)
    assert "dynamic_shapes" in capsys.readouterr().err


def test_shapes_that_were_not_exported_are_refused(tmp_path: Path) -> None:
    """Fixed sizes, sizes that have to be equal, and limits: a graph might compute something else with others."""

    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    samples = torch.export.Dim("samples", max=6)
    free = ({0: samples}, {0: samples})
    model = opened(exported(Two(), (torch.zeros(4, 3), torch.zeros(4, 3)), tmp_path / "m.pt2", free=free))
    assert model.program({"x": torch.zeros(2, 3), "y": torch.zeros(2, 3)}).shape == (2, 3)
    for one, other in (((2, 4), (2, 4)), ((2, 3), (1, 3)), ((7, 3), (7, 3)), ((3,), (3,))):
        with pytest.raises(RuntimeError, match="was exported for"):
            model.program({"x": torch.zeros(one), "y": torch.zeros(other)})


def test_a_way_that_was_not_exported_is_not_taken_in_silence(tmp_path: Path) -> None:
    """By the shape of its inputs the network takes one way or another, and the graph has but the first."""

    class Ways(nn.Module):
        def forward(self, x: Tensor, more: list[Tensor]) -> Tensor:
            x = 2 * x if x.shape[0] % 2 == 0 and max(x.shape[1], 3) < 2 * more[0].shape[0] else x
            return x if more[0].shape[0] // 3 == 2 else 3 * x

    free = ({0: AUTO, 1: AUTO}, [{0: AUTO}])
    path = exported(Ways(), (torch.zeros(4, 8), [torch.zeros(7)]), tmp_path / "m.pt2", free=free)
    model = opened(path)
    assert model.program.inputs == ("x", "more_0")
    for one, other, fits in (
        ((6, 9), 8, True),
        ((6, 9), 6, True),
        ((5, 9), 8, False),
        ((6, 17), 8, False),
        ((6, 9), 9, False),
    ):
        arguments = {"x": torch.ones(one), "more_0": torch.ones(other)}
        if fits:
            assert torch.equal(model.program(arguments), 2 * torch.ones(one))
        else:
            with pytest.raises(RuntimeError, match="exported for sizes"):
                model.program(arguments)


# -- training mode ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "told"), [(nn.Dropout(0.5), "dropout"), (nn.BatchNorm1d(5), "batch norm")], ids=["dropout", "batch norm"]
)
def test_training_mode_is_told(
    layer: nn.Module,
    told: str,
    compute: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is baked in: exit 3, the reason, and eval()."""
    module = nn.Sequential(nn.Linear(4, 5), layer, nn.Linear(5, 3))
    path = exported(module, (example(X),), tmp_path / "m.pt2", training=True)
    model = opened(path)
    assert (model.program.random != ()) == (told == "dropout")
    assert model.program.batch_statistics == (told == "batch norm")
    name = model.program.inputs[0]
    assert compute("diag", path, {name: X}, Y, LOGITS)[0] == 3
    said = capsys.readouterr().err
    assert told in said
    assert "eval()" in said


# -- the same weights in another format -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["smooth", pytest.param("attention", marks=pytest.mark.slow)])
def test_torchscript_of_the_same_weights_agrees(name: str, diag: Diag, tmp_path: Path) -> None:
    """Every diagonal and gradient, to 1e-9."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module, x = build().eval(), inputs_of(shape)
    paths = (exported(module, (example(x),), tmp_path / "m.pt2"), traced(module, x, tmp_path / "m.pt"))
    first, second = (diag(path, {path_input(path): x}, Y, LOGITS, "--no-verify") for path in paths)
    assert_close(first.diagonal, second.diagonal, 1e-9)
    assert_close(first.gradient, second.gradient, 1e-9)
    assert first.method == second.method


def path_input(path: Path) -> str:
    """What a file calls its one input."""
    (name,) = opened(path).program.inputs
    return name
