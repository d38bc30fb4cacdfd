"""Models that draw random numbers, or whose samples meet in a batch norm: refused, or called by their name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report

from .batchwise import batchwise, cross_entropies, scripted, traced
from .conftest import BATCH, SAMPLES, Outcome, assert_close, write_spec

Compute = Callable[..., tuple[int, Path]]
Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
COMMANDS = {
    "diag": ("diag",),
    "trace": ("trace",),
    "eigs": ("eigs", "-k", "1"),
    "density": ("density",),
    "hessian": ("hessian",),
    "inputs": ("inputs",),
    "split": ("split", "--at", "one"),
}


class Net(nn.Module):
    """Two layers, and something in between."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

    def between(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.between(torch.tanh(self.one(x))))


class Dropout(Net):
    """Traced in training mode, the trace keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def between(self, h: Tensor) -> Tensor:
        return self.drop(h)


class Functional(Net):
    """Whatever the mode."""

    def between(self, h: Tensor) -> Tensor:
        return F.dropout(h, 0.3, training=True)


class Noise(Net):
    """Added in every pass."""

    def between(self, h: Tensor) -> Tensor:
        return h + 0.1 * torch.randn(h.shape, dtype=h.dtype)


class Variational(nn.Module):
    """A variational autoencoder's middle."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.spread, self.two = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        spread = torch.exp(0.5 * self.spread(x))
        return self.two(self.one(x) + spread * torch.randn_like(spread))


class Later(Net):
    """Random in a branch that the first batch does not take."""

    def between(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        if bool(x[0, 0] > 100):
            h = h + torch.rand_like(h)
        return self.two(h)


MODELS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "dropout": ("dropout(training=True)", lambda path: traced(Dropout(), X, path, training=True)),
    "functional": ("dropout(training=True)", lambda path: scripted(Functional(), path)),
    "noise": ("randn", lambda path: scripted(Noise(), path)),
    "variational": ("randn_like", lambda path: traced(Variational(), X, path)),
    "later": ("rand_like", lambda path: scripted(Later(), path)),
}


def inputs_of(name: str) -> np.ndarray:
    x = X.copy()
    if name == "later":
        x[BATCH, 0] = 101  # the first sample of the second batch
    return x


def model(name: str, folder: Path) -> tuple[str, Path]:
    torch.manual_seed(0)
    operation, make = MODELS[name]
    return operation, make(folder / "m.pt")


@pytest.mark.parametrize(("name", "command"), covering(MODELS, COMMANDS))
def test_every_command_refuses_random_answers(
    name: str, command: str, compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit 3 before any work; the operation and the way out are named, and no report is written."""
    operation, path = model(name, tmp_path)
    word, *options = COMMANDS[command]
    code, report = compute(word, path, {"x": inputs_of(name)}, Y, LOGITS, *options)
    said = capfd.readouterr().err
    assert code == 3
    assert operation in said
    assert "--allow-random" in said
    assert not report.exists()


@pytest.mark.parametrize("name", MODELS)
def test_run_refuses_random_answers(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A run file with several quantities is no way around it, either."""
    operation, path = model(name, tmp_path)
    spec = write_spec(tmp_path, "d", {"x": inputs_of(name)}, Y, LOGITS)
    words = f'model = "{path.name}"\ndata = "{spec.name}"\n'
    (tmp_path / "run.toml").write_text(words + "[diag]\n[trace]\n")
    assert run(["run", str(tmp_path / "run.toml"), "-q"]) == 3
    said = capfd.readouterr().err
    assert operation in said
    assert "--allow-random" in said


def promises(report: Path) -> list[bool]:
    """Everything a report calls exact or converged."""
    found: list[bool] = []

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        found.extend(bool(np.all(item.attrs[key])) for key in ("exact", "converged") if key in item.attrs)
        if item.name.rpartition("/")[2] in ("exact", "converged") and isinstance(item, h5py.Dataset):
            found.extend(bool(one) for one in np.ravel(item[()]))
        elif isinstance(item, h5py.Dataset) and item.dtype.names:
            found.extend(bool(one) for key in ("exact", "converged") if key in item.dtype.names for one in item[key])

    with h5py.File(report) as file:
        for top in ("layers", "parameters", "inputs"):
            if top in file:
                file[top].visititems(look)
    return found


@pytest.mark.parametrize(
    ("name", "command"), covering(["dropout", "later"], [command for command in COMMANDS if command != "split"])
)
def test_allowed_random_answers_promise_nothing(name: str, command: str, compute: Compute, tmp_path: Path) -> None:
    """With --allow-random there are numbers, none of them called exact or converged, and ``assert`` holds to it."""
    _, path = model(name, tmp_path)
    word, *options = COMMANDS[command]
    code, report = compute(word, path, {"x": inputs_of(name)}, Y, LOGITS, "--allow-random", *options)
    assert code in (0, 4)
    found = promises(report)
    assert found
    assert not any(found)
    if command != "inputs":
        assert run(["assert", str(report), "--exact", "-q"]) in (1, 4)
    if command in ("trace", "eigs"):
        assert run(["assert", str(report), "--converged", "-q"]) in (1, 4)


class Normed(Net):
    """With a batch norm of some sort."""

    def __init__(self, sort: str) -> None:
        super().__init__()
        self.sort = sort
        self.norm = nn.BatchNorm1d(6)

    def between(self, h: Tensor) -> Tensor:
        if self.sort == "functional":
            own = self.norm.running_mean, self.norm.running_var
            return F.batch_norm(h, *own, self.norm.weight, self.norm.bias, training=True)
        return self.norm(h)


@pytest.mark.parametrize(("command", "sort"), covering(["diag", "trace", "eigs", "inputs"], ["traced", "functional"]))
def test_a_batch_norm_that_uses_the_batch_is_refused(
    sort: str, command: str, compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit 3 with how to export, however the batch's statistics got into the file."""
    torch.manual_seed(0)
    path = traced(Normed(sort), X, tmp_path / "m.pt", training=sort == "traced")
    code, report = compute(command, path, {"x": X}, Y, LOGITS)
    said = capfd.readouterr().err
    assert code == 3
    assert "batch norm" in said
    assert "model.eval()" in said
    assert not report.exists()


class Zero(Net):
    """Dropout that drops nothing."""

    def between(self, h: Tensor) -> Tensor:
        return F.dropout(h, 0.0, training=True)


class OnlyShape(Net):
    """Random numbers of which the shape alone is used."""

    def between(self, h: Tensor) -> Tensor:
        return h + torch.zeros_like(torch.randn(h.shape, dtype=h.dtype))


class Instance(Net):
    """Instance norm, which is a batch norm of every sample alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm1d(2, affine=True)

    def between(self, h: Tensor) -> Tensor:
        return self.norm(h.reshape(-1, 2, 3)).flatten(1)


@pytest.mark.parametrize(("build", "how"), covering([Zero, OnlyShape, Instance], ["script", "trace"]))
def test_what_looks_random_and_is_not_is_computed(build: type[Net], how: str, diag: Diag, tmp_path: Path) -> None:
    """Answers decide, and not the names of operations: exit 0, the dense Hessian's diagonal, called exact."""
    torch.manual_seed(0)
    module, path = build(), tmp_path / "m.pt"
    result = diag(scripted(module, path) if how == "script" else traced(module, X, path), {"x": X}, Y, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, X, Y, cross_entropies), 1e-9)
    assert run(["assert", str(result.report), "--exact", "-q"]) == 0


class Company(Net):
    """Every sample less the batch's mean, without a batch norm."""

    def between(self, h: Tensor) -> Tensor:
        return h - h.mean(0)


def test_samples_that_interact_without_a_batch_norm_are_warned_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The loss is that of batches of this size: the run says so, and its numbers are those of such batches."""
    torch.manual_seed(0)
    module = Company()
    path, spec = scripted(module, tmp_path / "m.pt"), write_spec(tmp_path, "d", {"x": X}, Y, LOGITS)
    report = tmp_path / "r.h5"
    assert run(["diag", str(path), "--data", str(spec), "-o", str(report), "--dtype", "float64"]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "depends on the other samples" in said
    assert f"batches of {BATCH}" in said
    assert_close(Outcome(0, report).diagonal, batchwise(module, X, Y, cross_entropies), 1e-9)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_report_says_that_answers_were_random(command: str, compute: Compute, tmp_path: Path) -> None:
    """Provenance has it, whatever was computed, and for a model that answers the same twice it has that."""
    _, path = model("dropout", tmp_path)
    word, *options = COMMANDS[command]
    code, report = compute(word, path, {"x": X}, Y, LOGITS, "--allow-random", *options)
    assert code in (0, 4)
    assert not read_report(report).provenance.deterministic
    code, report = compute(word, scripted(Net(), tmp_path / "n.pt"), {"x": X}, Y, LOGITS, *options)
    assert code == 0
    assert read_report(report).provenance.deterministic


def test_a_gradient_in_two_parts_promises_nothing_either(compute: Compute, tmp_path: Path) -> None:
    """``split --allow-random``: its layers are not exact, and ``assert`` holds to it."""
    _, path = model("dropout", tmp_path)
    code, report = compute("split", path, {"x": X}, Y, LOGITS, "--allow-random", "--at", "one")
    assert code in (0, 4)
    assert not any(promises(report))
    assert run(["assert", str(report), "--exact", "-q"]) in (1, 4)
    assert run(["assert", str(report), "--converged", "-q"]) in (1, 4)


def test_chance_is_not_taken_for_rounding(compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """That two passes differ is no matter of the dtype: nobody is sent to float64 for it."""
    _, path = model("dropout", tmp_path)
    _, report = compute("diag", path, {"x": X}, Y, LOGITS, "--allow-random", "--dtype", "float32")
    said = capfd.readouterr()
    assert "float64" not in said.out + said.err
    for row in read_report(report).layers:
        assert row.status != "imprecise"
        assert all("float64" not in p.reason for p in read_report(report).layer(row.name).parameters)


class NormedLater(Net):
    """A batch norm by the batch in a branch that the first batch does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        if bool(x[0, 0] > 100):
            h = F.batch_norm(h, self.norm.running_mean, self.norm.running_var, training=True)
        return self.two(h)


def test_a_batch_norm_that_a_later_batch_meets_is_refused(
    compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The graph has it, so that later batches are looked at as well."""
    torch.manual_seed(0)
    code, _ = compute("diag", scripted(NormedLater(), tmp_path / "m.pt"), {"x": inputs_of("later")}, Y, LOGITS)
    assert code == 3
    assert "batch norm" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["diag", "trace", "eigs", "density", "hessian"])
def test_a_misspelt_layer_is_told_before_the_model_is_evaluated(
    command: str, compute: Compute, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a large model the two passes take a while: of a random one, the layer is named and not the dropout."""
    path = MODELS["functional"][1](tmp_path / "m.pt")
    assert compute(command, path, {"x": X}, Y, LOGITS, "--layer", "tow")[0] == 2
    assert "No layer matches 'tow'" in capsys.readouterr().err
