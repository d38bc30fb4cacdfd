"""Slices of the loss against eager networks, closed forms and differences, in both frameworks."""

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
from curvcli.cli.main import run
from curvcli.curvature.losses_at import LossAtTask
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES
from .exported import exported
from .tf_modules import save

Compute = Callable[..., tuple[int, Path]]
RNG = np.random.default_rng(11)
X, LABELS = RNG.standard_normal((SAMPLES, 3)), RNG.integers(0, 3, SAMPLES)
Y = RNG.standard_normal((SAMPLES, 2))
MSE = 'name = "mse"'
CROSS = """name = "cross_entropy"
from_logits = true
class_weights = [0.5, 2.0, 1.5]
weight_decay = 0.05"""
WEIGHTS, DECAY = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64), 0.05
ONE_BATCH = True  # of TensorFlow's; the torch networks are given batches of their own


class Linear(nn.Module):
    """Two outputs of three inputs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x)


class Net(nn.Module):
    """Three layers, the second frozen, and batch norm with statistics that are no parameters."""

    def __init__(self, seed: int, *, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one, self.two, self.three = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(4) if norm else nn.Identity()
        self.two.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(torch.tanh(self.two(self.norm(torch.tanh(self.one(x))))))


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def loss_of(module: nn.Module, names: list[str]) -> Callable[[Tensor], Tensor]:
    """The declared loss of an eager network as a function of these parameters, joined; float64."""
    module = module.double().eval()
    own = dict(module.named_parameters())
    trained = [name for name, p in own.items() if p.requires_grad]
    x, y = torch.from_numpy(X), torch.from_numpy(LABELS)

    def loss(flat: Tensor) -> Tensor:
        values, start = {name: p.detach() for name, p in own.items()}, 0
        for name in names:
            size = values[name].numel()
            values[name] = flat[start : start + size].reshape(values[name].shape)
            start += size
        logits = torch.func.functional_call(module, values, (x,))
        decay = sum((values[name] ** 2).sum() for name in trained)
        return F.cross_entropy(logits, y, weight=WEIGHTS) + DECAY / 2 * decay

    return loss


def flat_of(module: nn.Module, names: list[str]) -> Tensor:
    own = dict(module.named_parameters())
    return torch.cat([own[name].detach().double().ravel() for name in names])


def sliced(compute: Compute, model: Path, loss: str, *options: str, target: np.ndarray = LABELS) -> Any:
    """The study of a slice, and the whole report."""
    code, path = compute("slice", model, {"x": X}, target, loss, *options)
    assert code == 0
    return read_report(path).study("slice")


ALL = ["one.weight", "one.bias", "two.weight", "two.bias", "three.weight", "three.bias"]


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[nn.Module, Path]]:
    """Two networks of the same shape, and their files."""
    folder = tmp_path_factory.mktemp("nets")
    return {str(i): (net := Net(i), scripted(net, folder / f"{i}.pt")) for i in range(2)}


@pytest.mark.parametrize("along", ["gradient", "top", "bottom"])
def test_every_loss_is_the_eager_networks(along: str, nets: Any, compute: Compute) -> None:
    """With class weights, weight decay and frozen parameters, over uneven batches; slope and curvature likewise."""
    module, path = nets["0"]
    study = sliced(compute, path, CROSS, "--along", along, "--points", "9", "--batch-size", "16")
    loss, at = loss_of(module, ALL), flat_of(module, ALL)
    gradient = torch.autograd.functional.jacobian(loss, at).numpy()
    hessian = torch.autograd.functional.hessian(loss, at).numpy()
    values, vectors = np.linalg.eigh(hessian)
    direction = {"gradient": gradient / np.linalg.norm(gradient), "top": vectors[:, -1], "bottom": vectors[:, 0]}[along]
    direction = direction * np.sign(direction @ gradient)
    (row,) = study.tables["slice"]
    assert row.slope == pytest.approx(direction @ gradient, rel=1e-9)
    assert row.slope > 0
    assert row.curvature == pytest.approx(direction @ hessian @ direction, rel=1e-9)
    if along != "gradient":
        assert row.curvature == pytest.approx(values[-1 if along == "top" else 0], rel=1e-9)
        assert row.residual < 1e-8
    steps = study.array("coordinate_1")
    expected = [float(loss(at + t * torch.from_numpy(direction))) for t in steps]
    np.testing.assert_allclose(study.array("loss"), expected, rtol=1e-9)
    quadratic = float(loss(at)) + row.slope * steps + row.curvature / 2 * steps**2
    np.testing.assert_allclose(study.array("quadratic"), quadratic, rtol=1e-9, atol=1e-12)
    assert (row.lowest_loss, row.highest_loss) == (study.array("loss").min(), study.array("loss").max())
    assert row.lowest_at == steps[study.array("loss").argmin()]


@pytest.mark.parametrize(("along", "sizes"), [("top:2", 4), ("bottom", 4)])
def test_the_curve_along_an_eigenvector_bends_by_its_eigenvalue(
    along: str, sizes: int, nets: Any, compute: Compute
) -> None:
    """By differences of the measured losses alone, to 1e-4."""
    study = sliced(
        compute, nets["0"][1], CROSS, "--along", along, "--layer", "one", "--layer", "three",
        "--points", "5", "--reach", "0.01",
    )  # fmt: skip
    loss, h = study.array("loss"), 0.005
    bend = (-loss[0] + 16 * loss[1] - 30 * loss[2] + 16 * loss[3] - loss[4]) / (12 * h**2)
    (row,) = study.tables["slice"]
    assert bend == pytest.approx(float(row.about.rpartition(" ")[2]), rel=1e-3)  # four digits of it
    assert bend == pytest.approx(row.curvature, rel=1e-4)


def test_a_plane_of_random_directions_is_that_of_the_quadratic_model_where_the_loss_is_quadratic(
    tmp_path: Path, compute: Compute
) -> None:
    """Linear regression: every point, to 1e-9, and the eigenvalues of 2 / (N m) · XᵀX in closed form."""
    module = Linear(0)
    path = scripted(module, tmp_path / "m.pt")
    study = sliced(compute, path, MSE, "--along", "random", "--along", "top", "--points", "5", target=Y)
    np.testing.assert_allclose(study.array("loss"), study.array("quadratic"), rtol=1e-9)
    assert study.array("loss").shape == (5, 5)
    extended = np.c_[X, np.ones(SAMPLES)]
    largest = np.linalg.eigvalsh(extended.T @ extended)[-1] * 2 / (SAMPLES * 2)
    random, top = study.tables["slice"]
    assert top.curvature == pytest.approx(largest, rel=1e-9)
    # A filter's step is as long as the filter, and the bias stays.
    assert random.norm == pytest.approx(float(module.one.weight.detach().double().norm()))
    place = np.unravel_index(study.array("loss").argmin(), (5, 5))
    for i, row in enumerate((random, top)):
        assert row.lowest_loss == study.array("loss").min()
        assert row.lowest_at == study.array(f"coordinate_{i + 1}")[place[i]]


def tf_linear(tf: Any, weights: Any, inputs: Any) -> Any:
    return tf.matmul(inputs["x"], weights["kernel"]) + weights["bias"]


def tf_net(tf: Any, weights: Any, inputs: Any) -> Any:
    return tf.matmul(tf.tanh(tf.matmul(inputs["x"], weights["one"])), weights["two"])


def test_a_savedmodels_plane_is_quadratic_too(tmp_path: Path, compute: Compute) -> None:
    """In TensorFlow, on the same data."""
    weights = {"kernel": RNG.standard_normal((3, 2)), "bias": RNG.standard_normal(2)}
    save(tf_linear, weights, {"x": X}, tmp_path / "m")
    study = sliced(compute, tmp_path / "m", MSE, "--along", "random", "--along", "top", "--points", "3", target=Y)
    np.testing.assert_allclose(study.array("loss"), study.array("quadratic"), rtol=1e-9)
    extended = np.c_[X, np.ones(SAMPLES)]
    largest = np.linalg.eigvalsh(extended.T @ extended)[-1] * 2 / (SAMPLES * 2)
    random, top = study.tables["slice"]
    assert top.curvature == pytest.approx(largest, rel=1e-9)
    assert random.norm == pytest.approx(np.linalg.norm(weights["kernel"].astype(np.float32).astype(float)))


def test_both_frameworks_draw_the_same_line(tmp_path: Path, compute: Compute) -> None:
    """The same two networks in both formats: every loss, the barrier and both ends' derivatives, to 1e-9."""

    class Pair(nn.Module):
        def __init__(self, one: np.ndarray, two: np.ndarray) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 4, bias=False), nn.Linear(4, 3, bias=False)
            self.one.weight.data, self.two.weight.data = torch.tensor(one.T.copy()), torch.tensor(two.T.copy())

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.tanh(self.one(x)))

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        one, two = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (4, 3)))
        scripted(Pair(one, two), tmp_path / f"{name}.pt")
        save(tf_net, {"one": one, "two": two}, {"x": X}, tmp_path / name)
    studies = [
        sliced(compute, tmp_path / f"a{s}", CROSS, "--towards", str(tmp_path / f"b{s}"), "--points", "8")
        for s in (".pt", "")
    ]
    for array in ("coordinate_1", "loss", "quadratic"):
        np.testing.assert_allclose(studies[0].array(array), studies[1].array(array), rtol=1e-9)
    rows = [study.tables["slice"][0] for study in studies]
    for column in ("norm", "slope", "curvature", "barrier", "other_loss", "slope_at_other", "curvature_at_other"):
        assert getattr(rows[0], column) == pytest.approx(getattr(rows[1], column), rel=1e-9), column
    assert rows[1].other_loss == pytest.approx(
        studies[1].array("loss")[studies[1].array("coordinate_1") == 1][0], rel=1e-12
    )


def test_the_ends_of_a_line_are_the_models_and_the_barrier_is_the_rise_above_the_chord(
    nets: Any, compute: Compute
) -> None:
    """By hand, from the eager losses of both networks."""
    (first, path), (second, other) = nets["0"], nets["1"]
    study = sliced(compute, path, CROSS, "--towards", str(other), "--points", "16")
    start, end = (flat_of(one, ALL) for one in (first, second))
    loss, steps = loss_of(first, ALL), study.array("coordinate_1")
    expected = np.array([float(loss(start + t * (end - start))) for t in steps])
    np.testing.assert_allclose(study.array("loss"), expected, rtol=1e-9)
    assert len(steps) == 16
    assert {0.0, 1.0} <= set(steps.tolist())
    (row,) = study.tables["slice"]
    own = float(loss_of(second, ALL)(end))
    assert expected[steps == 1][0] == pytest.approx(own, rel=1e-12)
    assert row.other_loss == pytest.approx(own, rel=1e-9)
    assert not study.reason
    inside = (steps >= 0) & (steps <= 1)
    chord = expected[steps == 0] + steps[inside] * (own - expected[steps == 0])
    assert row.barrier == pytest.approx((expected[inside] - chord).max(), rel=1e-9)
    assert row.barrier_at == steps[inside][(expected[inside] - chord).argmax()]
    assert row.norm == pytest.approx(float((end - start).norm()), rel=1e-12)
    line = (end - start).numpy()
    gradient = torch.autograd.functional.jacobian(loss, end).numpy()
    hessian = torch.autograd.functional.hessian(loss, end).numpy()
    assert row.slope_at_other == pytest.approx(line @ gradient, rel=1e-9)
    assert row.curvature_at_other == pytest.approx(line @ hessian @ line, rel=1e-9)


def test_some_layers_alone_go_towards_another_model(nets: Any, compute: Compute) -> None:
    """No point of that line is the other model, and so nothing is said of its own loss."""
    (first, path), (second, other) = nets["0"], nets["1"]
    study = sliced(compute, path, CROSS, "--towards", str(other), "--points", "5", "--layer", "three")
    names = ["three.weight", "three.bias"]
    loss, start, end = loss_of(first, names), flat_of(first, names), flat_of(second, names)
    expected = [float(loss(start + t * (end - start))) for t in study.array("coordinate_1")]
    np.testing.assert_allclose(study.array("loss"), expected, rtol=1e-9)
    assert np.isnan(study.tables["slice"][0].other_loss)


def test_statistics_that_are_no_parameters_stay_and_are_told(tmp_path: Path, compute: Compute) -> None:
    """A batch norm's: the end of the line is then not the other model."""
    paths = []
    for i in range(2):
        module = Net(i, norm=True)
        module.norm.running_mean += float(i)
        paths.append(scripted(module, tmp_path / f"{i}.pt"))
    plane = sliced(compute, paths[0], CROSS, "--towards", str(paths[1]), "--points", "3", "--along", "gradient")
    study = sliced(compute, paths[0], CROSS, "--towards", str(paths[1]), "--points", "3")
    assert plane.reason == study.reason
    assert "running statistics of batch norms" in study.reason
    (row,) = study.tables["slice"]
    assert abs(row.other_loss - study.array("loss")[-1]) > 1e-3


def test_a_loss_that_is_no_number_on_the_way_is_counted(tmp_path: Path, compute: Compute) -> None:
    """The run ends well, and the figures are those of the other points."""

    class Log(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0]))

        def forward(self, x: Tensor) -> Tensor:
            return torch.log(self.w) * x

    study = sliced(
        compute,
        scripted(Log(), tmp_path / "m.pt"),
        MSE,
        "--along",
        "gradient",
        "--points",
        "5",
        "--reach",
        "2",
        target=X,
    )
    (row,) = study.tables["slice"]
    loss = study.array("loss")
    lost = ~np.isfinite(loss)
    assert (study.status, row.lost) == ("done", int(lost.sum()))
    assert 0 < row.lost < 5
    assert f"at {row.lost} of 5 points" in study.reason
    assert row.lowest_loss == np.nanmin(loss)
    assert row.highest_loss == np.nanmax(loss)


def test_tied_weights_move_together(tmp_path: Path, compute: Compute) -> None:
    """One parameter, used twice."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.tanh(self.one(x)))

    module = Tied()
    files = [scripted(module, tmp_path / "m.pt"), exported(module, (torch.from_numpy(X).float(),), tmp_path / "m.pt2")]
    loss, at = loss_of(module, ["one.weight"]), flat_of(module, ["one.weight"])
    direction = torch.autograd.functional.jacobian(loss, at)
    direction /= direction.norm()
    for path in files:
        study = sliced(compute, path, CROSS, "--along", "gradient", "--points", "3")
        expected = [float(loss(at + t * direction)) for t in study.array("coordinate_1")]
        np.testing.assert_allclose(study.array("loss"), expected, rtol=1e-9)


def test_an_interrupted_slice_ends_in_the_same_bytes(
    nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two points, it goes on with the next one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    np.savez(tmp_path / "d.npz", x=X, y=LABELS)
    (tmp_path / "s.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.x]\ncolumn = "x"\n[target]\ncolumn = "y"\n'
        f"[loss]\n{CROSS}\n[sampling]\nbatch_size = 16\n"
    )
    words = ["slice", str(nets["0"][1]), "--data", str(tmp_path / "s.toml"), "--along", "top", "--along", "random"]
    words += ["--points", "4", "-q"]
    assert run([*words, "-o", str(tmp_path / "a.h5")]) == 0
    calls = 0
    call = LossAtTask.__call__

    def stopped(self: LossAtTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 20:
            signal.raise_signal(signal.SIGINT)
        return call(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LossAtTask, "__call__", stopped)
        assert run([*words, "-o", str(tmp_path / "b.h5")]) == 130
        assert run([*words, "-o", str(tmp_path / "b.h5")]) == 0
    assert calls == 16 * 3  # no point is computed twice
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_model_in_memory_is_an_end_of_a_line_and_stays_as_it_was(nets: Any) -> None:
    """Both are as they were before."""
    modules = [Net(i, norm=True) for i in range(2)]
    before = [{name: p.clone() for name, p in module.state_dict().items()} for module in modules]
    x, y = torch.from_numpy(X).float(), torch.from_numpy(LABELS)
    study = curvcli.slice(modules[0], towards=modules[1], data=(x, y), loss="cross_entropy", points=5, dtype="float64")
    losses = [float(F.cross_entropy(module.double().eval()(x.double()), y)) for module in modules]
    steps = study.array("coordinate_1")
    for end in (0, 1):
        assert study.array("loss")[steps == end][0] == pytest.approx(losses[end], rel=1e-9)
    for module, kept in zip(modules, before, strict=True):
        assert all(torch.equal(kept[name].double(), p.double()) for name, p in module.state_dict().items())
    with pytest.raises(curvcli.UsageError, match="towards: must be the path of another saved model, or one in memory"):
        curvcli.slice(nets["0"][1], towards=3)


def test_layers_of_other_names_are_matched_by_their_order_where_all_of_them_move(
    tmp_path: Path, compute: Compute, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Keras numbers them anew; the loss at the end says that the match is right, and one layer alone has none."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(5)
            self.first, self.second, self.third = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.second.requires_grad_(requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.third(torch.tanh(self.second(torch.tanh(self.first(x)))))

    paths = [scripted(module, tmp_path / f"{i}.pt") for i, module in enumerate((Net(0), Other()))]
    study = sliced(compute, paths[0], CROSS, "--towards", str(paths[1]), "--points", "3")
    assert study.reason == "parameters are matched by their order: one.weight is first.weight there"
    (row,) = study.tables["slice"]
    assert row.other_loss == pytest.approx(study.array("loss")[-1], rel=1e-12)
    options = ("--towards", str(paths[1]), "--layer", "one")
    assert compute("slice", paths[0], {"x": X}, LABELS, CROSS, *options)[0] == 2
    assert "it has no one.weight and one.bias" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--along", "tpo"], "--along tpo: must be top"),
        (["--along", "towards"], "--along towards: must be top"),
        (["--along", "top", "--along", "top:1"], "one direction or two different ones"),
        (["--along", "top:99"], "--along top:99: (whole model) has 51 parameters"),
        (["--towards", "{other}", "--reach", "1e9"], "--reach 1e+09: 41 points are too few"),
        (["--towards", "{nan}"], "one.weight holds entries that are no finite numbers"),
        (["--towards", "{wide}"], "one.weight has shape (5, 3) there, and (4, 3) here"),
        (["--towards", "{deep}"], "it has no two.weight and two.bias"),
        (["--towards", "{text}"], "{text}: "),
        (["--towards", "{saved}"], "is a SavedModel directory, and"),
        (["--towards", "nowhere.pt"], "nowhere.pt: no such file or directory"),
    ],
)
def test_what_is_no_other_end_is_refused(  # noqa: PLR0917
    options: list[str],
    message: str,
    nets: Any,
    tmp_path: Path,
    compute: Compute,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In a line or two, before anything is computed."""
    paths = {name: tmp_path / name for name in ("nan", "wide", "deep", "text", "saved")}
    broken, wide, deep = Net(0), Net(0), Net(0)
    broken.one.weight.data[0, 0] = torch.nan
    wide.one, wide.two = nn.Linear(3, 5), nn.Linear(5, 4)
    deep.two = nn.Tanh()
    for name, module in {"nan": broken, "wide": wide, "deep": deep}.items():
        scripted(module, paths[name])
    paths["text"].write_text("not a model")
    paths["saved"].mkdir()
    (paths["saved"] / "saved_model.pb").write_bytes(b"")
    names = {**paths, "other": nets["1"][1]}
    options = [option.format(**names) for option in options]
    code, path = compute("slice", nets["0"][1], {"x": X}, LABELS, CROSS, *options)
    said = capfd.readouterr().err
    assert code in {2, 3}
    assert message.format(**names) in said
    assert len(said.strip().splitlines()) <= 2
    assert not path.exists()
