"""What a run may replace at its output path, and what an interrupted rerun leaves there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import curvcli
from curvcli.cli import compute
from curvcli.cli.main import run
from curvcli.curvature.diagonal.smooth_units import SmoothUnits
from curvcli.errors import ReportError
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.read import read_report

pytestmark = pytest.mark.filterwarnings("ignore")


def diag(work: Path, *more: str, model: str = "model.pt") -> int:
    return run(["diag", str(work / model), "-o", str(work / "r.h5"), "--dtype", "float64", *more])


@pytest.fixture
def finished(work: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    """A folder with the complete report of ``diag``."""
    assert diag(work) == 0
    capfd.readouterr()
    return work


@pytest.mark.parametrize(
    "case",
    [
        ("trace", "model.pt", None, "`curvcli diag`"),
        ("inputs", "model.pt", None, "`curvcli diag`"),
        ("check", "model.pt", None, "`curvcli diag`"),
        ("diag", "other.pt", None, "another model"),
        ("diag", "model.pt", "other.pt.toml", "another dataset spec"),
    ],
)
def test_another_runs_report_is_not_replaced(
    finished: Path,
    case: tuple[str, str, str | None, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Of another command, model or spec: exit code 2, said before the model is opened; the report is as it was."""
    command, model, data, what = case
    for name in ("model.pt", "model.pt.toml"):
        shutil.copy(finished / name, finished / name.replace("model", "other"))
    before = (finished / "r.h5").read_bytes()
    monkeypatch.setattr(compute, "open_session", None)  # nothing may be opened
    words = [command, str(finished / model), "-o", str(finished / "r.h5")]
    assert run([*words, *(["--data", str(finished / data)] if data else [])]) == 2
    said = capfd.readouterr().err
    assert what in said
    assert "--force" in said
    assert (finished / "r.h5").read_bytes() == before


def test_run_does_not_replace_another_commands_report(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A config for ``run`` takes ``force`` like the others."""
    config = finished / "c.toml"
    text = 'model = "model.pt"\noutput = "r.h5"\n[trace]\nprobes = 4\n'
    config.write_text(text)
    assert run(["run", str(config)]) == 2
    assert "--force" in capfd.readouterr().err
    assert run(["run", str(config), "--force"]) == 0
    assert read_report(finished / "r.h5").provenance.command_name == "run"
    assert run(["run", str(config)]) == 0


def test_force_replaces_it(finished: Path) -> None:
    """Any report, but nothing that is not one."""
    words = ["trace", str(finished / "model.pt"), "-o"]
    assert run([*words, str(finished / "r.h5"), "--force"]) == 0
    assert read_report(finished / "r.h5").provenance.command_name == "trace"
    assert run([*words, str(finished / "data.npz"), "--force"]) == 2
    assert (finished / "data.npz").exists()


def test_the_same_commands_report_is_replaced_freely(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """From another working directory, with other options, and after the model was trained further."""
    shutil.copy(finished / "model.pt", finished / "trained.pt")
    (finished / "trained.pt").replace(finished / "model.pt")
    monkeypatch.chdir(finished)
    assert run(["diag", "model.pt", "-o", "r.h5", "--layer", "one"]) == 0
    assert [row.name for row in read_report(finished / "r.h5").layers] == ["one"]


def test_the_api_asks_for_force(finished: Path) -> None:
    """``force=True`` in Python."""
    model, output = finished / "model.pt", finished / "r.h5"
    with pytest.raises(ReportError, match="`curvcli diag`"):
        curvcli.trace(model, output=output)
    assert curvcli.trace(model, output=output, force=True).report.status == "complete"


def test_an_interrupted_rerun_leaves_the_complete_report(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was finished is in the parts, and the same command resumes from there."""

    def stopped(*_: object) -> Iterator[int]:
        raise KeyboardInterrupt
        yield 0

    before = content_digest(finished / "r.h5")
    with monkeypatch.context() as patch:
        patch.setattr(SmoothUnits, "steps", stopped)
        assert diag(finished) == 130
    assert "still holds the complete report of an earlier run" in " ".join(capfd.readouterr().err.split())
    assert content_digest(finished / "r.h5") == before
    assert list((finished / "r.h5.parts").glob("*.h5"))
    assert diag(finished) == 0
    assert "resuming: 1 of 2 layers" in capfd.readouterr().err
    assert content_digest(finished / "r.h5") == before
