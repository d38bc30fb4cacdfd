"""Quantised and removed weights against dense float64 Hessians and eager losses, in both frameworks."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

import curvcli
from curvcli.cli.main import run
from curvcli.curvature.losses_at import LossAtTask
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES
from .tf_modules import save

Compute = Callable[..., tuple[int, Path]]
RNG = np.random.default_rng(5)
X, LABELS = RNG.standard_normal((SAMPLES, 2, 4, 4)), RNG.integers(0, 3, SAMPLES)
CROSS = """name = "cross_entropy"
from_logits = true
class_weights = [0.5, 2.0, 1.5]
weight_decay = 0.02"""
CLASSES, DECAY = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64), 0.02
KERNELS = ["conv.weight", "one.weight", "two.weight"]
BITS, SHARES = (4, 3, 2), (0.25, 0.6)
WORDS = ["--bits", "3,4", "--bits", "2", "--sparsity", "0.6,0.25"]
ONE_BATCH = True  # of TensorFlow's; the torch networks are given batches of their own


class Net(nn.Module):
    """A convolution, a norm, and two dense layers, the first of them frozen: no decay on it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.LayerNorm([3, 2, 2])
        self.one, self.two = nn.Linear(12, 5), nn.Linear(5, 3)
        self.one.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(torch.tanh(self.conv(x))).flatten(1)
        return self.two(torch.tanh(self.one(h)))


class Dense:
    """The declared loss of the eager network, its gradient and whole Hessian, float64."""

    def __init__(self) -> None:
        self.module = Net().double()
        own = dict(self.module.named_parameters())
        self.values = {name: p.detach().numpy().copy() for name, p in own.items()}
        self.trained = [name for name, p in own.items() if p.requires_grad]
        ends = np.cumsum([p.numel() for p in own.values()])
        self.places = {n: np.arange(e - p.numel(), e) for (n, p), e in zip(own.items(), ends, strict=True)}
        flat = torch.cat([p.detach().ravel() for p in own.values()])
        self.hessian = torch.autograd.functional.hessian(self._of_flat, flat).numpy()
        self.gradient = torch.autograd.functional.jacobian(self._of_flat, flat).numpy()

    def _of_flat(self, flat: Tensor) -> Tensor:
        values = {n: flat[place[0] : place[-1] + 1].reshape(self.values[n].shape) for n, place in self.places.items()}
        logits = torch.func.functional_call(self.module, values, (torch.from_numpy(X),))
        decay = sum((values[name] ** 2).sum() for name in self.trained)
        return F.cross_entropy(logits, torch.from_numpy(LABELS), weight=CLASSES) + DECAY / 2 * decay

    def rise(self, changes: dict[str, np.ndarray]) -> float:
        """Of the loss."""
        flat = np.concatenate([value.ravel() for value in self.values.values()])
        moved = flat.copy()
        for name, change in changes.items():
            moved[self.places[name]] += change.ravel()
        return float(self._of_flat(torch.from_numpy(moved)) - self._of_flat(torch.from_numpy(flat)))

    def parts(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian of one parameter."""
        place = self.places[name]
        return self.gradient[place], self.hessian[np.ix_(place, place)]


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Symmetric, a scale per output channel, which torch has first."""
    scale = np.abs(values).reshape(len(values), -1).max(axis=1) / (2 ** (bits - 1) - 1)
    scale = scale.reshape(-1, *([1] * (values.ndim - 1)))
    return np.round(values / scale) * scale


@pytest.fixture(scope="module")
def dense() -> Dense:
    return Dense()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sensitivity") / "net.pt"
    torch.jit.save(torch.jit.script(Net().eval()), path)
    return path


def study(compute: Compute, model: Path, *options: str, x: np.ndarray = X, y: Any = LABELS, loss: str = CROSS) -> Any:
    code, path = compute("sensitivity", model, {"x": x}, y, loss, *options)
    assert code == 0
    return read_report(path).study("sensitivity")


def rows(record: Any, table: str) -> dict[str, Any]:
    return {row.name: row for row in record.tables[table]}


def test_every_figure_is_that_of_the_dense_hessian(compute: Compute, model: Path, dense: Dense) -> None:
    """With class weights, weight decay and a frozen layer, over uneven batches; norms and biases are left alone."""
    record = study(compute, model, *WORDS, "--batch-size", "16", "--verify")
    assert record.exact
    quantised = rows(record, "quantization")
    assert list(quantised) == [f"{name.partition('.')[0]}/{bits}" for name in KERNELS for bits in BITS]
    channels = rows(record, "quantization_channels")
    for name, bits in product(KERNELS, BITS):
        row, layer = quantised[f"{name.partition('.')[0]}/{bits}"], name.partition(".")[0]
        assert (row.quantized_layer, row.kernels, row.bits) == (layer, (name,), bits)
        values = dense.values[name]
        delta = rounded(values, bits) - values
        flat, (gradient, hessian) = delta.ravel(), dense.parts(name)
        half = np.diag(hessian) * flat**2 / 2
        assert row.weights == values.size
        expected = {
            "rounding_error": flat @ flat,
            "rounding_slope": gradient @ flat,
            "rounding_curvature": half.sum(),
            "predicted_rise": gradient @ flat + half.sum(),
            "quadratic_rise": gradient @ flat + flat @ hessian @ flat / 2,
            "hawq_v2": np.trace(hessian) / values.size * (flat @ flat),
            "measured_rise": dense.rise({name: delta}),
        }
        for column, value in expected.items():
            assert getattr(row, column) == pytest.approx(value, rel=1e-9, abs=1e-13), (row.name, column)
        assert np.isnan(row.predicted_stderr)
        for channel in range(len(values)):
            part = channels[f"{name}/{channel}/{bits}"]
            whole = (gradient * flat + half).reshape(values.shape)[channel].sum()
            assert part.channel_error == pytest.approx((delta[channel] ** 2).sum(), rel=1e-9)
            assert part.channel_rise == pytest.approx(whole, rel=1e-9, abs=1e-13)
    assert len(channels) == len(BITS) * (3 + 5 + 3)


def test_what_is_removed(compute: Compute, model: Path, dense: Dense) -> None:
    """Of one layer and of all together: the least ½ H_jj w_j², and as many of the smallest weights beside them."""
    record = study(compute, model, *WORDS)
    pruned, saliency = rows(record, "pruning"), rows(record, "saliency")
    own = {}
    for name in KERNELS:
        weights, (gradient, hessian) = dense.values[name].ravel(), dense.parts(name)
        own[name] = (weights, gradient, np.diag(hessian) * weights**2 / 2)
        np.testing.assert_allclose(record.array(f"saliency/{name}").ravel(), own[name][2], rtol=1e-9, atol=1e-14)
        row = saliency[name.partition(".")[0]]
        assert row.saliency == pytest.approx(own[name][2].sum(), rel=1e-9)
        assert row.negative_saliencies == (np.diag(hessian) < 0).mean()
        sums = own[name][2].reshape(len(dense.values[name]), -1).sum(axis=1)
        for channel, total in enumerate(sums):
            part = rows(record, "saliency_channels")[f"{name}/{channel}"]
            assert part.channel_saliency == pytest.approx(total, rel=1e-9, abs=1e-14)
    groups = [*([name] for name in KERNELS), KERNELS]
    for names, share in product(groups, SHARES):
        weights, gradient, saliencies = (np.concatenate([own[name][i] for name in names]) for i in range(3))
        row = pruned[f"{names[0].partition('.')[0] if len(names) == 1 else '(all layers)'}/{share:g}"]
        count = round(share * len(weights))
        assert row.removed == count
        removals = [np.isin(np.arange(len(weights)), np.argsort(order)[:count]) for order in (saliencies, weights**2)]
        least, smallest = (np.where(removed, -weights, 0.0) for removed in removals)
        assert row.pruned_saliency == pytest.approx(saliencies[removals[0]].sum(), rel=1e-9, abs=1e-13)
        predicted = gradient @ least + saliencies[removals[0]].sum()
        assert row.pruned_predicted == pytest.approx(predicted, rel=1e-9, abs=1e-13)
        for column, change in (("pruned_measured", least), ("magnitude_measured", smallest)):
            parts = np.split(change, np.cumsum([own[name][0].size for name in names])[:-1])
            measured = dense.rise(dict(zip(names, parts, strict=True)))
            assert getattr(row, column) == pytest.approx(measured, rel=1e-9, abs=1e-13), (row.name, column)


def test_optimal_brain_surgeon(compute: Compute, model: Path, dense: Dense) -> None:
    """Of the layers that are small enough, biases moved with their weights; damped only where that is requested."""
    damping = 0.5
    record = study(compute, model, *WORDS, "--obs", "60", "--damping", str(damping))
    plain = study(compute, model, *WORDS, "--obs", "60", "--layer", "two", "--layer", "conv")
    saliency, pruned = rows(record, "saliency"), rows(record, "pruning")
    assert saliency["one"].surgeon == "65 parameters"
    assert np.isnan(pruned["one/0.6"].obs_measured)
    for layer in ("conv", "two"):
        names = [f"{layer}.weight", f"{layer}.bias"]
        places = np.concatenate([dense.places[name] for name in names])
        hessian, gradient = dense.hessian[np.ix_(places, places)], dense.gradient[places]
        smallest = np.linalg.eigvalsh(hessian)[0]
        for one, added in ((record, damping), (plain, 0.0)):
            row = rows(one, "saliency")[layer]
            assert row.surgeon_eigenvalue == pytest.approx(smallest, abs=1e-9)
            if smallest + added <= 0:
                assert row.surgeon == "not positive definite"
                assert f"obs/{layer}.weight" not in [array.name for array in one.arrays]
                continue
            weights = np.concatenate([dense.values[name].ravel() for name in names])
            inverse = np.linalg.inv(hessian + added * np.eye(len(hessian)))
            count = dense.values[names[0]].size
            expected = (weights**2 / np.diag(inverse) / 2)[:count]
            np.testing.assert_allclose(one.array(f"obs/{layer}.weight").ravel(), expected, rtol=1e-8)
            for share in SHARES:
                chosen = np.argsort(expected)[: round(share * count)]
                change = -inverse[:, chosen] @ np.linalg.solve(inverse[np.ix_(chosen, chosen)], weights[chosen])
                row = rows(one, "pruning")[f"{layer}/{share:g}"]
                predicted = gradient @ change + change @ hessian @ change / 2
                assert row.obs_predicted == pytest.approx(predicted, rel=1e-8, abs=1e-12)
                parts = dict(zip(names, np.split(change, [count]), strict=True))
                assert row.obs_measured == pytest.approx(dense.rise(parts), rel=1e-8, abs=1e-12)
    assert "damped by 0.5" in saliency["two"].surgeon


def test_bits_are_allotted_and_measured_together(compute: Compute, model: Path, dense: Dense, tmp_path: Path) -> None:
    """No other choice has a smaller sum; what people feed to their quantiser says the same as the report."""
    target, file = 3.2, tmp_path / "bits.json"
    figures = {"quadratic": ["quadratic_rise"], "both": ["quadratic_rise", "measured_rise"]}
    for figure, columns in figures.items():
        record = study(
            compute, model, *WORDS, "--target-bits", str(target), "--allot-by", figure, "--bits-output", str(file)
        )
        quantised, layers = rows(record, "quantization"), [name.partition(".")[0] for name in KERNELS]
        sizes = [dense.values[name].size for name in KERNELS]
        fitting = [
            one
            for one in product(BITS, repeat=3)
            if sum(n * bits for n, bits in zip(sizes, one, strict=True)) <= target * sum(sizes)
        ]

        def total(
            choice: tuple[int, ...], columns: list[str] = columns, quantised: Any = quantised, layers: Any = layers
        ) -> float:
            chosen = (quantised[f"{n}/{b}"] for n, b in zip(layers, choice, strict=True))
            return sum(max(getattr(row, column) for column in columns) for row in chosen)

        best = min(fitting, key=total)
        allotted = {row.name: row.allotted_bits for row in record.tables["allocation"]}
        assert total(tuple(allotted.values())) == pytest.approx(total(best), rel=1e-9)
        written = json.loads(file.read_text())
        assert written["layers"] == allotted
        assert written["parameters"] == {name: allotted[name.partition(".")[0]] for name in KERNELS}
        budgets = rows(record, "bit_budgets")
        assert list(budgets) == ["uniform 4", "uniform 3", "uniform 2", "allotted"]
        for name, row in budgets.items():
            bits = allotted if name == "allotted" else dict.fromkeys(layers, int(name.split()[1]))
            changes = {k: rounded(v, bits[k.partition(".")[0]]) - v for k, v in dense.values.items() if k in KERNELS}
            assert row.joint_measured == pytest.approx(dense.rise(changes), rel=1e-9)
            many = sum(bits[k.partition(".")[0]] * dense.values[k].size for k in KERNELS)
            assert (row.mean_bits, row.bytes) == (pytest.approx(many / sum(sizes)), -(-many // 8))


def tf_linear(tf: Any, weights: Any, inputs: Any) -> Any:
    return tf.matmul(inputs["x"], weights["kernel"])


def test_where_the_loss_is_quadratic_with_a_diagonal_hessian_the_prediction_is_what_is_measured(
    compute: Compute, tmp_path: Path
) -> None:
    """Linear regression on orthonormal inputs, in both frameworks; and Spearman's correlation needs several layers."""
    x = np.linalg.qr(RNG.standard_normal((SAMPLES, 4)))[0]
    y, kernel = RNG.standard_normal((SAMPLES, 2)), RNG.standard_normal((4, 2)).astype(np.float32)
    linear = nn.Linear(4, 2, bias=False)
    linear.weight.data = torch.tensor(kernel.T.copy())
    torch.jit.save(torch.jit.script(nn.Sequential(linear)), tmp_path / "m.pt")
    save(tf_linear, {"kernel": kernel}, {"x": x}, tmp_path / "m")
    both = []
    for path, name in ((tmp_path / "m.pt", "input"), (tmp_path / "m", "x")):
        options = [*WORDS, "--scheme", "asymmetric", "--granularity", "group:3", "--target-bits", "3"]
        code, report = compute("sensitivity", path, {name: x}, y, 'name = "mse"', *options)
        assert code == 0
        record = read_report(report).study("sensitivity")
        for row in record.tables["quantization"]:
            assert row.predicted_rise == pytest.approx(row.measured_rise, rel=1e-9)
            assert row.hawq_v2 == pytest.approx(2 * row.rounding_curvature, rel=1e-9)
        for row in record.tables["pruning"]:
            assert row.pruned_predicted == pytest.approx(row.pruned_measured, rel=1e-9)
        assert not record.tables["sensitivity_ranks"]
        both.append(record)
    for table in ("quantization", "bit_budgets", "allocation", "pruning"):
        for left, right in zip(both[0].tables[table], both[1].tables[table], strict=True):
            numbers = [column for column, value in left.values.items() if isinstance(value, float)]
            for column in numbers:
                expected = pytest.approx(getattr(right, column), rel=1e-9, nan_ok=True)
                assert getattr(left, column) == expected, (table, column)


def test_an_estimate_has_an_error_that_covers_it(compute: Compute, model: Path, dense: Dense) -> None:
    """Where an exact diagonal is over the budget."""
    record = study(compute, model, *WORDS, "--budget", "1", "--probes", "32")
    assert not record.exact
    covered = []
    for row in record.tables["quantization"]:
        (name,) = row.kernels
        delta = (rounded(dense.values[name], row.bits) - dense.values[name]).ravel()
        exact = np.diag(dense.parts(name)[1]) @ delta**2 / 2
        assert row.predicted_rise == row.rounding_slope + row.rounding_curvature
        if row.predicted_stderr > 0:
            covered.append(abs(row.rounding_curvature - exact) <= 2 * row.predicted_stderr)
    assert len(covered) >= 3
    assert all(covered)  # the error is an upper bound


def test_two_relu_layers_rescaled_against_each_other(compute: Compute, tmp_path: Path) -> None:
    """By a power of two, so that not a bit is lost: nothing changes but ‖δ‖²; and ranks are SciPy's."""
    records = []
    for factor in (1.0, 8.0):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
        with torch.no_grad():
            net[1].weight *= factor
            net[1].bias *= factor
            net[3].weight /= factor
        torch.jit.save(torch.jit.script(net), tmp_path / f"{factor:g}.pt")
        loss = 'name = "cross_entropy"\nfrom_logits = true'
        code, path = compute("sensitivity", tmp_path / f"{factor:g}.pt", {"input": X}, LABELS, loss, *WORDS)
        assert code == 0
        records.append(read_report(path).study("sensitivity"))
    for left, right in zip(*(record.tables["quantization"] for record in records), strict=True):
        for column in ("predicted_rise", "quadratic_rise", "hawq_v2", "measured_rise"):
            assert getattr(left, column) == pytest.approx(getattr(right, column), rel=1e-9)
        assert (left.rounding_error == pytest.approx(right.rounding_error)) == (left.quantized_layer == "5")
    for name in (array.name for array in records[0].arrays):
        np.testing.assert_allclose(records[0].array(name), records[1].array(name), rtol=1e-9, atol=1e-15)
    for rank in records[0].tables["sensitivity_ranks"]:
        own = [row for row in records[0].tables["quantization"] if f"{row.bits} bits" == rank.name]
        measured, hawq = ([getattr(row, c) for row in own] for c in ("measured_rise", "hawq_v2"))
        assert rank.rank_hawq_v2 == pytest.approx(float(spearmanr(measured, hawq)[0]))


def test_a_config_shares_the_diagonals_and_its_paths_are_its_own(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report holds both; the file of bits lies beside the config."""
    (tmp_path / "sub").mkdir()
    np.savez(tmp_path / "sub" / "d.npz", x=X, y=LABELS)
    (tmp_path / "sub" / "s.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.x]\ncolumn = "x"\n[target]\ncolumn = "y"\n'
        f"[loss]\n{CROSS}\n"
    )
    (tmp_path / "sub" / "run.toml").write_text(
        f'model = "{model}"\ndata = "s.toml"\noutput = "r.h5"\nlayer = ["one", "two"]\n[diag]\n'
        '[sensitivity]\nbits = [4, 2]\nsparsity = 0.5\ntarget-bits = 3\nbits-output = "bits.json"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert run(["run", "sub/run.toml", "-q"]) == 0
    assert set(json.loads((tmp_path / "sub" / "bits.json").read_text())["layers"]) == {"one", "two"}
    report = read_report(tmp_path / "sub" / "r.h5")
    kernel = report.layer("two").parameters[0]
    saliency = report.study("sensitivity").array("saliency/two.weight")
    weights = Net().two.weight.detach().double().numpy()
    np.testing.assert_allclose(saliency, kernel.diagonal.astype(float) * weights**2 / 2, rtol=1e-5)


def test_an_interrupted_run_ends_in_the_same_bytes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two places, it goes on with the next one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    np.savez(tmp_path / "d.npz", x=X, y=LABELS)
    (tmp_path / "s.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.x]\ncolumn = "x"\n[target]\ncolumn = "y"\n'
        f"[loss]\n{CROSS}\n[sampling]\nbatch_size = 16\n"
    )
    words = ["sensitivity", str(model), "--data", str(tmp_path / "s.toml"), *WORDS, "--target-bits", "3", "-q"]
    assert run([*words, "-o", str(tmp_path / "a.h5")]) == 0
    calls = 0
    call = LossAtTask.__call__

    def stopped(self: LossAtTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 40:
            signal.raise_signal(signal.SIGINT)
        return call(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LossAtTask, "__call__", stopped)
        assert run([*words, "-o", str(tmp_path / "b.h5")]) == 130
        assert run([*words, "-o", str(tmp_path / "b.h5")]) == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert calls == 3 * (1 + 3 * (3 + 4) + 4 + 4)  # no place is measured twice


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bits", "1"], "--bits: must be 2 or more, found 1"),
        (["--bits", "4,x"], "--bits: must be a whole number"),
        (["--bits", "4,"], "--bits: must be a whole number"),
        (["--sparsity", "1.5"], "--sparsity: must be 1 or less"),
        (["--sparsity", "0"], "--sparsity: must be above 0"),
        (["--granularity", "group:0"], "--granularity group:0: must be channel, tensor or group:N"),
        (["--target-bits", "2.5"], "--target-bits 2.5: the least of --bits is 3"),
        (["--bits-output", "x.json"], "--bits-output goes with --target-bits"),
        (["--damping", "1"], "--damping goes with --obs"),
        (["--layer", "norm"], "none of the chosen layers has a kernel"),
        (
            ["--target-bits", "4", "--bits-output", "{model}"],
            "is not a file of bits per layer; refusing to overwrite it",
        ),
        (
            ["--target-bits", "4", "--bits-output", "{text}"],
            "is not a file of bits per layer; refusing to overwrite it",
        ),
        (["--target-bits", "4", "--bits-output", "/"], "is a directory"),
        (["--target-bits", "4", "--bits-output", "/no/x.json"], "the directory does not exist"),
        (["--target-bits", "4", "--bits-output", "{report}"], "two files would go there: choose another --output"),
    ],
)
def test_mistakes_are_told(  # noqa: PLR0917
    options: list[str],
    message: str,
    compute: Compute,
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Before anything is computed."""
    text = tmp_path / "text.json"
    text.write_text('{"format": "mine"}')
    words = [word.format(model=model, text=text, report=tmp_path / "1.h5") for word in options]
    before = model.read_bytes()
    code, _ = compute("sensitivity", model, {"x": X}, LABELS, CROSS, *words)
    assert code == 2
    assert message in capfd.readouterr().err
    assert (model.read_bytes(), text.read_text()) == (before, '{"format": "mine"}')


def test_a_model_in_memory() -> None:
    """Python's numbers of bits and sparsities; the module is left as it was."""
    module = Net()
    before = {name: p.clone() for name, p in module.state_dict().items()}
    data = (torch.from_numpy(X).float(), torch.from_numpy(LABELS))
    found = curvcli.sensitivity(module, data=data, loss="cross_entropy", bits=[4, 2], sparsity=0.5, target_bits=3)
    assert [row.bits for row in found.table("quantization").values()] == [4, 2] * 3
    assert set(found.table("pruning")) == {f"{layer}/0.5" for layer in ("conv", "one", "two", "(all layers)")}
    assert found.table("allocation")["conv"].allotted_bits in (2, 4)
    assert all(torch.equal(before[name], p) for name, p in module.state_dict().items())
