"""The last guard of a diagonal: products made for it alone, held against what is reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.diagonal.exact import ExactDiagonal
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.diagonal.smooth_units import SmoothUnits
from curvcli.models.base import Site
from curvcli.models.torch.objective import TorchObjective
from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.records.layers import ParameterRecord
from curvcli.report.records.quantities import TraceRecord

from .batchwise import scripted
from .conftest import SAMPLES, Outcome
from .torch_networks import Attention, Convolutions, Dead, Recurrent

Compute = Callable[..., tuple[int, Path]]
Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(14)
X, LABELS = RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
LIMIT = {"float64": 1e-12, "float32": 1e-4}
DTYPES = ["float64", "float32"]


class Net(nn.Module):
    """A bent layer, a piecewise linear one, and one that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last, self.unused = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.two(torch.tanh(self.one(x)))))


def model(folder: Path) -> Path:
    torch.manual_seed(0)
    return scripted(Net(), folder / "m.pt")


def parameters(report: Report) -> dict[str, ParameterRecord]:
    return {p.name: p for row in report.layers for p in report.layer(row.name).parameters}


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...] | None]] = {
    "plain": (Net, (4,)),
    "convolutions": (Convolutions, (2, 8, 8)),
    "attention": (Attention, None),
    "dead": (Dead, (4,)),
    "recurrent": (Recurrent, (5, 3)),
}


@pytest.mark.parametrize(("name", "dtype"), covering(NETWORKS, DTYPES))
def test_every_parameter_is_checked(name: str, dtype: str, diag: Diag, tmp_path: Path) -> None:
    """Each record says by what it was checked and how far product and entry are apart: by rounding alone."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    rng = np.random.default_rng(3)
    x = rng.integers(0, 7, (SAMPLES, 5)) if shape is None else rng.standard_normal((SAMPLES, *shape))
    result = diag(scripted(build(), tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS, "--dtype", dtype)
    assert result.code == 0
    for key, record in parameters(read_report(result.report)).items():
        assert record.verification, key
        assert record.diagonal is not None
        largest = float(np.abs(record.diagonal).max())
        assert 0 <= record.verified <= LIMIT[dtype] * largest, (key, record.method, record.verified, largest)


def test_the_guard_can_be_switched_off(diag: Diag, tmp_path: Path) -> None:
    """--no-verify leaves its figures out, says so by NaN and an empty word, and changes no result."""
    path = model(tmp_path)
    checked, bare = (diag(path, {"x": X}, LABELS, LOGITS, *words) for words in ((), ("--no-verify",)))
    assert bare.code == 0
    for key, record in parameters(read_report(bare.report)).items():
        assert math.isnan(record.verified)
        assert math.isnan(record.rounding)
        assert record.verification == ""
        assert record.exact
        np.testing.assert_array_equal(record.diagonal, parameters(read_report(checked.report))[key].diagonal)


def scaled(bare: Callable[..., Steps[ExactDiagonal]], factor: float) -> Callable[..., Steps[ExactDiagonal]]:
    """All sums come out so many times as large."""

    def steps(self: Any, about: About, kept: Any) -> Steps[ExactDiagonal]:
        found = yield from bare(self, about, kept)
        values, traces = ({n: factor * v for n, v in each.items()} for each in (found.values, found.traces))
        return ExactDiagonal(values, traces)

    return steps


BROKEN: dict[str, tuple[type, float, set[str]]] = {
    "columns twice": (GaussNewton, 2.0, {"two", "last"}),
    "no columns": (GaussNewton, 0.0, {"two", "last"}),
    "smooth units twice": (SmoothUnits, 2.0, {"one"}),
    "no smooth units": (SmoothUnits, 0.0, {"one"}),
}


@pytest.mark.parametrize(("name", "dtype"), covering(BROKEN, DTYPES))
def test_a_broken_method_is_found(  # noqa: PLR0917
    name: str,
    dtype: str,
    diag: Diag,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Were a method wrong, its parameters are unverified and not exact, exit 4, with what to do; the rest stays."""
    method, factor, layers = BROKEN[name]
    monkeypatch.setattr(method, "steps", scaled(method.steps, factor))  # type: ignore[attr-defined]
    result = diag(model(tmp_path), {"x": X}, LABELS, LOGITS, "--dtype", dtype)
    assert result.code == 4
    assert "unverified" in capfd.readouterr().out
    report = read_report(result.report)
    for row in report.layers:
        broken = row.name in layers
        assert row.status == ("unverified" if broken else "done")
        assert row.exact == (not broken)
        for record in report.layer(row.name).parameters:
            assert record.status == ("unverified" if broken else "done")
            if broken:
                assert not record.exact
                assert "--method coordinate" in record.reason
                assert ("--dtype float64" in record.reason) == (dtype == "float32")
                assert record.verified > 0.01 * np.abs(record.diagonal).max() or name.startswith("no")


@pytest.mark.parametrize(("lost", "dtype"), covering(["one.weight", "two.bias", "last.weight"], DTYPES))
def test_a_parameter_that_is_called_unreached_and_is_not(
    lost: str, dtype: str, diag: Diag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros for what the loss does depend on are found by one product with random signs."""
    bare = TorchObjective._read_sites

    def blind(self: TorchObjective, names: Any) -> dict[str, Site]:
        found = dict(bare(self, names))
        return {n: replace(s, reached=False, z=None) if n == lost else s for n, s in found.items()}

    monkeypatch.setattr(TorchObjective, "_read_sites", blind)
    result = diag(model(tmp_path), {"x": X}, LABELS, LOGITS, "--dtype", dtype)
    assert result.code == 4
    for name, record in parameters(read_report(result.report)).items():
        assert record.status == ("unverified" if name == lost else "done")
        assert record.exact == (name != lost)
        if name == lost:
            assert not record.diagonal.any()  # type: ignore[union-attr]
            assert record.verified > 1e-4
            assert "--method coordinate" in record.reason


@pytest.mark.parametrize(("name", "dtype"), covering(BROKEN, DTYPES))
def test_a_broken_exact_trace_is_found(
    name: str, dtype: str, compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace that is the sum of such a diagonal is neither exact nor done: exit 4, and another method is named.

    One diagonal of each piece of work is checked, so one of the layers that share it may be all that is marked.
    """
    method, factor, layers = BROKEN[name]
    monkeypatch.setattr(method, "steps", scaled(method.steps, factor))  # type: ignore[attr-defined]
    code, path = compute("trace", model(tmp_path), {"x": X}, LABELS, LOGITS, "--dtype", dtype)
    assert code == 4
    report = read_report(path)
    marked = {row.name for row in report.layers if row.status == "unverified"}
    assert marked
    assert marked <= layers
    for row in report.layers:
        trace = report.record(row.name, TraceRecord)
        assert trace is not None
        assert trace.exact == (row.name not in marked)
        assert ("--method xtrace" in trace.reason) == (row.name in marked)


def test_estimates_are_not_held_to_the_last_digit(diag: Diag, tmp_path: Path) -> None:
    """An estimate differs from a product by its error: the figure is there, and no reproach."""
    result = diag(model(tmp_path), {"x": X}, LABELS, LOGITS, "--method", "hutchinson", "--probes", "16")
    assert result.code == 0
    for record in parameters(read_report(result.report)).values():
        if record.method == "hutchinson":
            assert record.verified > 0
            assert not record.exact
            assert record.status == "done"


@pytest.mark.parametrize("command", ["diag", "trace"])
def test_the_guards_cost_is_counted(command: str, compute: Compute, tmp_path: Path) -> None:
    """Provenance has the passes that were spent on checks: at least one for each parameter of a diagonal, or none."""
    path = model(tmp_path)
    checked, bare = (compute(command, path, {"x": X}, LABELS, LOGITS, *words)[1] for words in ((), ("--no-verify",)))
    batches = 3
    assert read_report(checked).provenance.verification_passes >= (6 if command == "diag" else 1) * batches
    assert read_report(bare).provenance.verification_passes == 0


@pytest.mark.parametrize("name", ["columns twice", "no columns"])
def test_all_traces_of_a_broken_piece_of_work_are_marked(
    name: str, compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found of one layer holds for all that the same work made: none of them is called exact."""
    method, factor, layers = BROKEN[name]
    monkeypatch.setattr(method, "steps", scaled(method.steps, factor))  # type: ignore[attr-defined]
    _, path = compute("trace", model(tmp_path), {"x": X}, LABELS, LOGITS)
    assert {row.name for row in read_report(path).layers if row.status == "unverified"} == layers
