"""Couplings of layers against dense Hessians of eager float64 networks, in both frameworks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from covering import slow
from torch import Tensor, nn

import curvcli
from curvcli.cli.main import run
from curvcli.curvature.operator import ProductTask
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES, write_spec
from .dense import Dense
from .tf_modules import save

ONE_BATCH = True
Compute = Callable[..., tuple[int, Path]]
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
RNG = np.random.default_rng(2)
X, Y = RNG.standard_normal((SAMPLES, 3)), RNG.integers(0, 3, SAMPLES)


class Net(nn.Module):
    """A seeded random network: widths, elementwise functions, a skip or none, biases or none."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        wide, self.skips = int(rng.integers(2, 5)), bool(rng.integers(2))
        self.one = nn.Linear(3, wide, bias=bool(rng.integers(2)))
        self.two = nn.Linear(wide, wide)
        self.norm = nn.LayerNorm(wide) if rng.integers(2) else nn.Identity()
        self.three = nn.Linear(wide, 3)
        self.bend = [nn.Tanh(), nn.GELU(), nn.ReLU(), nn.SiLU()][int(rng.integers(4))]

    def forward(self, x: Tensor) -> Tensor:
        h = self.bend(self.one(x))
        later = self.bend(self.two(self.norm(h)))
        return self.three(h + later if self.skips else later)


def expected(hessian: np.ndarray, layers: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Norms of all blocks, and couplings."""
    norms = np.array([[np.linalg.norm(hessian[np.ix_(a, b)]) for b in layers.values()] for a in layers.values()])
    own = np.diag(norms)
    return norms, norms**2 / np.outer(own, own)


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module.eval()), path)
    return path


@pytest.mark.parametrize(("seed", "matrix"), [(0, "hessian"), (1, "gauss_newton"), *slow(range(2, 10), ["hessian"])])
def test_exact_couplings_are_the_dense_hessians(seed: int, matrix: str, compute: Compute, tmp_path: Path) -> None:
    """Norms and couplings of every pair, to 1e-9, over uneven batches; of a semidefinite matrix at most 1."""
    module = Net(seed)
    code, path = compute(
        "coupling", scripted(module, tmp_path / "m.pt"), {"x": X}, Y, LOGITS, "--matrix", matrix, "--batch-size", "16"
    )
    assert code == 0
    study = read_report(path).study("coupling")
    dense = Dense(module, X, Y)
    layers = dense.layers()
    norms, values = expected(dense.hessian() if matrix == "hessian" else dense.gauss_newton(), layers)
    np.testing.assert_allclose(study.array("norm"), norms, rtol=1e-9, atol=1e-9 * norms.max())
    np.testing.assert_allclose(study.array("coupling"), values, rtol=1e-8)
    assert (study.status, study.exact) == ("done", True)
    assert not study.array("coupling_stderr").any()
    if matrix == "gauss_newton":
        assert study.array("coupling").max() <= 1 + 1e-9
    names = list(layers)
    rows = {row.name: row for row in study.tables["coupled_layers"]}
    pairs = {row.name: row for row in study.tables["coupling"]}
    assert list(rows) == names
    for i, name in enumerate(names):
        share = 1 - norms[i, i] ** 2 / (norms[i] ** 2).sum()
        assert rows[name].outside == pytest.approx(share, rel=1e-8)
        others = np.where(np.arange(len(names)) == i, -1, values[i])
        assert rows[name].partner == names[int(others.argmax())]
        assert rows[name].partner_coupling == pytest.approx(others.max(), rel=1e-8)
        for j in range(i + 1, len(names)):
            row = pairs[f"{name}~{names[j]}"]
            assert (row.coupling, row.norm) == pytest.approx((values[i, j], norms[i, j]), rel=1e-8)


def tf_net(tf: Any, weights: Any, inputs: Any) -> Any:
    hidden = tf.tanh(tf.matmul(inputs["x"], weights["one"]))
    return tf.matmul(tf.tanh(tf.matmul(hidden, weights["two"])), weights["three"])


def test_both_frameworks_couple_alike(compute: Compute, tmp_path: Path) -> None:
    """Exactly to 1e-9; probes are of the layers' entries in their order, and agree within their errors."""

    class Chain(nn.Module):
        def __init__(self, weights: dict[str, np.ndarray]) -> None:
            super().__init__()
            for name, value in weights.items():
                layer = nn.Linear(*value.shape, bias=False)
                layer.weight.data = torch.tensor(value.T.copy())
                setattr(self, name, layer)

        def forward(self, x: Tensor) -> Tensor:
            return self.three(torch.tanh(self.two(torch.tanh(self.one(x)))))

    shapes = {"one": (3, 4), "two": (4, 5), "three": (5, 3)}
    weights = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    save(tf_net, weights, {"x": X}, tmp_path / "m")
    module = Chain(weights)
    scripted(module, tmp_path / "m.pt")
    dense = Dense(module, X, Y)
    norms, values = expected(dense.hessian(), dense.layers())
    for path in ("m", "m.pt"):
        code, report = compute("coupling", tmp_path / path, {"x": X}, Y, LOGITS, "--layer", "re:.")
        study = read_report(report).study("coupling")
        order = [row.name.split(".")[0] for row in study.tables["coupled_layers"]]
        places = [list(shapes).index(name) for name in order]
        assert code == 0
        np.testing.assert_allclose(study.array("norm"), norms[np.ix_(places, places)], rtol=1e-9)
        code, report = compute(
            "coupling", tmp_path / path, {"x": X}, Y, LOGITS, "--method", "probes", "--probes", "24", "--layer", "re:."
        )
        study = read_report(report).study("coupling")
        errors = study.array("coupling_stderr")
        assert (code, study.exact) == (0, False)
        off = ~np.eye(3, dtype=bool)
        assert (errors[off] > 0).all()
        assert (np.abs(study.array("coupling") - values[np.ix_(places, places)]) <= 4 * errors + 1e-12).all()
        assert (study.array("norm_stderr") > 0).all()


def test_weight_decay_is_on_the_trained_layers_own_blocks(compute: Compute, tmp_path: Path) -> None:
    """λ on the diagonal, of a frozen layer not; blocks between layers stay."""
    module = Net(0)
    module.two.requires_grad_(requires_grad=False)
    dense = Dense(module, X, Y)
    layers = dense.layers()
    frozen = set(layers["two"].tolist())
    decay = np.diag([0.0 if i in frozen else 0.2 for i in range(len(dense.hessian()))])
    norms, _ = expected(dense.hessian() + decay, layers)
    code, path = compute("coupling", scripted(module, tmp_path / "m.pt"), {"x": X}, Y, f"{LOGITS}\nweight_decay = 0.2")
    assert code == 0
    np.testing.assert_allclose(read_report(path).study("coupling").array("norm"), norms, rtol=1e-9)


def test_layers_that_do_not_meet_are_not_coupled_and_an_unreached_one_has_none(
    compute: Compute, tmp_path: Path
) -> None:
    """Of a loss that is a sum over two outputs, each of its own layer."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.unused = nn.Linear(3, 1), nn.Linear(3, 1), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([torch.tanh(self.a(x)), torch.tanh(self.b(x))], 1)

    code, path = compute(
        "coupling", scripted(Two(), tmp_path / "m.pt"), {"x": X}, RNG.standard_normal((SAMPLES, 2)), 'name = "mse"'
    )
    study = read_report(path).study("coupling")
    assert (code, study.status) == (0, "done")
    pairs = {row.name: row for row in study.tables["coupling"]}
    assert pairs["a~b"].coupling == 0
    assert np.isnan(pairs["a~unused"].coupling)
    rows = {row.name: row for row in study.tables["coupled_layers"]}
    assert (rows["a"].outside, rows["a"].partner) == (0, "b")
    assert (rows["unused"].own_norm, rows["unused"].partner) == (0, "")
    assert np.isnan(rows["unused"].outside)


def test_rescaling_two_relu_layers_against_each_other_changes_no_coupling(compute: Compute, tmp_path: Path) -> None:
    """The network stays the same function; norms and shares change."""
    module = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    studies = []
    for factor in (1.0, 4.0):
        module[0].weight.data *= factor
        module[2].weight.data /= factor
        code, path = compute("coupling", scripted(module, tmp_path / f"{factor}.pt"), {"input": X}, Y, LOGITS)
        assert code == 0
        studies.append(read_report(path).study("coupling"))
    first, second = studies
    np.testing.assert_allclose(first.array("coupling"), second.array("coupling"), rtol=1e-9)
    np.testing.assert_allclose(first.array("norm") * [[1 / 16, 1], [1, 16]], second.array("norm"), rtol=1e-9)
    assert first.tables["coupled_layers"][0].outside != pytest.approx(second.tables["coupled_layers"][0].outside)


@pytest.fixture
def saved(tmp_path: Path) -> list[str]:
    """The words of a command on a network with its spec."""
    spec = write_spec(tmp_path, "d", {"x": X}, Y, LOGITS)
    return ["coupling", str(scripted(Net(0), tmp_path / "m.pt")), "--data", str(spec), "-q"]


def test_an_interrupted_run_ends_in_the_same_bytes(
    saved: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two products."""
    import signal

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    words = [*saved, "--method", "probes", "--probes", "20"]
    assert run([*words, "-o", str(tmp_path / "a.h5")]) == 0
    calls, call = 0, ProductTask.__call__

    def stopped(self: ProductTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 10:
            signal.raise_signal(signal.SIGINT)
        return call(self, *arguments)

    monkeypatch.setattr(ProductTask, "__call__", stopped)
    assert run([*words, "-o", str(tmp_path / "b.h5")]) == 130
    before = calls
    assert run([*words, "-o", str(tmp_path / "b.h5")]) == 0
    assert before == 10
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--layer", "one"], 2, "one is the only layer chosen"),
        (["--method", "sure"], 2, "sure"),
        (["--probes", "1"], 2, "1"),
        (["--rtol", "0"], 2, "0"),
        (["--matrix", "fisher", "--layer", "nothing"], 2, "nothing"),
        (["--rtol", "1e-4", "--method", "probes", "--probes", "20"], 4, "the largest relative standard error is"),
    ],
)
def test_what_can_not_be_done_is_told(
    options: list[str], code: int, message: str, saved: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """In words."""
    assert run([*saved, *options]) == code
    out, err = capfd.readouterr()
    assert message in out + err
    assert "Traceback" not in err


def test_from_python_with_the_whole_model_in_memory() -> None:
    """All layers, by default."""
    module = Net(3)
    data = (torch.from_numpy(X).float(), torch.from_numpy(Y))
    study = curvcli.coupling(module, data=data, loss="cross_entropy", dtype="float64")
    dense = Dense(module, X.astype(np.float32).astype(float), Y)
    _, values = expected(dense.hessian(), dense.layers())
    np.testing.assert_allclose(study.array("coupling"), values, rtol=1e-8)
    assert study.to_pandas("coupling").shape[0] == len(values) * (len(values) - 1) // 2
    together = curvcli.run(
        module, data=data, loss="cross_entropy", dtype="float64", whole_model=True, eigs={"k": 1}, coupling={}
    )
    np.testing.assert_allclose(together.study_array("coupling", "coupling"), values, rtol=1e-8)
