"""The gradient in two parts: Jacobians against torch.func, both frameworks, and what a split can't do."""

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

from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.split import SplitRecord

from .conftest import ROOT, SAMPLES

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(31)
IMAGES, LABELS = RNG.standard_normal((SAMPLES, 2, 5, 5)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
Compute = Callable[..., tuple[int, Path]]


class Net(nn.Module):
    """A convolution, a norm and a dense layer, with a path around the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3)
        self.norm = nn.LayerNorm(27)
        self.middle = nn.Linear(27, 27)
        self.last = nn.Linear(27, 3)

    def head(self, x: Tensor) -> Tensor:
        """Up to the middle's output."""
        return self.middle(self.norm(torch.tanh(self.first(x)).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(torch.tanh(self.first(x)).flatten(1))
        return self.last(torch.tanh(self.middle(h)) + h)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, Path]:
    torch.manual_seed(7)
    module = Net()
    path = tmp_path_factory.mktemp("net") / "net.pt"
    torch.jit.script(module).save(str(path))
    return copy.deepcopy(module).double(), path


def split(compute: Compute, path: Path, layer: str, *options: str) -> SplitRecord:
    code, report = compute("split", path, {"x": IMAGES}, LABELS, LOGITS, "--at", layer, *options)
    assert code == 0
    found = read_report(report).layer(layer).split
    assert found is not None
    return found


def gradients(net: Net) -> dict[str, np.ndarray]:
    loss = F.cross_entropy(net(torch.from_numpy(IMAGES)), torch.from_numpy(LABELS))
    found = torch.autograd.grad(loss, list(net.parameters()))
    return {name: g.numpy() for (name, _), g in zip(net.named_parameters(), found, strict=True)}


def near(found: Any, expected: Any, tolerance: float = 1e-12) -> bool:
    return bool(np.abs(np.asarray(found) - np.asarray(expected)).max() <= tolerance * np.abs(expected).max())


def test_a_dense_layer(compute: Compute, net: tuple[Net, Path]) -> None:
    """∂z/∂W is the layer's input in the row of its output; ∂L/∂z comes from the rest of the network."""
    module, path = net
    found = split(compute, path, "middle")
    x = torch.from_numpy(IMAGES)
    h = module.norm(torch.tanh(module.first(x)).flatten(1))
    z = module.middle(h).detach().requires_grad_()
    loss = F.cross_entropy(module.last(torch.tanh(z) + h), torch.from_numpy(LABELS))
    assert near(found.output_gradient, torch.autograd.grad(loss, z)[0])
    weight, bias = found.parts
    assert near(weight.jacobian, torch.einsum("ij,nk->nijk", torch.eye(27).double(), h).detach())
    assert near(bias.jacobian, np.broadcast_to(np.eye(27), (SAMPLES, 27, 27)))
    for part, name in ((weight, "middle.weight"), (bias, "middle.bias")):
        assert near(part.product, gradients(module)[name])
        assert near(part.gradient, gradients(module)[name])
        assert part.relative_difference < 1e-13


def test_by_the_input(compute: Compute, net: tuple[Net, Path]) -> None:
    """∂z/∂x against torch.func; the path around the middle is what the product leaves out."""
    module, path = net
    (part,) = split(compute, path, "middle", "--by", "x").parts
    one = torch.func.vmap(torch.func.jacrev(lambda x: module.head(x[None])[0]))
    jacobian = one(torch.from_numpy(IMAGES)).detach().numpy()
    assert near(part.jacobian, jacobian)
    x = torch.from_numpy(IMAGES).requires_grad_()
    loss = F.cross_entropy(module(x), torch.from_numpy(LABELS))
    assert near(part.gradient, torch.autograd.grad(loss, x)[0])
    assert part.relative_difference > 0.1


def test_by_another_layers_parameter(compute: Compute, net: tuple[Net, Path]) -> None:
    """z is not linear in it, and its Jacobian is made by passes: for a sum over samples it would be too small."""
    module, path = net
    found = split(compute, path, "middle", "--by", "first.bias", "--limit", "6")
    (part,) = found.parts
    parameters = dict(module.named_parameters())

    def head(bias: Tensor, x: Tensor) -> Tensor:
        changed = {n: p for n, p in parameters.items() if not n.startswith("last")} | {"first.bias": bias}
        h = F.conv2d(x[None], changed["first.weight"], changed["first.bias"])
        h = F.layer_norm(torch.tanh(h).flatten(1), (27,), changed["norm.weight"], changed["norm.bias"])
        return (h @ changed["middle.weight"].T + changed["middle.bias"])[0]

    x = torch.from_numpy(IMAGES[found.rows])
    jacobian = torch.func.vmap(torch.func.jacrev(head), in_dims=(None, 0))(parameters["first.bias"], x)
    assert near(part.jacobian, jacobian.detach())


@pytest.mark.parametrize("layer", ["first", "norm", "last"])
def test_other_layers(layer: str, compute: Compute, net: tuple[Net, Path]) -> None:
    """A convolution keeps the shape of its output; the products are the gradients."""
    module, path = net
    found = split(compute, path, layer)
    assert found.z_shape == {"first": (3, 3, 3), "norm": (27,), "last": (3,)}[layer]
    for part in found.parts:
        assert near(part.product, gradients(module)[f"{layer}.{part.by}"])
        assert part.kept == "whole"


def test_a_jacobian_that_does_not_fit(compute: Compute, net: tuple[Net, Path]) -> None:
    """Only its product is formed, it says so, and the smaller one is still kept."""
    module, path = net
    found = split(compute, path, "middle", "--jacobian-limit", "300K")
    weight, bias = found.parts
    assert (weight.kept, bias.kept) == ("products", "whole")
    assert weight.jacobian is None
    assert "6 MiB, --jacobian-limit is 300 KiB" in weight.reason
    assert near(weight.product, gradients(module)["middle.weight"])


@pytest.mark.parametrize(("layer", "label"), [("conv4_3", "weight"), ("fc6", "bias")])
def test_both_frameworks(layer: str, label: str, tmp_path: Path) -> None:
    """The sample VGG16's parts are the same in both formats, up to the layout."""
    found = []
    for name in ("vgg16_digits.pt", "vgg16_digits"):
        report = tmp_path / f"{name}.h5"
        options = ["--limit", "1", "--dtype", "float64", "-q", "-o", str(report), "--at", layer]
        assert run(["split", str(ROOT / "sample_models" / name), *options]) == 0
        found.append(read_report(report).layer(layer).split)
    one, other = found
    turned = other.output_gradient.transpose(0, 3, 1, 2) if layer == "conv4_3" else other.output_gradient
    assert near(one.output_gradient, turned, 1e-10)
    twin = {"weight": "kernel"}.get(label, label)
    mine, theirs = (next(p for p in s.parts if p.by in (label, twin)) for s in found)
    assert near(mine.product, theirs.product.transpose(3, 2, 0, 1) if layer == "conv4_3" else theirs.product, 1e-10)
    if layer == "conv4_3":
        jacobian = theirs.jacobian.transpose(0, 3, 1, 2, 7, 6, 4, 5)
        assert near(mine.jacobian, jacobian, 1e-10)


class Tied(nn.Module):
    """One weight used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.last = nn.Linear(50, 50), nn.Linear(50, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.twice(torch.tanh(self.twice(x.flatten(1))))))


class Computed(nn.Module):
    """A weight that is computed from a parameter before it meets the data."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(3, 50))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ torch.tanh(self.raw).T


@pytest.mark.parametrize(
    ("module", "layer", "said"),
    [(Tied, "twice", "used 2 times"), (Computed, "raw", "passes through Tanh before it meets the data")],
)
def test_layers_without_a_single_output(  # noqa: PLR0917 - pytest passes by name
    module: type[nn.Module],
    layer: str,
    said: str,
    compute: Compute,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Refused with the reason; exit code 3."""
    torch.jit.script(module()).save(str(tmp_path / "model.pt"))
    code, _ = compute("split", tmp_path / "model.pt", {"x": IMAGES}, LABELS, LOGITS, "--at", layer)
    assert code == 3
    assert said in capfd.readouterr().err


def test_a_pattern_leaves_out_what_has_no_output(
    compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others are done; the run is incomplete, and the report says why."""
    torch.jit.script(Tied()).save(str(tmp_path / "model.pt"))
    code, path = compute("split", tmp_path / "model.pt", {"x": IMAGES}, LABELS, LOGITS, "--at", "*")
    assert code == 4
    assert "twice.weight is used 2 times" in capfd.readouterr().out
    report = read_report(path)
    assert {row.name: (row.status, row.split != ()) for row in report.layers} == {
        "twice": ("failed", False),
        "last": ("done", True),
    }
    assert all("used 2 times" in p.reason for p in report.layer("twice").parameters)
    part = report.layer("last").split.parts[0]
    assert part.relative_difference < 1e-12


def test_a_sequence_in_time_major_order(compute: Compute, tmp_path: Path) -> None:
    """Rows of one sample that lie apart are brought together."""

    class TimeMajor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            steps = x.flatten(1, 2).transpose(0, 1)
            return self.last(torch.tanh(self.token(steps)).mean(0))

    torch.manual_seed(3)
    module = TimeMajor()
    torch.jit.script(module).save(str(tmp_path / "model.pt"))
    found = split(compute, tmp_path / "model.pt", "token", "--by", "weight")
    assert found.z_shape == (10, 4)
    (part,) = found.parts
    steps = torch.from_numpy(IMAGES).flatten(1, 2)
    assert near(part.jacobian, torch.einsum("ij,ntk->ntijk", torch.eye(4).double(), steps))
    module.double()
    loss = F.cross_entropy(module(torch.from_numpy(IMAGES)), torch.from_numpy(LABELS))
    assert near(part.product, torch.autograd.grad(loss, module.token.weight)[0])


class FirstStep(nn.Module):
    """Time-major, and only the first step reaches the loss: its rows come first, as a sample's own would."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.token(x.flatten(1, 2).transpose(0, 1)).reshape(-1, 4)[: x.shape[0]]))


class EveryStep(FirstStep):
    """Time-major rows in one axis, all of them used."""

    def forward(self, x: Tensor) -> Tensor:
        rows = self.token(x.flatten(1, 2).transpose(0, 1).reshape(-1, 5))
        return self.last(torch.tanh(rows.reshape(10, -1, 4)).mean(0))


@pytest.mark.parametrize(("module", "ignored"), [(FirstStep, 0), (EveryStep, 0), (EveryStep, 10)])
def test_rows_go_to_their_samples(module: type[nn.Module], ignored: int, compute: Compute, tmp_path: Path) -> None:
    """Also where half of a batch has no gradient: by the input the product is each sample's own gradient."""
    torch.manual_seed(5)
    net = module()
    torch.jit.script(net).save(str(tmp_path / "model.pt"))
    labels = LABELS.copy()
    labels[:ignored] = -1
    options = ("--at", "token", "--by", "x", "--by", "weight")
    code, report = compute(
        "split", tmp_path / "model.pt", {"x": IMAGES}, labels, f"{LOGITS}\nignore_index = -1", *options
    )
    assert code == 0
    found = read_report(report).layer("token").split
    x = torch.from_numpy(IMAGES).requires_grad_()
    loss = F.cross_entropy(net.double()(x), torch.from_numpy(labels), ignore_index=-1)
    by_input, by_weight = torch.autograd.grad(loss, [x, net.token.weight])
    assert near(found.parts[0].product, by_input)
    assert near(found.parts[1].product, by_weight)


def test_beside_a_table_of_tokens(compute: Compute, tmp_path: Path) -> None:
    """An embedding meets the data by whole numbers, which have no gradient of their own."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.last = nn.Embedding(4, 5), nn.Linear(5, 3)

        def forward(self, tokens: Tensor, v: Tensor) -> Tensor:
            return self.last(torch.tanh(self.table(tokens) + v.mul_(2)))

    torch.manual_seed(6)
    net = Tokens()
    torch.jit.script(net).save(str(tmp_path / "model.pt"))
    data = {"tokens": RNG.integers(0, 4, SAMPLES), "v": RNG.standard_normal((SAMPLES, 5))}
    code, report = compute("split", tmp_path / "model.pt", data, LABELS, LOGITS, "--at", "table", "--by", "weight")
    assert code == 0
    (part,) = read_report(report).layer("table").split.parts
    inputs = torch.from_numpy(data["tokens"]), torch.from_numpy(data["v"].copy())
    loss = F.cross_entropy(net.double()(*inputs), torch.from_numpy(LABELS))
    assert near(part.product, torch.autograd.grad(loss, net.table.weight)[0])
    assert part.jacobian.sum() == SAMPLES * 5


def test_mistakes(compute: Compute, net: tuple[Net, Path], capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong layer or factor is a usage error with what there is."""
    for options, said in ((("--at", "mid"), "mid"), (("--at", "middle", "--by", "kernel"), "weight, bias, x")):
        code, _ = compute("split", net[1], {"x": IMAGES}, LABELS, LOGITS, *options)
        assert code == 2
        assert said in capfd.readouterr().err
