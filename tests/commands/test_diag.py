"""``curvcli diag`` as a person or a script uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from curvcli.report.hdf5.digest import content_digest

from .conftest import Curvcli

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def test_results_go_to_stdout_and_everything_else_to_stderr(work: Path, curvcli: Curvcli) -> None:
    """A pipe gets the table only, without colours; -q silences the rest."""
    done = curvcli("diag", "model.pt")
    assert done.returncode == 0
    assert "one" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "passes" in done.stderr
    assert curvcli("diag", "model.pt", "-q").stderr == ""
    assert (work / "model.pt.diag.h5").exists()
    assert not (work / "model.pt.diag.h5.parts").exists()


@pytest.mark.parametrize("output_format", ["json", "csv", "markdown", "table"])
def test_show_prints_a_report_in_every_format(output_format: str, work: Path, curvcli: Curvcli) -> None:
    """The same layers stand in all formats."""
    curvcli("diag", "model.pt", "-q")
    shown = curvcli("show", "model.pt.diag.h5", "--format", output_format)
    assert shown.returncode == 0
    assert "one" in shown.stdout
    assert "two" in shown.stdout
    if output_format == "json":
        assert json.loads(shown.stdout)["schema_version"]


def test_the_report_names_method_and_reason(work: Path, curvcli: Curvcli) -> None:
    """What was chosen and why stands beside every parameter."""
    curvcli("diag", "model.pt", "-q")
    with h5py.File(work / "model.pt.diag.h5") as report:
        one, two = report["layers/one"], report["layers/two"]
        assert one.attrs["method"] == "smooth_units"
        assert two.attrs["method"] == "gauss_newton"
        assert one["diagonal/weight"].shape == (6, 4)
        assert [d.label for d in one["diagonal/weight"].dims] == ["out", "in"]


def test_equal_work_gives_equal_bytes(work: Path, curvcli: Curvcli) -> None:
    """Two runs agree in content, and under SOURCE_DATE_EPOCH byte for byte."""
    curvcli("diag", "model.pt", "-q")
    first = content_digest(work / "model.pt.diag.h5")
    curvcli("diag", "model.pt", "-q", env=EPOCH)
    whole = (work / "model.pt.diag.h5").read_bytes()
    assert content_digest(work / "model.pt.diag.h5") == first
    curvcli("diag", "model.pt", "-q", env=EPOCH)
    assert (work / "model.pt.diag.h5").read_bytes() == whole


def test_beyond_its_budget_a_diagonal_is_estimated_and_says_so(work: Path, curvcli: Curvcli) -> None:
    """Too dear layers get an estimate with an error for every entry, and the reason; the others stay exact."""
    done = curvcli("diag", "model.pt", "--budget", "5", "--format", "json")
    assert done.returncode == 0
    one, two = json.loads(done.stdout)["layers"]
    assert (one["exact"], two["exact"]) == (False, True)
    assert "--budget allows 5" in one["parameters"][0]["reason"]
    with h5py.File(work / "model.pt.diag.h5") as report:
        assert report["layers/one/diagonal_stderr/weight"].shape == report["layers/one/diagonal/weight"].shape
        assert "diagonal_stderr" not in report["layers/two"]


def test_a_tolerance_that_is_not_met_is_exit_4(work: Path, curvcli: Curvcli) -> None:
    """Eight probes can't reach a millionth: the estimate is there, marked, and the exit code says so."""
    done = curvcli("diag", "model.pt", "--method", "hutchinson", "--probes", "8", "--rtol", "1e-6")
    assert done.returncode == 4
    assert "not_converged" in done.stdout


def test_a_method_that_is_not_exact_is_refused(work: Path, curvcli: Curvcli) -> None:
    """Forcing gauss_newton behind tanh says what stands in the way."""
    done = curvcli("diag", "model.pt", "--layer", "one", "--method", "gauss_newton")
    assert done.returncode == 2
    assert "tanh" in done.stderr


def test_a_dry_run_plans_and_writes_nothing(work: Path, curvcli: Curvcli) -> None:
    """Methods, costs and time are shown; there is no report."""
    done = curvcli("diag", "model.pt", "--dry-run")
    assert done.returncode == 0
    assert "smooth_units" in done.stdout
    assert not list(work.glob("*.h5*"))


def test_command_line_beats_environment_beats_config(work: Path, curvcli: Curvcli) -> None:
    """The three places of an option, in their order; an unknown key is refused."""

    def dtype(*words: str, env: dict[str, str] | None = None) -> str:
        assert curvcli("diag", "model.pt", "-q", *words, env=env).returncode == 0
        with h5py.File(work / "model.pt.diag.h5") as report:
            return str(report["provenance"].attrs["dtype"])

    (work / "run.toml").write_text('[diag]\ndtype = "float64"\n')
    assert dtype() == "float32"
    assert dtype("--config", "run.toml") == "float64"
    assert dtype("--config", "run.toml", env={"CURVCLI_DIAG_DTYPE": "float32"}) == "float32"
    assert dtype("--dtype", "float64", env={"CURVCLI_DIAG_DTYPE": "float32"}) == "float64"
    (work / "run.toml").write_text('[diag]\ndtyp = "float64"\n')
    refused = curvcli("diag", "model.pt", "--config", "run.toml")
    assert refused.returncode == 2
    assert "dtype" in refused.stderr


def test_a_broken_pipe_is_quiet(work: Path) -> None:
    """``| head -1`` gets its line and nobody complains."""
    command = f"{sys.executable} -m curvcli layers model.pt | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=work, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_misspelt_table_of_a_config_is_not_passed_over(work: Path, curvcli: Curvcli) -> None:
    """All mistakes at once; another command's table is none."""
    (work / "c.toml").write_text("[assert]\nfinite = true\n[dig]\nlimit = 3\n[diag]\nlimit = 2.5\n")
    done = curvcli("diag", "model.pt", "--config", "c.toml")
    assert done.returncode == 2
    assert "[dig]: no command of that name; did you mean diag?" in done.stderr
    assert "diag.limit: 2.5 is not a whole number" in done.stderr
    assert "assert" not in done.stderr


def test_a_config_may_hold_one_value_for_a_repeatable_option(work: Path, curvcli: Curvcli) -> None:
    """Without a list around it, like on the command line."""
    (work / "one.toml").write_text('[diag]\nlayer = "two"\n')
    done = curvcli("diag", "model.pt", "--config", "one.toml", "-q")
    assert done.returncode == 0
    with h5py.File(work / "model.pt.diag.h5") as report:
        assert list(report["layers"]) == ["two"]
