"""Exports for one number of samples, and a last batch of fewer: the structure, methods and numbers of any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from sessions import session_of
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.cli.main import run
from curvcli.curvature.diagonal.planner import METHODS, Method, plan_diagonal
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed

from .batchwise import batchwise
from .conftest import Outcome, assert_close
from .counting import CountedObjective
from .exported import exported

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(83)
# Three in the last batch: no number of rows there is a multiple of the samples but by what it is filled up with.
SAMPLES, BATCH = 11, 4
X, Y = RNG.standard_normal((SAMPLES, 6)), RNG.integers(0, 3, SAMPLES)
# One of the used samples and one of the last batch don't count.
Y[[2, 9]] = -1
WEIGHTS, CLASSES = RNG.uniform(0.2, 2, SAMPLES), [1.0, 2.0, 0.5]
LOGITS = 'name = "cross_entropy"\nfrom_logits = true\nignore_index = -1'
WEIGHTED = f'{LOGITS}\nclass_weights = {CLASSES}\nsample_weight = "w"\nreduction = "sum"'


class Net(nn.Module):
    """Four dense layers."""

    def __init__(self, activation: Callable[[Tensor], Tensor] = torch.tanh, *, normalised: bool = False) -> None:
        super().__init__()
        self.one, self.two, self.three, self.four = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.activation, self.normalised = activation, normalised

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.one, self.two, self.three):
            x = self.activation(layer(x))
        return self.four(x).softmax(1) if self.normalised else self.four(x)


class Images(nn.Module):
    """Convolutions, one of them in groups, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 2, groups=3)
        self.four = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.four(F.silu(self.two(torch.relu(self.norm(self.one(x))))).flatten(1))


class Tokens(nn.Module):
    """Logits of tokens, those of a sample and the samples in one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.one, self.norm, self.four = (
            nn.Embedding(9, 4),
            nn.Linear(4, 4),
            nn.LayerNorm(4),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.four(self.norm(torch.tanh(self.one(self.table(x)).cumsum(1)))).view(-1, 3)


class Sequence(nn.Module):
    """A recurrent network."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.four = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.four(self.one(x)[0][:, -1])


def saved(module: nn.Module, x: np.ndarray, path: Path, *, fixed: bool = True) -> Path:
    example = torch.from_numpy(x[:BATCH])
    example = example.float() if example.is_floating_point() else example
    return exported(module.eval(), (example,), path, free=None if fixed else "samples")


def spec_of(folder: Path, x: np.ndarray, y: np.ndarray, loss: str) -> Path:
    np.savez(folder / "data.npz", x=x, y=y, w=WEIGHTS)
    lines = ["version = 1", "[source]", 'format = "npz"', 'path = "data.npz"', "[inputs.x]", 'column = "x"']
    lines += ["[target]", 'column = "y"', "[loss]", loss, "[sampling]", f"batch_size = {BATCH}"]
    (folder / "data.toml").write_text("\n".join(lines))
    return folder / "data.toml"


def called(folder: Path, model: Path, *words: str) -> tuple[int, Path]:
    report = folder / f"{model.stem}.h5"
    command, *options = words
    fixed = ["--data", str(folder / "data.toml"), "-o", str(report), "-q", "--force", "--dtype", "float64"]
    return run([command, str(model), *fixed, *options]), report


@pytest.mark.parametrize("activation", [torch.relu, torch.tanh])
def test_the_last_batch_costs_what_the_others_do(activation: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    """As many passes as an export for any number of samples needs, and far fewer than one for each of 83 entries."""
    torch.manual_seed(0)
    data, module, passes = spec_of(tmp_path, X, Y, LOGITS), Net(activation), []
    for fixed in (True, False):
        session = session_of(saved(module, X, tmp_path / f"{fixed}.pt2", fixed=fixed), data, batch_size=BATCH)
        parameters = [p for layer in session.model.layers for p in layer.parameters]
        counted = CountedObjective(session.objective)
        plan = plan_diagonal(parameters, counted.sites([p.name for p in parameters]), 3)
        assert {choice.method for choice in plan.choices.values()} <= {"gauss_newton", "smooth_units", "output_hessian"}
        for work in plan.work:
            computed(work, SerialEngine(counted))
        passes.append(counted.backward_passes)
    assert passes[0] == passes[1] <= 3 * 30


def weighted(output: Tensor, y: Tensor, w: Tensor) -> Tensor:
    each = F.cross_entropy(output, y, torch.tensor(CLASSES).double(), ignore_index=-1, reduction="none")
    return (each * w).sum()


# One that shares passes between places, and each weight has but one.
@pytest.mark.parametrize("method", [method for method in METHODS if not method.endswith(("shared", "uses"))])
def test_every_exact_method_with_weights(method: Method, tmp_path: Path) -> None:
    """Of samples and classes, a target that is ignored in the last batch, and a sum instead of a mean."""
    torch.manual_seed(0)
    # Where the Gauss–Newton part is all, its method is exact.
    module = Net(torch.relu if method == "gauss_newton" else torch.tanh)
    spec_of(tmp_path, X, Y, WEIGHTED)
    code, report = called(tmp_path, saved(module, X, tmp_path / "m.pt2"), "diag", "--method", method, "--no-verify")
    assert code == 0
    expected = batchwise(
        module, X, np.stack([Y, WEIGHTS], 1), lambda out, t: len(X) * weighted(out, t[:, 0].long(), t[:, 1]), size=BATCH
    )
    assert_close(Outcome(code, report).diagonal, expected, 1e-12)


def test_a_split_has_a_row_for_every_sample_and_no_other(tmp_path: Path) -> None:
    """∂ℓ/∂z by autograd, ∂z/∂W by the layer's input; products are sums over the samples."""
    torch.manual_seed(0)
    module = Net()
    spec_of(tmp_path, X, Y, WEIGHTED)
    code, report = called(tmp_path, saved(module, X, tmp_path / "m.pt2"), "split", "--at", "three")
    assert code == 0
    exact = module.double()
    h = torch.tanh(exact.two(torch.tanh(exact.one(torch.from_numpy(X)))))
    z = exact.three(h).detach().requires_grad_()
    loss = weighted(exact.four(torch.tanh(z)), torch.from_numpy(Y), torch.from_numpy(WEIGHTS))
    (slope,) = torch.autograd.grad(loss, z)
    with h5py.File(report) as file:
        group = file["layers"][next(iter(file["layers"]))]["split"]
        arrays: dict[str, np.ndarray] = {}
        group.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    by_shape = {array.shape: array for array in arrays.values()}
    np.testing.assert_allclose(by_shape[SAMPLES, 4], slope, rtol=0, atol=1e-14)
    jacobian = torch.einsum("ij,nk->nijk", torch.eye(4).double(), h).detach()
    np.testing.assert_allclose(by_shape[SAMPLES, 4, 4, 4], jacobian, rtol=0, atol=1e-14)
    np.testing.assert_allclose(by_shape[4, 4], slope.T @ h.detach(), rtol=0, atol=1e-14)


IMAGES, SERIES, WORDS = (
    RNG.standard_normal((SAMPLES, 2, 5, 5)),
    RNG.standard_normal((SAMPLES, 5, 2)),
    RNG.integers(0, 9, (SAMPLES, 5)),
)
LABELS = RNG.integers(0, 3, (SAMPLES, 5))
LABELS[2, 1:] = LABELS[10, 3] = -1
CASES: dict[str, tuple[Callable[[], nn.Module], np.ndarray, np.ndarray, str]] = {
    "dense": (Net, X, Y, WEIGHTED),
    "probabilities": (lambda: Net(normalised=True), X, Y, WEIGHTED.replace("true", "false")),
    "squares": (Net, X, RNG.standard_normal((SAMPLES, 3)), 'name = "mse"\nsample_weight = "w"'),
    "images": (Images, IMAGES, Y, WEIGHTED),
    "tokens": (Tokens, WORDS, LABELS, f'{LOGITS}\nsample_weight = "w"'),
    "sequences": (Sequence, SERIES, Y, LOGITS),
}
COMMANDS = (
    "diag",
    "diag --matrix fisher",
    "diag --matrix empirical_fisher",
    "diag --method activation_probes --probes 5",
    "diag --method hutchinson --probes 5",
    "trace",
    "eigs -k 3 --whole-model --matrix gauss_newton --method gram",
    "eigs -k 2 --whole-model",
    "density --probes 3",
    "hessian",
    "inputs --full",
    "split --at four",
)
GATE = {("images", "diag"), ("tokens", "split --at four"), ("probabilities", "diag"), ("dense", COMMANDS[6])}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        pytest.param(case, words, marks=() if (case, words) in GATE else pytest.mark.slow)
        for case in CASES
        for words in COMMANDS
    ],
)
def test_the_report_is_that_of_an_export_for_any_number(case: str, words: str, tmp_path: Path) -> None:
    """Methods and arrays; what one can't do, neither can the other."""
    make, x, y, loss = CASES[case]
    torch.manual_seed(0)
    module = make()
    spec_of(tmp_path, x, y, loss)
    reports = []
    for fixed in (True, False):
        verify = () if words.startswith(("inputs", "split")) else ("--no-verify",)
        path = saved(module, x, tmp_path / f"{fixed}.pt2", fixed=fixed)
        reports.append(called(tmp_path, path, *words.split(), *verify))
    (code, one), (expected_code, other) = reports
    assert code == expected_code
    if code == 2:
        assert (case, words) in {("tokens", "inputs --full"), ("sequences", COMMANDS[3]), ("sequences", COMMANDS[6])}
        return
    result, expected = arrays_of(one), arrays_of(other)
    assert result.keys() == expected.keys()
    assert any(array.dtype.kind == "f" and array.size for array in expected.values())
    for name, array in expected.items():
        if array.dtype.kind != "f":
            assert not name.endswith("method") or (result[name] == array).all(), name
        elif not any(word in name for word in ("seconds", "residual", "difference")):  # of time, or rounding itself
            scale = np.nanmax(np.abs(array), initial=0)
            np.testing.assert_allclose(result[name], array, rtol=0, atol=1e-11 * scale, err_msg=name)


def arrays_of(report: Path) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(report) as file:
        file.visititems(
            lambda name, item: arrays.update({name: np.asarray(item[()])}) if isinstance(item, h5py.Dataset) else None
        )
    return arrays
