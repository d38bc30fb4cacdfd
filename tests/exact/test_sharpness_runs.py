"""Runs of ``curvcli sharpness``: mini-batches, what has no gradient, interruptions, and files of preconditioners."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import curvcli
from curvcli.analysis.quantities import spectrum
from curvcli.analysis.studies.measures import base, minibatches
from curvcli.cli.main import run
from curvcli.curvature.minibatches import MinibatchTask, drawn_minibatches
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES

Compute = Callable[..., tuple[int, Path]]
RNG = np.random.default_rng(7)
X, LABELS = RNG.standard_normal((SAMPLES, 3)), RNG.integers(0, 3, SAMPLES)
CROSS = 'name = "cross_entropy"\nfrom_logits = true'
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Net(nn.Module):
    """Two layers, of which one is used twice, and one that the output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.unused = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(torch.tanh(self.one(x))))) + 0.0 * self.unused(x).sum()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """The network, and its file."""
    module, path = Net().eval(), tmp_path_factory.mktemp("net") / "m.pt"
    torch.jit.save(torch.jit.script(module), path)
    return module, path


def measured(compute: Compute, path: Path, *options: str, code: int = 0) -> Any:
    status, report = compute("sharpness", path, {"x": X}, LABELS, CROSS, *options)
    assert status == code
    return read_report(report).study("sharpness")


def by_name(study: Any, table: str = "sharpness") -> dict[str, Any]:
    return {row.name: row for row in study.tables[table]}


def only(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--measure", name))


def test_the_batch_size_changes_nothing_and_the_seed_draws_others(net: Any, compute: Compute) -> None:
    """Mini-batches are what ``--minibatch`` says, whatever is computed at a time."""
    options = (*only("batch_sharpness", "noise_scale", "gradient_curvature"), "--minibatch", "5")
    first, second = (measured(compute, net[1], *options, "--batch-size", size) for size in ("7", "37"))
    np.testing.assert_array_equal(first.array("minibatch_rows"), second.array("minibatch_rows"))
    assert first.array("minibatch_rows").shape == (7, 5)
    for name, row in by_name(first).items():
        assert by_name(second)[name].value == pytest.approx(row.value, rel=1e-10), name
    other = measured(compute, net[1], *options, "--seed", "1", "--minibatches", "3")
    assert other.array("minibatch_rows").shape == (3, 5)
    assert (other.array("minibatch_rows") != first.array("minibatch_rows")[:3]).any()


def test_mini_batches_are_disjoint_and_each_sample_is_as_likely_as_any_other() -> None:
    """Over many seeds; and there is one of all samples where they are few."""
    counts = np.zeros(10)
    for seed in range(2000):
        groups = drawn_minibatches(10, 3, 2, seed)
        assert len(set(groups.ravel().tolist())) == 6
        counts[groups[0]] += 1
    assert abs(counts / 2000 - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 2000)
    np.testing.assert_array_equal(drawn_minibatches(4, 4, 9, 0), [[0, 1, 2, 3]])


def test_without_an_output_of_each_layer_the_noise_is_estimated(
    net: Any, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that is used twice: by mini-batches, of one sample here, whose estimate is the covariance itself."""
    few = (*only("noise_scale"), "--layer", "one", "--layer", "two")
    by_coordinates = by_name(measured(compute, net[1], *few))["gradient_variance"]
    monkeypatch.setattr(minibatches, "_BUDGET", 2)
    module, path = net[0], net[1]
    options = (*only("noise_scale", "relative_flatness"), "--layer", "one", "--layer", "two", "--minibatches", "37")
    rows = by_name(measured(compute, path, *options, "--minibatch", "1"))
    exact = nn.Module.double(Net()).eval()
    exact.load_state_dict(module.state_dict())
    own = [p for name, p in exact.named_parameters() if not name.startswith("unused")]
    gradients = []
    for x, y in zip(torch.from_numpy(X), torch.from_numpy(LABELS), strict=True):
        each = torch.autograd.grad(F.cross_entropy(exact(x[None]), y[None]), own)
        gradients.append(torch.cat([g.ravel() for g in each]).numpy())
    variance = np.trace(np.cov(np.array(gradients).T))
    assert rows["gradient_variance"].method == "minibatches"
    assert rows["gradient_variance"].value == pytest.approx(variance, rel=1e-9)
    assert rows["noise_scale"].value == pytest.approx(variance / (np.mean(gradients, axis=0) ** 2).sum(), rel=1e-9)
    assert by_coordinates.exact
    assert by_coordinates.value == pytest.approx(variance, rel=1e-9)
    several = by_name(measured(compute, path, *options, "--minibatch", "4"))["gradient_variance"]
    assert several.count == 9
    assert abs(several.value - variance) < 4 * several.stderr


def test_the_estimate_of_the_noise_is_unbiased() -> None:
    """Over all mini-batches of 2 of 6, ‖g_B − g‖² has the mean tr Σ (1/b − 1/N)."""
    gradients = np.random.default_rng(0).standard_normal((6, 3))
    pairs = [(i, j) for i in range(6) for j in range(i)]
    distances = [((gradients[list(pair)].mean(axis=0) - gradients.mean(axis=0)) ** 2).sum() for pair in pairs]
    assert np.mean(distances) / (1 / 2 - 1 / 6) == pytest.approx(np.trace(np.cov(gradients.T)), rel=1e-12)


def test_what_the_loss_does_not_depend_on_has_no_gradient_and_no_curvature(net: Any, compute: Compute) -> None:
    """Steps of any length are stable there; what is divided by zero is missing, and nothing fails."""
    study = measured(compute, net[1], "--layer", "unused", "--minibatch", "6")
    rows = by_name(study)
    assert (rows["largest_eigenvalue"].value, rows["largest_step"].value) == (0.0, np.inf)
    assert (rows["gradient_norm"].value, rows["trace"].value, rows["gradient_variance"].value) == (0.0, 0.0, 0.0)
    for name in ("gradient_curvature", "sam_sharpness", "batch_sharpness", "noise_scale", "effective_rank"):
        assert np.isnan(rows[name].value), name
    assert rows["sam_sharpness"].reason == "the gradient is zero, and has no direction"
    assert rows["batch_sharpness"].reason == "6 of 6 mini-batches have none"
    (kernel,) = study.tables["relative_flatness"]
    assert kernel.relative_flatness == 0


def test_a_prediction_that_is_no_number_is_not_finite(net: Any, compute: Compute) -> None:
    study = measured(compute, net[1], *only("sam"), "--rho", "1e300", "--layer", "two", code=4)
    rows = by_name(study)
    assert rows["sam_second_order"].status == study.status == "nonfinite"
    assert (rows["sam_first_order"].status, rows["sam_first_order"].exact) == ("done", True)


def test_an_interrupted_run_ends_in_the_same_bytes(net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between two mini-batches, it goes on with the next one; by products, as larger networks."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    for module in (spectrum, base):
        monkeypatch.setattr(module, "DENSE_UP_TO", 0)
    np.savez(tmp_path / "d.npz", x=X, y=LABELS)
    (tmp_path / "s.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.x]\ncolumn = "x"\n[target]\ncolumn = "y"\n'
        f"[loss]\n{CROSS}\n[sampling]\nbatch_size = 16\n"
    )
    words = ["sharpness", str(net[1]), "--data", str(tmp_path / "s.toml"), "--minibatch", "6", "--probes", "3"]
    words += ["--alpha", "0.1", "--measure", "preconditioned", *only("batch_sharpness", "effective_rank"), "-q"]
    assert run([*words, "-o", str(tmp_path / "a.h5")]) == 0
    calls = 0
    call = MinibatchTask.__call__

    def stopped(self: MinibatchTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            signal.raise_signal(signal.SIGINT)
        return call(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(MinibatchTask, "__call__", stopped)
        assert run([*words, "-o", str(tmp_path / "b.h5")]) == 130
        assert run([*words, "-o", str(tmp_path / "b.h5")]) == 0
    assert calls == 6  # none is computed twice
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def preconditioners(module: nn.Module, folder: Path) -> dict[str, Path]:
    """Files that are no preconditioners of a network, by what is wrong with them."""
    good = {name: np.ones(tuple(p.shape)) for name, p in module.named_parameters()}

    def changed(values: Any) -> dict[str, Any]:
        return {**good, "one.weight": values}

    arrays = {
        "missing": {name: values for name, values in good.items() if name != "two.bias"},
        "strange": {**good, "three.weight": np.ones(2)},
        "shape": changed(np.ones((3, 4))),
        "negative": changed(-np.ones((3, 3))),
        "zero": changed(np.zeros((3, 3))),
        "nan": changed(np.full((3, 3), np.nan)),
        "infinite": changed(np.full((3, 3), np.inf)),
        "complex": changed(np.ones((3, 3), complex)),
        "text": changed(np.full((3, 3), "a")),
        "objects": changed(np.full((3, 3), None, dtype=object)),
    }
    for name, values in arrays.items():
        np.savez(folder / f"{name}.npz", **values)
    np.savez_compressed(folder / "whole.npz", **good)
    whole = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.npz").write_bytes(whole[:90] + bytes(byte ^ 0x55 for byte in whole[90:140]) + whole[140:])
    (folder / "empty.npz").write_bytes(b"")
    (folder / "folder.npz").mkdir()
    names = [*arrays, "cut", "flipped", "empty", "folder", "nowhere"]
    return {name: folder / f"{name}.npz" for name in names}


def test_a_file_that_is_no_preconditioner_is_refused(
    net: Any, tmp_path: Path, compute: Compute, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a line or two, before anything is computed."""
    said = {
        "missing": "it has no array two.bias",
        "strange": "the model has no parameter 'three.weight'",
        "shape": "one.weight has shape (3, 4) there, and (3, 3) in the model",
        "negative": "one.weight: entry 0 is -1; P has to be positive",
        "zero": "one.weight: entry 0 is 0; P has to be positive",
        "nan": "one.weight: entry 0 is nan; P has to be positive",
        "infinite": "one.weight: entry 0 is inf; P has to be positive",
        "complex": "one.weight holds complex128; real numbers are needed",
        "text": "one.weight holds <U1; real numbers are needed",
        "objects": "one.weight is damaged",
        "cut": "is no complete .npz file",
        "flipped": "is damaged",
        "empty": "is no complete .npz file",
        "folder": "is a directory",
        "nowhere": "no such file",
    }
    for name, path in preconditioners(net[0], tmp_path).items():
        code, report = compute("sharpness", net[1], {"x": X}, LABELS, CROSS, "--preconditioner", str(path))
        text = capfd.readouterr().err
        assert code == 2, name
        assert said[name] in text, (name, text)
        assert len(text.strip().splitlines()) <= 2, text
        assert not report.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--measure", "sharp"], "no such measure"),
        (["--measure", "sam_sharpness"], "did you mean"),
        (["--rho", "0"], "0"),
        (["--minibatch", "0"], "0"),
        (["--alpha", "-1"], "-1"),
        (["--measure", "relative_flatness", "--layer", "nothing"], "nothing"),
    ],
)
def test_what_is_no_option_is_refused(
    options: list[str], message: str, net: Any, compute: Compute, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _ = compute("sharpness", net[1], {"x": X}, LABELS, CROSS, *options)
    said = capfd.readouterr().err
    assert code == 2
    assert message in said


def test_from_python_and_in_one_report_with_others(net: Any) -> None:
    """The same figures as the command's; a report of several quantities has its tables too."""
    data = (torch.from_numpy(X).float(), torch.from_numpy(LABELS))
    study = curvcli.sharpness(
        net[0], data=data, loss="cross_entropy", layer="two", minibatch=6, measure=["batch_sharpness", "sam"]
    )
    assert study.tables == ("sharpness", "batch_sharpness")
    assert study.table()["sam_sharpness"].value > 0
    assert study.array("minibatch_eigenvalue").shape == (6,)
    report = curvcli.run(
        net[0],
        data=data,
        loss="cross_entropy",
        layer="two",
        eigs={"k": 1},
        sharpness={"measure": ["largest_eigenvalue"]},
    )
    (row, _) = report.study("sharpness").tables["sharpness"]
    assert row.value == pytest.approx(report.layer("two").eigen.values[0], rel=1e-6)
    with pytest.raises(curvcli.UsageError, match="measure='sharp': no such measure"):
        curvcli.sharpness(net[0], data=data, loss="cross_entropy", measure="sharp")
