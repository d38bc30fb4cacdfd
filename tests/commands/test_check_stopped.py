"""``curvcli check`` of data that do not fit the model: what was checked is said, and no loss that there is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report

pytestmark = pytest.mark.filterwarnings("ignore")


def test_an_input_that_does_not_fit(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and the failed check; no loss of nan, no 0 samples, and the report is not called complete."""
    spec = (work / "model.pt.toml").read_text()
    (work / "model.pt.toml").write_text(spec.replace("[inputs.x]", "[inputs.other]"))
    assert run(["check", str(work / "model.pt"), "-o", str(work / "r.h5")]) == 1
    out, err = capfd.readouterr()
    assert "nan" not in out + err
    assert "samples  0" not in out
    assert "complete" not in out
    assert "partial, 2 checks" in out
    assert "stopped after 2 checks" in " ".join(err.split())
    report = read_report(work / "r.h5")
    assert report.status == "partial"
    assert [(row.name, row.outcome) for row in report.checks] == [("data order", "passed"), ("inputs", "failed")]
