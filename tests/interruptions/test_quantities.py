"""An interrupted run of several quantities shows each that is finished, and resumes without computing it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from curvcli.analysis.job import Job
from curvcli.cli.main import run
from curvcli.curvature.eigen import IterativeEigenpairs
from curvcli.report.hdf5.read import read_report

pytestmark = pytest.mark.filterwarnings("ignore")
SPEC = """version = 1
[source]
format = "npz"
path = "data.npz"
[inputs.x]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
[sampling]
batch_size = 16
"""
CONFIG = """model = "model.pt"
output = "r.h5"
[diag]
[trace]
[eigs]
k = 2
method = "lanczos"
"""


class Net(nn.Module):
    """Two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.tanh(self.one(x)))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, its spec beside it, data, and a config for ``run``; reports made there are equal files."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((37, 4)), y=rng.integers(0, 3, 37))
    (tmp_path / "model.pt.toml").write_text(SPEC)
    torch.jit.save(torch.jit.script(Net()), tmp_path / "model.pt")
    (tmp_path / "c.toml").write_text(CONFIG)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    return tmp_path


@pytest.fixture
def interrupted(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Interrupted when the eigenvalues' turn comes."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(IterativeEigenpairs, "steps", stopped)
        assert run(["run", str(work / "c.toml")]) == 130
    return work


def test_each_finished_quantity_is_in_the_partial_report(interrupted: Path) -> None:
    """Diagonals and traces are there, eigenvalues are not, and no layer is called done."""
    report = read_report(interrupted / "r.h5")
    assert report.status == "partial"
    assert [(row.name, row.status) for row in report.layers] == [("one", "incomplete"), ("two", "incomplete")]
    for row in report.layers:
        record = report.layer(row.name)
        assert all(p.diagonal is not None and p.gradient is not None for p in record.parameters)
        assert record.trace is not None
        assert record.eigen is None


def test_the_partial_report_can_be_shown_and_judged(interrupted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The status is told, and ``assert`` does not pass a partial report as whole."""
    capfd.readouterr()
    assert run(["show", str(interrupted / "r.h5")]) == 0
    assert "incomplete" in capfd.readouterr().out
    assert run(["assert", str(interrupted / "r.h5"), "--converged"]) != 0


def test_running_again_ends_in_the_same_bytes(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is finished is not computed again."""
    computed: list[str] = []
    run_work = Job._run

    def noted(self: Job, parts: object, work: object, *rest: object) -> float:
        computed.append(work.key)  # type: ignore[attr-defined]
        return run_work(self, parts, work, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Job, "_run", noted)
        assert run(["run", str(interrupted / "c.toml")]) == 0
    assert not [key for key in computed if key.startswith(("verify", "output_hessian", "gauss_newton", "trace"))]
    resumed = (interrupted / "r.h5").read_bytes()
    assert not (interrupted / "r.h5.parts").exists()
    (interrupted / "r.h5").unlink()
    assert run(["run", str(interrupted / "c.toml")]) == 0
    assert (interrupted / "r.h5").read_bytes() == resumed
