"""Curvature by activations and rounded ones against dense float64 Hessians of eager networks, in both frameworks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import curvcli
from curvcli.cli.main import run
from curvcli.curvature.pointwise.activation_tasks import ProbesTask
from curvcli.models.torch.activations import TorchActivationBatch
from curvcli.report.hdf5.read import read_report

from .conftest import write_spec
from .tf_modules import save

Compute = Callable[..., tuple[int, Path]]
RNG = np.random.default_rng(7)
COUNT = 6
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
WEIGHTED = f"{LOGITS}\nclass_weights = [0.5, 2.0, 1.5]\nweight_decay = 0.02"
X, LABELS = RNG.standard_normal((COUNT, 2, 4, 4)), RNG.integers(0, 3, COUNT)
FLAT = RNG.standard_normal((COUNT, 4))
BITS = (4, 3)
WORDS = ["--bits", "3,4"]
ONE_BATCH = True  # of TensorFlow's; the torch networks are given batches of their own


class Net(nn.Module):
    """A convolution, a norm, a ReLU in place, tokens, a skip, and a dense layer that several samples' rows enter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.LayerNorm([3, 2, 2])
        self.one, self.two, self.out = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.conv(x)), inplace=True).flatten(2)
        h = h + torch.tanh(self.one(h))
        return self.out(torch.sigmoid(self.two(h).flatten(1)) * self.scale)


class Eager:
    """The declared loss of an eager float64 network as a function of what one of its modules makes or reads."""

    def __init__(self, module: nn.Module, x: np.ndarray, loss: Callable[[Tensor], Tensor], layer: str, of: str) -> None:
        self.module, self.x, self.loss = module.double(), torch.from_numpy(x), loss
        inner = dict(module.named_modules())[layer]
        self._instead: Tensor | None = None
        self._kept: list[Tensor] = []

        def put(value: Tensor) -> Tensor:
            self._kept.append(value.detach().clone())  # what comes after may work in place
            return value if self._instead is None else self._instead.reshape(value.shape)

        if of == "output":
            inner.register_forward_hook(lambda _, __, made: put(made))
        else:
            inner.register_forward_pre_hook(lambda _, read: (put(read[0]),))
        self._value()
        self.z = self._kept[0]

    def _value(self) -> Tensor:
        return self.loss(self.module(self.x.clone()))

    def at(self, z: Tensor) -> Tensor:
        """L with these numbers in the place of z."""
        self._instead = z.clone()
        try:
            return self._value()
        finally:
            self._instead = None

    def rise(self, delta: np.ndarray) -> float:
        """Of L where z is moved."""
        moved = self.z + torch.from_numpy(delta).reshape(self.z.shape)
        return float((self.at(moved) - self.at(self.z)).detach())

    @property
    def derivatives(self) -> tuple[np.ndarray, np.ndarray]:
        """The gradient by z of all samples, (samples, n), and each sample's block of the Hessian, (samples, n, n)."""
        count = len(self.z)
        gradient = torch.autograd.functional.jacobian(self.at, self.z).numpy().reshape(count, -1)
        whole = torch.autograd.functional.hessian(self.at, self.z).numpy()
        blocks = whole.reshape(count, gradient.shape[1], count, gradient.shape[1])
        own = np.stack([blocks[n, :, n] for n in range(count)])
        assert np.allclose(np.abs(blocks).sum(), np.abs(own).sum())
        return gradient, own


def rounded(z: np.ndarray, bits: int, scheme: str) -> np.ndarray:
    """One grid for all of it."""
    if scheme == "symmetric":
        step = np.abs(z).max() / (2 ** (bits - 1) - 1)
        return np.round(z / step) * step
    low, high = min(z.min(), 0.0), max(z.max(), 0.0)
    step = (high - low) / (2**bits - 1)
    zero = np.round(-low / step)
    return (np.clip(np.round(z / step) + zero, 0, 2**bits - 1) - zero) * step


def cross_entropy(output: Tensor) -> Tensor:
    """With class weights; weight decay changes no derivative by an activation."""
    weights = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
    return F.cross_entropy(output, torch.from_numpy(LABELS), weight=weights)


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def study(compute: Compute, model: Path, x: np.ndarray, y: Any, loss: str, *options: str, name: str = "x") -> Any:
    code, path = compute("activations", model, {name: x}, y, loss, *options)
    assert code == 0
    return read_report(path).study("activations")


def rows(record: Any, table: str) -> dict[str, Any]:
    return {row.name: row for row in record.tables[table]}


def check(
    record: Any, layer: str, eager: Eager, scheme: str, channel_axis: int, *, weights: np.ndarray | None = None
) -> None:
    """Every figure of one layer, of samples of these weights."""
    gradient, blocks = eager.derivatives
    z, row = eager.z.numpy(), rows(record, "activations")[layer]
    flat, count = z.reshape(len(z), -1), len(z)
    diagonal = np.stack([np.diag(block) for block in blocks])
    weights = np.ones(count) if weights is None else weights
    apart = diagonal.sum(axis=1) - diagonal.sum() * weights / weights.sum()
    assert row.exact
    assert (row.z_axes, row.z_entries) == (z.shape[1:], flat.shape[1])
    expected = {
        "z_low": z.min(),
        "z_high": z.max(),
        "z_gradient": np.linalg.norm(gradient, axis=1).sum(),
        "z_trace": diagonal.sum(),
        "z_mean_curvature": diagonal.sum() / flat.shape[1],
        "z_trace_data_stderr": np.sqrt(count / (count - 1) * (apart**2).sum()),
        "z_trace_stderr": 0.0,
    }
    for column, value in expected.items():
        assert getattr(row, column) == pytest.approx(value, rel=1e-9, abs=1e-14), (layer, column)
    by_entry = diagonal.sum(axis=0).reshape(z.shape[1:])
    scale = np.abs(by_entry).max()
    np.testing.assert_allclose(record.array(f"diagonal/{layer}"), by_entry, rtol=1e-9, atol=1e-12 * scale)
    channels = np.moveaxis(by_entry, channel_axis, 0).reshape(by_entry.shape[channel_axis], -1).sum(axis=1)
    own = [one for one in record.tables["activation_channels"] if one.z_channel_layer == layer]
    assert [one.z_channel_trace for one in own] == pytest.approx(channels.tolist(), rel=1e-9, abs=1e-12 * scale)
    for bits in BITS:
        delta = (rounded(z, bits, scheme) - z).reshape(count, -1)
        slope, half = (gradient * delta).sum(), (diagonal * delta**2).sum() / 2
        form = np.einsum("ni,nij,nj->", delta, blocks, delta) / 2
        expected = {
            "z_mean_square": (delta**2).mean(),
            "z_slope": slope,
            "z_rounding_curvature": half,
            "z_predicted": slope + half,
            "z_quadratic": slope + form,
            "z_hawq_v2": diagonal.sum() * (delta**2).mean(),
            "z_measured": eager.rise(delta),
        }
        for column, value in expected.items():
            figure = getattr(rows(record, "quantized_activations")[f"{layer}/{bits}"], column)
            assert figure == pytest.approx(value, rel=1e-9, abs=1e-13), (layer, bits, column)


@pytest.mark.parametrize(("of", "scheme"), [("output", "asymmetric"), ("input", "symmetric")])
def test_every_figure_is_that_of_the_dense_hessian(compute: Compute, tmp_path: Path, of: str, scheme: str) -> None:
    """With class weights and weight decay, over uneven batches, by unit vectors and by columns."""
    model = scripted(Net(), tmp_path / "net.pt")
    options = ["--of", of, "--scheme", scheme, "--method", "exact", "--batch-size", "4"]
    record = study(compute, model, X, LABELS, WEIGHTED, *WORDS, *options)
    assert record.exact
    assert record.status == "done"
    layers = {"conv": 0, "norm": -1, "one": -1, "two": -1, "out": -1} if of == "output" else {"conv": 0, "out": -1}
    for layer, axis in layers.items():
        weights = np.array([0.5, 2.0, 1.5])[LABELS]
        check(record, layer, Eager(Net(), X, cross_entropy, layer, of), scheme, axis, weights=weights)
    about = rows(record, "activations")
    assert {row.z_method for row in about.values() if row.z_entries} == {"unit_vectors", "columns"}
    if of == "input":
        assert rows(record, "missing_activations")["norm"].z_missing == "norm has no kernel that reads an activation."
        # One tensor, which the skip and the layer read: all of its readers see it rounded.
        assert about["one"].z_made_by == "Relu"
    ranks = rows(record, "activation_ranks")
    assert list(ranks) == ["4 bits", "3 bits"]


class Joined(nn.Module):
    """A seeded random network with a branch that is added or multiplied, and elementwise functions."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        wide = int(rng.integers(2, 6))
        self.one, self.left, self.right = nn.Linear(4, wide), nn.Linear(wide, wide), nn.Linear(wide, wide)
        self.norm = nn.LayerNorm(wide) if rng.integers(2) else nn.Linear(wide, wide, bias=False)
        self.out = nn.Linear(wide, 3)
        self.times, self.skip = bool(rng.integers(2)), bool(rng.integers(2))
        bends = [nn.Tanh(), nn.GELU(), nn.ReLU(), nn.SiLU(), nn.Identity()]
        self.first, self.second = bends[int(rng.integers(5))], bends[int(rng.integers(5))]

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(self.one(x))
        left, right = self.second(self.left(h)), self.right(self.norm(h))
        joined = left * right if self.times else left + right
        return self.out(joined + h if self.skip else joined)


@pytest.mark.parametrize(
    "seed", [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(25)]
)
def test_random_branching_networks(compute: Compute, tmp_path: Path, seed: int) -> None:
    loss = f'{LOGITS}\nreduction = "sum"' if seed % 2 else LOGITS
    reduction = "sum" if seed % 2 else "mean"

    def eager_loss(output: Tensor) -> Tensor:
        return F.cross_entropy(output, torch.from_numpy(LABELS), reduction=reduction)

    model = scripted(Joined(seed), tmp_path / "net.pt")
    record = study(compute, model, FLAT, LABELS, loss, *WORDS, "--method", "exact")
    for layer in ("one", "left", "right", "norm", "out"):
        eager = Eager(Joined(seed), FLAT, eager_loss, layer, "output")
        if reduction == "sum":
            gradient, blocks = eager.derivatives
            row = rows(record, "activations")[layer]
            assert row.z_trace == pytest.approx(np.einsum("nii->", blocks), rel=1e-9, abs=1e-13)
            assert row.z_gradient == pytest.approx(np.linalg.norm(gradient, axis=1).sum(), rel=1e-9)
        else:
            check(record, layer, eager, "asymmetric", -1)


# -- both frameworks --------------------------------------------------------------------------------------------------


def tf_dense(tf: Any, weights: Any, inputs: Any) -> Any:
    h = tf.nn.bias_add(tf.matmul(inputs["x"], weights["one/kernel"]), weights["one/bias"])
    h = tf.tanh(h)
    h = h * tf.matmul(h, weights["two/kernel"])
    return tf.matmul(tf.nn.relu(h), weights["out/kernel"]) + weights["out/bias"]


class Twin(nn.Module):
    """The same in torch."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(4, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 3)
        for name, values in weights.items():
            layer, label = name.split("/")
            tensor = getattr(getattr(self, layer), {"kernel": "weight", "bias": "bias"}[label])
            tensor.data = torch.from_numpy(values.T.copy())

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        return self.out(torch.relu(h * self.two(h)))


def numbers(row: Any) -> dict[str, float]:
    return {column: value for column, value in row.values.items() if isinstance(value, float)}


@pytest.mark.parametrize("of", ["output", "input"])
def test_both_frameworks_say_the_same(compute: Compute, tmp_path: Path, of: str) -> None:
    """And what a hand-written tail says: TensorFlow's figures are those of torch's eager modules."""
    shapes = {"one/kernel": (4, 3), "one/bias": (3,), "two/kernel": (3, 3), "out/kernel": (3, 3), "out/bias": (3,)}
    weights = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    save(tf_dense, weights, {"x": FLAT}, tmp_path / "m")
    scripted(Twin(weights), tmp_path / "m.pt")
    options = [*WORDS, "--of", of, "--method", "exact"]
    if of == "input":
        options += ["--layer", "one", "--layer", "two"]
    both = [study(compute, tmp_path / path, FLAT, LABELS, LOGITS, *options) for path in ("m.pt", "m")]
    for layer in ("one", "two", "out"):
        if of == "output" or layer == "one":
            eager = Eager(Twin(weights), FLAT, lambda o: F.cross_entropy(o, torch.from_numpy(LABELS)), layer, of)
            check(both[1], layer, eager, "asymmetric", -1)
    for table in ("activations", "quantized_activations", "activation_ranks", "activation_channels"):
        left, right = (rows(one, table) for one in both)
        assert list(left) == list(right)
        for name, row in left.items():
            for column, value in numbers(row).items():
                other = getattr(right[name], column)
                assert value == pytest.approx(other, rel=1e-9, abs=1e-13, nan_ok=True), (name, column)
    for array in both[0].arrays:
        np.testing.assert_allclose(array.values, both[1].array(array.name), rtol=1e-9, atol=1e-13)


# -- closed forms -----------------------------------------------------------------------------------------------------


def test_logits_of_a_softmax_and_squared_errors(compute: Compute, tmp_path: Path) -> None:
    """Diagonal p(1 − p) and trace 1 − Σp²; 2/m for the mean of m squares, whose rise is quadratic."""
    torch.manual_seed(1)
    linear = nn.Sequential(nn.Linear(4, 3))
    model = scripted(linear, tmp_path / "m.pt")
    record = study(compute, model, FLAT, LABELS, LOGITS, *WORDS, "--layer", "0", name="input")
    p = torch.softmax(linear.double()(torch.from_numpy(FLAT)), 1).detach().numpy()
    np.testing.assert_allclose(record.array("diagonal/0"), (p * (1 - p)).mean(axis=0), rtol=1e-9)
    row = rows(record, "activations")["0"]
    assert row.z_trace == pytest.approx((1 - (p**2).sum(axis=1)).mean(), rel=1e-9)
    assert row.z_trace_data_stderr == pytest.approx((p**2).sum(axis=1).std(ddof=1) / np.sqrt(COUNT), rel=1e-9)
    record = study(compute, model, FLAT, RNG.standard_normal((COUNT, 3)), 'name = "mse"', *WORDS, name="input")
    np.testing.assert_allclose(record.array("diagonal/0"), np.full(3, 2 / 3), rtol=1e-9)
    assert rows(record, "activations")["0"].z_trace_data_stderr == pytest.approx(0, abs=1e-12)
    for one in record.tables["quantized_activations"]:
        assert one.z_predicted == pytest.approx(one.z_measured, rel=1e-9)
        assert one.z_quadratic == pytest.approx(one.z_measured, rel=1e-9)
        assert one.z_hawq_v2 == pytest.approx(2 * one.z_rounding_curvature, rel=1e-9)


# -- estimates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_estimates_have_errors_that_cover(compute: Compute, tmp_path: Path, runs: int) -> None:
    """Of traces, entries, channels, and predicted rises; two standard errors hold in about 95 % of cases."""
    model = scripted(Joined(1), tmp_path / "net.pt")
    exact = study(compute, model, FLAT, LABELS, LOGITS, *WORDS, "--layer", "one", "--method", "exact")
    off: dict[str, list[float]] = {"trace": [], "entry": [], "channel": [], "rise": []}
    truth = rows(exact, "activations")["one"].z_trace
    for seed in range(runs):
        words = [*WORDS, "--layer", "one", "--method", "probes", "--probes", "12", "--seed", str(seed)]
        record = study(compute, model, FLAT, LABELS, LOGITS, *words)
        row = rows(record, "activations")["one"]
        assert (row.z_probes, row.z_method, row.exact, record.exact) == (12, "probes", False, False)
        off["trace"].append((row.z_trace - truth) / row.z_trace_stderr)
        errors = record.array("diagonal_stderr/one")
        off["entry"] += ((record.array("diagonal/one") - exact.array("diagonal/one")) / errors).tolist()
        for name, one in rows(record, "activation_channels").items():
            other = rows(exact, "activation_channels")[name]
            off["channel"].append((one.z_channel_trace - other.z_channel_trace) / one.z_channel_stderr)
        for name, one in rows(record, "quantized_activations").items():
            other = rows(exact, "quantized_activations")[name]
            off["rise"].append((one.z_predicted - other.z_predicted) / one.z_predicted_stderr)
            assert one.z_quadratic == pytest.approx(other.z_quadratic, rel=1e-9)
    for name, ratios in off.items():
        held = np.mean(np.abs(ratios) <= 2)
        assert held >= (0.9 if runs > 8 else 0.8), (name, held)
        assert np.std(ratios) > 0.5, name  # no wider than they have to be


def test_a_tolerance_ends_the_probes(compute: Compute, tmp_path: Path) -> None:
    model = scripted(Joined(1), tmp_path / "net.pt")
    words = ["--layer", "one", "--bits", "8", "--method", "probes"]
    record = study(compute, model, FLAT, LABELS, LOGITS, *words, "--rtol", "0.2", "--batch-size", "4")
    row = rows(record, "activations")["one"]
    assert row.z_trace_stderr <= 0.2 * abs(row.z_trace)
    assert row.z_probes % 8 == 0
    code, path = compute("activations", model, {"x": FLAT}, LABELS, LOGITS, *words, "--rtol", "1e-6", "--probes", "17")
    record = read_report(path).study("activations")
    assert (code, record.status, rows(record, "activations")["one"].z_probes) == (4, "not_converged", 17)


def test_a_diagonal_that_its_own_check_refutes_is_not_called_exact(
    compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns where what comes after z is curved, which the graph is made to deny; and a pass that puts z elsewhere."""
    model = scripted(Net(), tmp_path / "net.pt")
    words = [*WORDS, "--layer", "norm", "--layer", "two", "--method", "exact"]
    with monkeypatch.context() as patched:
        patched.setattr(TorchActivationBatch, "blocker", lambda _: None)
        code, path = compute("activations", model, {"x": X}, LABELS, LOGITS, *words)
    record = read_report(path).study("activations")
    assert (code, record.status, record.exact) == (4, "unverified", False)
    assert [row.exact for row in record.tables["activations"]] == [False, False]
    assert "norm: columns and products differ by" in record.reason
    original = TorchActivationBatch.loss_at
    monkeypatch.setattr(TorchActivationBatch, "loss_at", lambda batch, z: original(batch, z + 0.1))
    code, path = compute("activations", model, {"x": X}, LABELS, LOGITS, *words)
    record = read_report(path).study("activations")
    assert (code, record.status, record.exact) == (4, "unverified", False)
    assert "two: z put back changes the loss by" in record.reason


# -- what is in the way -----------------------------------------------------------------------------------------------


class Awkward(nn.Module):
    """A layer that is used twice, one that meets no data, one of a single number, a table, and constants."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.twice, self.single = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.flat = nn.Linear(4, 4)
        nn.init.zeros_(self.flat.weight)
        nn.init.zeros_(self.flat.bias)
        self.mixing = nn.Linear(4, 4)
        self.out = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.twice(torch.tanh(self.twice(self.table(x))))
        s = self.single(h)
        return self.out(torch.cat([h + self.flat(h), s, self.mixing(h)], 1))


def test_layers_without_an_activation_are_told_and_others_have_theirs(compute: Compute, tmp_path: Path) -> None:
    model, x = scripted(Awkward(), tmp_path / "m.pt"), RNG.integers(0, 5, COUNT)
    record = study(compute, model, x, LABELS, LOGITS, *WORDS)
    about = rows(record, "activations")
    assert list(about) == ["table", "single", "flat", "mixing", "out"]
    missing = rows(record, "missing_activations")
    assert missing["twice"].z_missing.startswith("twice.weight is used 2 times")
    assert (about["single"].z_axes, about["single"].z_entries) == ((1,), 1)
    assert about["table"].z_axes == (4,)
    flat = about["flat"]
    assert (flat.z_low, flat.z_high, flat.exact) == (0, 0, True)
    quantised = rows(record, "quantized_activations")["flat/3"]
    assert (quantised.z_mean_square, quantised.z_predicted, quantised.z_measured) == (0, 0, 0)
    record = study(compute, model, x, LABELS, LOGITS, "--of", "input", "--bits", "4")
    about = rows(record, "activations")
    assert "reads no activation" in rows(record, "missing_activations")["table"].z_missing
    assert about["single"].exact
    code, _ = compute("activations", model, {"x": x}, LABELS, LOGITS, "--layer", "twice")
    assert code == 3


class Endless(nn.Module):
    """What one layer makes is no number for one sample, which the loss does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.out = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.nan_to_num(self.one(x), 0.0, 0.0, 0.0))


def test_activations_that_are_no_numbers_are_said_to_be(compute: Compute, tmp_path: Path) -> None:
    x = FLAT.copy()
    x[2] = np.array([1e308, -1e308, 1e308, 1e308])
    net = Endless()
    nn.init.constant_(net.one.weight, 10.0)
    code, path = compute("activations", scripted(net, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS, *WORDS)
    record = read_report(path).study("activations")
    about = rows(record, "activations")
    assert (code, record.status) == (4, "nonfinite")
    assert np.isnan(about["one"].z_low)
    assert np.isnan(about["one"].z_trace)
    assert about["out"].exact
    assert "one: z holds numbers that are not finite" in record.reason


class Mixing(nn.Module):
    """Samples see each other after the first layer, and not after the second."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.out = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        return self.out(h - h.mean(0, keepdim=True))


def test_samples_that_influence_each_other(compute: Compute, tmp_path: Path) -> None:
    """After one layer they do, after another they don't."""
    record = study(compute, scripted(Mixing(), tmp_path / "m.pt"), FLAT, LABELS, LOGITS, *WORDS)
    assert "samples influence each other" in rows(record, "missing_activations")["one"].z_missing
    assert rows(record, "activations")["out"].exact


# -- as other commands do ---------------------------------------------------------------------------------------------


def test_interrupted_and_resumed_equal_to_the_bit(
    compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = scripted(Joined(1), tmp_path / "net.pt")
    words = [*WORDS, "--method", "probes", "--probes", "24", "--batch-size", "4"]
    whole = study(compute, model, FLAT, LABELS, LOGITS, *words)
    spec = write_spec(tmp_path, "again", {"x": FLAT}, LABELS, LOGITS)
    line = ["activations", str(model), "--data", str(spec), "--dtype", "float64", "-q", *words]
    line += ["-o", str(tmp_path / "r.h5")]
    calls, original = [0], ProbesTask.__call__

    def stopped(self: ProbesTask, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 10:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(ProbesTask, "__call__", stopped)
    assert run(line) == 130
    made, calls[0] = calls[0], 11
    assert run(line) == 0
    assert calls[0] - 11 + made - 1 < 2 * 6 * 5  # no round was made twice
    again = read_report(tmp_path / "r.h5").study("activations")
    for table, left in whole.tables.items():
        for one, other in zip(left, again.tables[table], strict=True):
            assert one.name == other.name
            assert [repr(v) for v in one.values.values()] == [repr(v) for v in other.values.values()]
    for array in whole.arrays:
        np.testing.assert_array_equal(array.values, again.array(array.name))


def test_in_a_config_and_with_rules(compute: Compute, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside another study; a threshold for a figure, and a single one on standard output."""
    scripted(Joined(2), tmp_path / "net.pt")
    write_spec(tmp_path, "data", {"x": FLAT}, LABELS, LOGITS)
    config = tmp_path / "run.toml"
    config.write_text('model = "net.pt"\ndata = "data.toml"\noutput = "r.h5"\n[activations]\nbits = [4]\n[trace]\n')
    assert run(["run", str(config), "-q"]) == 0
    assert run(["show", str(tmp_path / "r.h5"), "--get", "activations/out/z_trace"]) == 0
    trace = float(capsys.readouterr().out.split()[-1])
    assert 0 < trace < 1
    from_python = curvcli.activations(tmp_path / "net.pt", data=tmp_path / "data.toml", layer="out", bits=4)
    assert from_python.table("activations")["out"].z_trace == pytest.approx(trace, rel=1e-5)
    shutil.copy(tmp_path / "r.h5", tmp_path / "same.h5")
    assert run(["compare", str(tmp_path / "r.h5"), str(tmp_path / "same.h5"), "-q"]) == 0
