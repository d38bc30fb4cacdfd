"""What an interrupted run did is taken up by an equal run alone: on as many threads, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from curvcli.cli.main import run
from curvcli.curvature.diagonal.smooth_units import SmoothUnits
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.read import read_report

pytestmark = pytest.mark.filterwarnings("ignore")
OTHER = 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Before and after, as many threads as the process had; within, one to begin with."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def diag(work: Path, name: str = "r.h5") -> int:
    return run(["diag", str(work / "model.pt"), "-o", str(work / name), "--dtype", "float64"])


def interrupt(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop as a person would, after the layer that is done first."""

    def stopped(*_: object) -> Iterator[int]:
        raise KeyboardInterrupt
        yield 0

    with monkeypatch.context() as patch:
        patch.setattr(SmoothUnits, "steps", stopped)
        assert diag(work) == 130
    assert list((work / "r.h5.parts").glob("*.h5"))


def test_an_equal_run_takes_up_what_is_done(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On as many threads as before, finished layers are not computed again, and the report is a whole run's."""
    interrupt(work, monkeypatch)
    capfd.readouterr()
    assert diag(work) == 0
    assert "resuming: 1 of 2 layers are already done" in capfd.readouterr().err
    assert diag(work, "whole.h5") == 0
    assert content_digest(work / "r.h5") == content_digest(work / "whole.h5")


def test_a_run_on_more_threads_starts_anew(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sums are added up in another order then: nothing is taken up, and what differs is named."""
    interrupt(work, monkeypatch)
    capfd.readouterr()
    torch.set_num_threads(OTHER)
    assert diag(work) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "resuming" not in said
    assert "1 finished layers of another run (threads) dropped" in said


def test_the_thread_count_is_in_the_report(work: Path) -> None:
    """The report says on how many threads it was computed."""
    assert diag(work) == 0
    assert read_report(work / "r.h5").provenance.threads == 1
    torch.set_num_threads(OTHER)
    assert diag(work) == 0
    assert read_report(work / "r.h5").provenance.threads == OTHER
