"""Each sample's largest columns exactly, random signs for the rest: unbiased, honest errors, exact in the limit."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from covering import slow
from sessions import session_of
from torch import nn

from curvcli.cli.main import run
from curvcli.curvature.diagonal.estimate import DiagonalEstimate
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.diagonal.leading_columns import LeadingColumns, chosen
from curvcli.curvature.kept import KeptObjective
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.models.base import Parameter
from curvcli.report.hdf5.read import read_report

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
CLASSES, SAMPLES = 12, 21
LOSSES = {"cross_entropy": "from_logits = true", "mse": ""}


class Subject:
    """A small network with its Gauss–Newton diagonal."""

    def __init__(self, loss: str, folder: Path) -> None:
        torch.manual_seed(1)
        rng = np.random.default_rng(1)
        network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, CLASSES)).eval()
        with torch.no_grad():
            network[2].weight.mul_(4)  # sure of some samples
        y = rng.integers(0, CLASSES, SAMPLES)
        target = y if loss == "cross_entropy" else rng.standard_normal((SAMPLES, CLASSES))
        np.savez(folder / "d.npz", x=rng.standard_normal((SAMPLES, 4)), y=target)
        self.path = folder / "m.pt"
        torch.jit.save(torch.jit.script(network), self.path)
        lines = ["version = 1", "[source]", 'format = "npz"', 'path = "d.npz"', "[inputs.input]", 'column = "x"']
        lines += [
            "[target]",
            'column = "y"',
            "[loss]",
            f'name = "{loss}"',
            LOSSES[loss],
            "[sampling]",
            "batch_size = 8",
        ]
        (folder / "m.pt.toml").write_text("\n".join(lines))
        self.session = session_of(self.path)
        self.parameters: tuple[Parameter, ...] = tuple(p for one in self.session.model.layers for p in one.parameters)
        self.names = tuple(p.name for p in self.parameters)
        self.objective = KeptObjective(self.session.objective, self.names, 1 << 40)
        self.truth = computed(GaussNewton(self.names, CLASSES), SerialEngine(self.objective)).values

    def estimate(self, passes: int, seed: int = 0, rtol: float | None = None) -> dict[str, DiagonalEstimate]:
        return computed(LeadingColumns(self.parameters, passes, rtol, seed, CLASSES), SerialEngine(self.objective))


@pytest.mark.parametrize("loss", ["cross_entropy", *slow(["mse"])])
@pytest.mark.parametrize("passes", [11, 8])
def test_entries_lie_within_two_standard_errors_in_90_to_99_percent(loss: str, passes: int, tmp_path: Path) -> None:
    """Over 80 seeds, with slots and without; and no bias."""
    subject = Subject(loss, tmp_path)
    channels: list[bool] = []
    layers: dict[tuple[int, str], list[float]] = {}
    inside, sums = [], {name: np.zeros(value.shape) for name, value in subject.truth.items()}
    squares = {name: np.zeros(value.shape) for name, value in subject.truth.items()}
    for seed in range(80):
        for name, one in subject.estimate(passes, seed).items():
            off = one.value - subject.truth[name]
            if one.channels is not None and one.channel_stderr is not None:
                axes = tuple(axis for axis in range(off.ndim) if axis != one.channels)
                channels += list((np.abs(off.sum(axis=axes)) <= 2 * one.channel_stderr)[one.channel_stderr > 1e-13])
            layers.setdefault((seed, name.split(".")[0]), [0.0, one.layer_stderr])[0] += off.sum()
            live = one.stderr > 1e-12 * subject.truth[name].max()
            inside += list((np.abs(off) <= 2 * one.stderr)[live])
            sums[name] += off
            squares[name] += off**2
    assert 0.90 <= np.mean(inside) <= 0.99
    assert 0.90 <= np.mean(channels) <= 0.99
    assert 0.90 <= np.mean([abs(off) <= 2 * error for off, error in layers.values()]) <= 0.995
    for name, off in sums.items():
        spread = np.sqrt(squares[name] / 80 / 80)
        assert (np.abs(off / 80) <= 5 * spread + 1e-12).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_with_all_columns_it_is_exact(loss: str, tmp_path: Path) -> None:
    """Slots for every column leave nothing to draw."""
    subject = Subject(loss, tmp_path)
    for name, one in subject.estimate(CLASSES).items():
        assert one.products == CLASSES + 2
        assert not one.stderr.any()
        np.testing.assert_allclose(one.value, subject.truth[name], rtol=1e-10, atol=1e-14)


def test_it_stops_at_the_tolerance_or_says_so(tmp_path: Path) -> None:
    subject = Subject("cross_entropy", tmp_path)
    assert {one.converged for one in subject.estimate(400, rtol=0.3).values()} == {True}
    assert {one.converged for one in subject.estimate(8, rtol=1e-6).values()} == {False}


def test_combined_columns_are_the_columns_combined(tmp_path: Path) -> None:
    """The closed forms of cross-entropy against the columns themselves, of a network that is all but sure."""
    for loss in LOSSES:
        state = next(iter(Subject(loss, tmp_path).objective.batches(("0.weight",)))).output
        values = state.values * (30 if loss == "cross_entropy" else 1)
        columns = state.loss.columns(values, state.targets, 0, CLASSES).vectors
        factors = np.random.default_rng(0).standard_normal((3, len(values), CLASSES))
        combined = state.loss.combined_columns(values, state.targets, factors)
        np.testing.assert_allclose(combined, np.einsum("knc,cnj->knj", factors, columns), rtol=1e-9, atol=1e-280)
        norms = state.loss.column_norms(values, state.targets)
        np.testing.assert_allclose(norms, (columns**2).sum(axis=2).T, rtol=1e-9, atol=1e-300)


class StopError(Exception):
    """Stands for a signal."""


@pytest.mark.parametrize("steps", [2, 5, 8])
def test_stopped_anywhere_it_ends_in_the_same_bits(steps: int, tmp_path: Path) -> None:
    """Before the slots are chosen, among them, and between rounds."""
    subject = Subject("cross_entropy", tmp_path)
    method = LeadingColumns(subject.parameters, 11, 1e-9, 0, CLASSES)
    whole, seen = computed(method, SerialEngine(subject.objective)), list[int]()

    def stop(passes: int) -> None:
        seen.append(passes)
        if len(seen) == steps:
            raise StopError

    work = Work(method)
    with pytest.raises(StopError):
        work.run(SerialEngine(subject.objective), stop)
    resumed = Work(method)
    resumed.restore(work.state())
    resumed.run(SerialEngine(subject.objective))
    for name, one in whole.items():
        assert np.array_equal(resumed.result[name].value, one.value)
        assert np.array_equal(resumed.result[name].stderr, one.stderr)


def test_passes_go_where_they_lower_the_error_most() -> None:
    """Nothing but slots where they all fit; else as many as what they leave is worth."""
    quickly, flat = 0.01 ** np.arange(101.0), np.full(101, 1.0)
    quickly[-1] = flat[-1] = 0.0
    assert chosen(1.0, quickly, 100, None) == (100, 0)
    assert chosen(1.0, quickly, 40, None) == (24, 16)
    assert chosen(1.0, flat, 40, None)[0] == 0
    slots, random = chosen(1.0, quickly, 80, 1e-3)
    assert 3 <= slots <= 8
    assert random >= 16


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rtol", [None, 1e-300, 1e-30, 1e-3, 1e300])
def test_choices_at_the_ends_of_what_numbers_can_say(rtol: float | None) -> None:
    """No columns, nothing in them, numbers whose squares are none: always within the passes, all slots if they fit."""
    for left, whole in (
        (np.zeros(1), 0.0),
        (np.zeros(4), 0.0),
        (np.r_[3, 2, 1, 0.0], 1e-200),
        (np.r_[1, 1, 0.0], 1e200),
    ):
        slots, random = chosen(whole, left, 40, rtol)
        assert 0 <= slots <= len(left) - 1
        assert 0 <= slots + random <= 40
    tight = np.linspace(1.0, 0.0, 41)
    assert chosen(1.0, tight, 64, rtol)[0] == 40 or rtol == 1e300
    assert sum(chosen(1.0, tight, 32, rtol)) <= 32


def test_it_is_refused_where_it_is_not_the_matrix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the Hessian behind a smooth operation, and of the Fisher matrix."""
    monkeypatch.chdir(tmp_path)
    subject = Subject("cross_entropy", tmp_path)
    smooth = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, CLASSES)).eval()
    torch.jit.save(torch.jit.script(smooth), tmp_path / "s.pt")

    def words(name: str, *more: str) -> list[str]:
        spec = f"{subject.path}.toml"
        return ["diag", str(tmp_path / name), "--data", spec, "--method", "leading_columns", "-q", *more]

    assert run(words("s.pt")) == 2
    assert "Use --matrix gauss_newton" in capsys.readouterr().err
    assert run(words("s.pt", "--matrix", "gauss_newton", "-o", "s.h5")) == 0
    assert run(words("m.pt", "--matrix", "fisher")) == 2
    assert "--method leading_columns goes with --matrix hessian or gauss_newton" in capsys.readouterr().err


def test_sums_with_their_errors_are_in_report_tables_and_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Per layer as the error of the trace, per output channel in arrays of their own; compared with the exact ones."""
    subject = Subject("cross_entropy", tmp_path)
    exact, estimated = tmp_path / "exact.h5", tmp_path / "estimated.h5"
    model, narrow = str(subject.path), ["--dtype", "float64", "--no-verify", "-q"]
    assert run(["diag", model, "-o", str(exact), *narrow]) == 0
    options = ["--method", "leading_columns", "--probes", "11"]
    assert run(["diag", model, "-o", str(estimated), *options, *narrow]) == 0
    report, truth = read_report(estimated), read_report(exact)
    sums, errors, diagonal = (report.array("2", n, "weight") for n in ("channel_sums", "channel_stderr", "diagonal"))
    assert sums is not None
    assert errors is not None
    assert diagonal is not None
    np.testing.assert_allclose(sums, diagonal.sum(axis=1), rtol=1e-12)
    one = subject.estimate(11)["2.weight"]
    np.testing.assert_allclose(errors, one.channel_stderr, rtol=1e-9)
    row = report.summary("2")
    assert row.trace_stderr == pytest.approx(one.layer_stderr, rel=1e-9)
    assert report.layer("2").diagonal_sum_stderr == row.trace_stderr
    (parameter,) = (p for p in row.parameters if p.label == "weight")
    assert parameter.channel_relative_stderr == pytest.approx(np.linalg.norm(errors) / np.linalg.norm(sums))
    assert truth.array("2", "channel_sums", "weight") is None
    assert truth.summary("2").trace_stderr == 0
    with h5py.File(estimated) as file:
        dataset = file["layers/2/channel_sums/weight"]
        assert dataset.dims[0][0].name.rpartition("/")[2].startswith("out")
        assert dataset.attrs["units"]
    capsys.readouterr()
    assert run(["compare", str(exact), str(estimated)]) == 0
    assert run(["export", str(estimated), "-o", "-", "--table", "channels", "--layer", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(lines) if line == "layer,parameter,channel,sum,stderr")
    assert len(lines) == place + 1 + CLASSES
    assert run(["export", str(exact), "-o", "-", "--table", "channels"]) == 2
    assert "no sums per output channel" in capsys.readouterr().err
    assert run(["show", str(estimated), "--layer", "2"]) == 0
    assert "± rel, channels" in capsys.readouterr().out
