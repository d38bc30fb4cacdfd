"""How far float32 is off is measured in the run, and said: where it spoils results, nothing is called exact."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord

from .batchwise import scripted
from .conftest import SAMPLES, Outcome
from .torch_networks import Attention, Convolutions, Recurrent, Smooth

Compute = Callable[..., tuple[int, Path]]
Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(15)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
WHOLE = "(whole model)"
WAYS = {
    "eigs": (EigenRecord, ("-k", "4", "--which", "both")),
    "density": (DensityRecord, ()),
    "hessian": (BlockRecord, ()),
}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Inputs that are the same in both dtypes."""
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return drawn.astype(np.float32).astype(np.float64)


class Sine(nn.Module):
    """An activation through which errors grow as gradients do."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class Deep(nn.Module):
    """Many batch norms with small running variances: every one of them magnifies what the one before rounded."""

    def __init__(self, depth: int, least: float, most: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(depth):
            norm = nn.BatchNorm1d(4)
            norm.running_mean.normal_()  # type: ignore[union-attr, operator]
            norm.running_var.uniform_(least, most)  # type: ignore[union-attr, operator]
            layers += [nn.Linear(4, 4, bias=False), norm, Sine()]
        self.body, self.last = nn.Sequential(*layers), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))


def both(
    diag: Diag, path: Path, x: np.ndarray, y: np.ndarray, *options: str
) -> tuple[Outcome, list[tuple[str, float, float, float, str, str]]]:
    """The float32 run, and per parameter: largest entry, true error, stated rounding, status and reason."""
    exact = diag(path, {"x": x}, y, LOGITS, "--no-verify", *options)
    found = diag(path, {"x": x}, y, LOGITS, "--dtype", "float32", *options)
    report, rows = read_report(found.report), []
    for row in report.layers:
        for p in report.layer(row.name).parameters:
            key = f"{row.name}/{p.label}"
            error = float(np.abs(found.diagonal[key] - exact.diagonal[key]).max())
            rows.append((key, float(np.abs(exact.diagonal[key]).max()), error, p.rounding, p.status, p.reason))
    return found, rows


def test_deep_batch_norm_networks_are_imprecise_and_say_so(
    diag: Diag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Digits that are lost by the depth are told: errors within ten times the figure, and the way out beside it."""
    x, y = numbers(16, 4), RNG.integers(0, 3, 16)
    worst = 0.0
    for seed in range(3):
        torch.manual_seed(seed)
        path = scripted(Deep(24, 0.03, 0.1), tmp_path / f"{seed}.pt")
        found, rows = both(diag, path, x, y, "--layer", "body.0", "--layer", "last")
        said = capfd.readouterr().err
        for key, largest, error, rounding, status, reason in rows:
            assert error <= 10 * rounding, (seed, key, error / largest, rounding / largest)
            assert (status == "imprecise") == ("--dtype float64" in reason)
            if error > 1e-2 * largest:
                assert status == "imprecise"
                worst = max(worst, error / largest)
        if any(row[4] == "imprecise" for row in rows):
            assert found.code == 4
            assert run(["assert", str(found.report), "--exact", "-q"]) in (1, 4)
            assert "--dtype float64" in said or "--dtype float64" in " ".join(row[5] for row in rows)
    assert worst > 1e-2  # the networks are as bad as this test needs them


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = {
    "smooth": (Smooth, (5,)),
    "convolutions": (Convolutions, (2, 8, 8)),
    "recurrent": (Recurrent, (5, 3)),
    "attention": (Attention, None),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_are_exact_in_float32(name: str, diag: Diag, tmp_path: Path) -> None:
    """Nothing is made of rounding where there is little: done, exact, a figure below 1e-4 that covers the error."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    x = RNG.integers(0, 7, (SAMPLES, 5)) if shape is None else numbers(SAMPLES, *shape)
    found, rows = both(diag, scripted(build(), tmp_path / "m.pt"), x, RNG.integers(0, 3, SAMPLES))
    assert found.code == 0
    assert run(["assert", str(found.report), "--exact", "--finite", "--converged", "-q"]) == 0
    scale = max(largest for _, largest, *_ in rows)
    for key, largest, error, rounding, status, _ in rows:
        assert status == "done", key
        assert rounding <= 1e-4 * scale, key
        assert error <= max(10 * rounding, 1e-5 * largest), (key, error, rounding)


def test_float64_needs_no_measure(diag: Diag, tmp_path: Path) -> None:
    """There it is a bound by the unit roundoff."""
    torch.manual_seed(0)
    path = scripted(Smooth(), tmp_path / "m.pt")
    result = diag(path, {"x": numbers(SAMPLES, 5)}, RNG.integers(0, 3, SAMPLES), LOGITS)
    report = read_report(result.report)
    for row in report.layers:
        for p in report.layer(row.name).parameters:
            assert p.diagonal is not None
            assert 0 < p.rounding <= 1e-13 * np.abs(p.diagonal).max()


class Sure(nn.Module):
    """So sure of its answers that 1 − p would be all rounding in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, width), nn.Linear(width, 3)
        with torch.no_grad():
            self.one.weight.mul_(20)
            self.two.weight.mul_(40 * (8 / width) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)))


def sure(folder: Path, width: int) -> tuple[Path, np.ndarray, np.ndarray]:
    """The model, and samples that it is right about by 17 or more: all that is left of them is 1 − p."""
    torch.manual_seed(3)
    module, x = Sure(width), numbers(400, 4)
    z = copy.deepcopy(module).double()(torch.from_numpy(x)).detach().numpy()
    ordered = np.sort(z, 1)
    gap = ordered[:, 2] - ordered[:, 1]
    chosen = np.flatnonzero((gap > 17) & (gap < 25))[:12]
    assert len(chosen) == 12
    return scripted(module.float(), folder / "m.pt"), x[chosen], z[chosen].argmax(1)


def values_of(record: object) -> np.ndarray:
    """What a record says of eigenvalues."""
    if isinstance(record, EigenRecord):
        return record.values
    if isinstance(record, DensityRecord):
        return np.array(record.support)
    assert isinstance(record, BlockRecord)
    assert record.eigenvalues is not None
    return record.eigenvalues


@pytest.mark.parametrize("command", WAYS)
def test_eigenvalues_of_a_deep_batch_norm_network(command: str, compute: Compute, tmp_path: Path) -> None:
    """Where float32 has lost its digits no spectrum is exact, and what has not converged says so; float64 is named."""
    torch.manual_seed(0)
    path, x, y = scripted(Deep(24, 0.03, 0.1), tmp_path / "m.pt"), numbers(16, 4), RNG.integers(0, 3, 16)
    kind, options = WAYS[command]
    words = (path, {"x": x}, y, LOGITS, "--layer", "body.0", *options)
    _, report64 = compute(command, *words)
    code, report = compute(command, *words, "--dtype", "float32")
    exact, found = (read_report(one).record("body.0", kind) for one in (report64, report))  # type: ignore[call-overload]
    error = np.abs(values_of(found)[[0, -1]] - values_of(exact)[[0, -1]]).max()
    assert error > 1e-3 * np.abs(values_of(exact)).max()  # it is as bad as this test needs it
    assert code == 4
    if isinstance(found, EigenRecord):
        truth = np.sort(values_of(exact))
        for value, residual, converged in zip(found.values, found.residuals, found.converged, strict=True):
            assert residual >= 0.1 * np.abs(truth - value).min()
            assert not converged or np.abs(truth - value).min() <= 1e-3 * np.abs(truth).max()
        assert not found.converged.all()
    else:
        assert not found.exact
        assert found.rounding >= 0.1 * error
    assert "--dtype float64" in " ".join(found.reason.split())
    assert run(["assert", str(report), "--converged" if command == "eigs" else "--exact", "-q"]) in (1, 4)


@pytest.mark.parametrize("command", ["diag", "eigs", "trace"])
def test_logits_keep_their_digits_in_float32(command: str, compute: Compute, tmp_path: Path) -> None:
    """However sure a network is: nothing is a difference of nearly equal numbers on the way from logits."""
    path, x, y = sure(tmp_path, 8)
    reports = []
    for dtype in ("float64", "float32"):
        code, report = compute(command, path, {"x": x}, y, LOGITS, "--dtype", dtype)
        assert code == 0
        reports.append(read_report(report))
    for exact, found in zip(reports[0].layers, reports[1].layers, strict=True):
        for name in ("trace", "top_eigenvalue", "diagonal_max"):
            assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=2e-4, nan_ok=True)


def test_the_trace_of_a_saturated_network(compute: Compute, tmp_path: Path) -> None:
    """The same of a trace: its error is within ten times its figure, and it is exact only if that is small."""
    path, x, y = sure(tmp_path, 8)
    words = ("trace", path, {"x": x}, y, LOGITS, "--whole-model")
    _, report64 = compute(*words)
    code, report = compute(*words, "--dtype", "float32")
    exact, found = (read_report(one).record(WHOLE, TraceRecord) for one in (report64, report))
    assert exact is not None
    assert found is not None
    error = abs(found.value - exact.value)
    assert error <= 10 * found.rounding
    if error > 1e-2 * abs(exact.value):
        assert code == 4
        assert not found.exact
        assert "--dtype float64" in found.reason


def random_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    width, depth = int(rng.integers(3, 7)), int(rng.integers(1, 4))
    bends = (nn.Tanh(), nn.GELU(), nn.Sigmoid(), Sine(), nn.SiLU())
    layers: list[nn.Module] = [nn.Linear(4, width)]
    for _ in range(depth):
        layers += [bends[int(rng.integers(len(bends)))], nn.Linear(width, width)]
    network = nn.Sequential(*layers, nn.Tanh(), nn.Linear(width, 3))
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(float(2 ** rng.uniform(-1, 3)))
    return network


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 30))])
def test_residuals_cover_rounding(seed: int, compute: Compute, tmp_path: Path) -> None:
    """In float32 some eigenvalue of the float64 matrix is within every residual, sure networks and unsure alike."""
    path = scripted(random_network(seed), tmp_path / "m.pt")
    x, y = numbers(SAMPLES, 4, seed=seed), np.random.default_rng(seed).integers(0, 3, SAMPLES)
    words = (path, {"input": x}, y, LOGITS, "--whole-model")
    _, report64 = compute("hessian", *words)
    block = read_report(report64).record(WHOLE, BlockRecord)
    assert block is not None
    assert block.eigenvalues is not None
    for method in ("auto", "lanczos"):
        options = ("--dtype", "float32", "-k", "3", "--which", "both", "--method", method)
        code, report = compute("eigs", *words, *options)
        found = read_report(report).record(WHOLE, EigenRecord)
        assert code in (0, 4)
        assert found is not None
        errors = np.abs(block.eigenvalues[:, None] - found.values[None, :]).min(0)
        assert (errors <= found.residuals).all(), (method, errors / found.residuals)
        assert (errors[found.converged] <= 1e-2 * np.abs(block.eigenvalues).max()).all()
