"""Many reports of one training run on the command line: shown, drawn, exported, and compared in a script."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_run import SCRIPT, STEPS, train

from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.inputs import InputAxes, InputsRecord, ResidualRecord
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance

PROVENANCE = Provenance(
    model_path="m.pt",
    model_sha256="ab" * 32,
    dataset_digest="cd" * 32,
    spec_text="version = 1\n",
    config_json="{}",
    command_line="curvcli diag m.pt",
    backend="torch",
    device="cpu",
    dtype="float64",
    seed=0,
    loss="mse",
    reduction="mean",
    samples=4,
    denominator=4.0,
    loss_value=1.5,
)


def layer(name: str, index: int, scale: float) -> LayerRecord:
    entries = scale * np.arange(1.0, 5.0)
    parameter = ParameterRecord(
        label="weight",
        name=f"{name}.weight",
        shape=(4,),
        axes=("in",),
        gradient=entries.astype(np.float32),
        diagonal=entries,
        method="gauss_newton",
        exact=True,
    )
    return LayerRecord(name=name, kind="dense", index=index, parameters=(parameter,))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three reports of two layers, flatter with every step."""
    monkeypatch.chdir(tmp_path)
    for step, scale in ((1, 4.0), (10, 2.0), (9, 3.0)):
        layers = [layer("one", 0, scale), layer("two", 1, 2 * scale)]
        origin = replace(PROVENANCE, model_sha256=f"{step:064}", loss_value=1 / step)
        write_report(tmp_path / f"step_{step}.h5", layers, origin)
    return tmp_path


Output = pytest.CaptureFixture[str]
Binary = pytest.CaptureFixture[bytes]


@pytest.mark.parametrize("words", [["step_*.h5"], ["step_9.h5", "step_10.h5", "step_1.h5"], ["step_?.h5", "step_*.h5"]])
def test_a_pattern_stands_for_its_files_and_each_is_shown_once(words: list[str], here: Path, capsys: Output) -> None:
    """In the order of their steps, whatever the order they are named in."""
    assert run(["show", *words, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["report"] for row in rows] == ["step_1.h5", "step_9.h5", "step_10.h5"]
    assert [float(row["trace"]) for row in rows] == [120.0, 90.0, 60.0]


def test_the_order_that_was_taken_is_said(here: Path, capsys: Output) -> None:
    assert run(["show", "step_*.h5"]) == 0
    assert "3, by step, the number behind 'step'" in capsys.readouterr().out
    assert run(["show", "step_*.h5", "--order", "name"]) == 0
    assert "3, by name" in capsys.readouterr().out


def test_layers_are_shown_one_by_one(here: Path, capsys: Output) -> None:
    assert run(["show", "step_*.h5", "--layer", "two", "--format", "json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    (trace,) = [figure for figure in figures if figure["quantity"] == "trace"]
    assert (trace["layer"], trace["value"]) == ("two", [80.0, 60.0, 40.0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "step_*.h5", "--get", "loss"], "--get is for one report"),
        (["show", "step_*.h5", "--top", "3"], "--top is for one report"),
        (["show", "lost_*.h5"], "no file matches this pattern"),
        (["show", "step_1.h5", "lost.h5"], "lost.h5: no such file"),
        (["show", "step_*.h5", "--layer", "three"], "No layer matches 'three'"),
        (["plot", "step_*.h5", "--kind", "bars"], "--kind bars is of one report"),
        (["plot", "step_1.h5", "--kind", "course"], "--kind course is of several reports"),
        (["plot", "step_*.h5", "--against", "step_1.h5"], "--against is for one report"),
        (["plot", "step_*.h5", "-o", "-", "--format", "png", "--format", "svg"], "takes one file"),
        (["export", "step_*.h5", "-o", "x.csv", "--table", "checks"], "the reports hold no checks"),
        (["export", "step_*.h5", "-o", "step_9.h5", "--format", "csv"], "is the report itself"),
        (["compare", "step_1.h5"], "compare takes two reports at least"),
        (["diag", "m.pt", "-o", "-"], "a report is an HDF5 file and can't go to standard output"),
    ],
)
def test_mistakes_are_named_in_a_line_or_two(words: list[str], told: str, here: Path, capsys: Output) -> None:
    assert run(words) in {2, 3}
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) <= 3
    assert not (here / "-").exists()


def test_another_loss_is_named_and_refused_unless_allowed(here: Path, capsys: Output) -> None:
    layers = [layer("one", 0, 1.0), layer("two", 1, 2.0)]
    write_report(here / "step_30.h5", layers, replace(PROVENANCE, loss="huber"))
    assert run(["show", "step_*.h5"]) == 2
    assert "step_30.h5: loss huber, was mse" in capsys.readouterr().err
    assert run(["show", "step_*.h5", "--allow-mismatch"]) == 0
    assert "step_30.h5: loss huber, was mse" in capsys.readouterr().out


def test_exports_are_long_or_one_below_the_other(here: Path, capsys: Output) -> None:
    assert run(["export", "step_*.h5", "-o", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [float(row["value"]) for row in rows if row["quantity"] == "loss"] == [1.0, 1 / 9, 1 / 10]
    assert run(["export", "step_*.h5", "-o", "-", "--table", "entries", "--layer", "one"]) == 0
    entries = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [(row["step"], float(row["diagonal"])) for row in entries[::4]] == [("1", 4.0), ("9", 3.0), ("10", 2.0)]


def test_a_course_is_drawn_to_a_file_or_to_standard_output(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["plot", "step_*.h5", "-q"]) == 0
    assert capfdbinary.readouterr().out.strip() == b"course.html"
    assert b"Course of training" in (here / "course.html").read_bytes()
    assert run(["plot", "step_*.h5", "-o", "-", "--format", "svg", "--layer", "*"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"<?xml")
    assert not (here / "-").exists()


def test_a_script_stops_where_something_got_worse_and_only_there(here: Path) -> None:
    """With ``set -e``; the run got flatter, so that backwards it got sharper."""

    def script(words: str) -> subprocess.CompletedProcess[str]:
        text = f'set -e\n"{sys.executable}" -m curvcli compare {words} --worse -q\necho reached\n'
        return subprocess.run(["bash", "-c", text], cwd=here, capture_output=True, text=True, check=False)

    assert script("--against-first 'step_*.h5'").stdout.endswith("reached\n")
    stopped = script("step_10.h5 step_9.h5 step_1.h5")
    assert (stopped.returncode, "reached" in stopped.stdout) == (1, False)
    assert stopped.stdout.count(" worse") > 2


def test_what_is_no_layer_has_rules_too(here: Path, capsys: Output) -> None:
    function = InputsRecord(
        name="u",
        rows=np.arange(2),
        inputs=(InputAxes(name="x", shape=()),),
        value=np.ones(2),
        gradient={"x": np.ones(2)},
        laplacian=np.array([1.0, 3.0]),
        residual=ResidualRecord(column="f", mean_abs=0.25, max_abs=0.5, rms=0.3, values=np.array([0.5, 0.0])),
        method="products",
        exact=True,
        reason="one coordinate",
        products=1,
        probes=0,
    )
    write_report(here / "u.h5", [], PROVENANCE, inputs=[function])
    passed = CheckRecord(name="gradient", subject="one", outcome="passed", figure=1e-9, limit=1e-5)
    failed = replace(passed, subject="two", outcome="failed", figure=0.5)
    write_report(here / "c.h5", [], PROVENANCE, checks=[passed, failed])
    for words, code in (
        (["u.h5", "--max", "residual_max_abs=0.5", "--finite", "--exact", "--converged"], 0),
        (["u.h5", "--max", "u:laplacian_mean=1"], 1),
        (["u.h5", "--max", "trace=1"], 2),
        (["c.h5", "--max", "failed=0"], 1),
        (["c.h5", "--max", "checks/gradient/one:failed=0", "--max", "gradient/one:figure=1e-5"], 0),
        (["c.h5", "--finite"], 0),
    ):
        assert run(["assert", *words]) == code, words
    capsys.readouterr()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("run")
    train(folder)
    yield folder


@pytest.mark.slow
def test_five_checkpoints_of_a_real_run(trained: Path) -> None:
    """The commands that the demonstration shows, on models that were trained; the last line fails, as it should."""
    text = f'curvcli() {{ "{sys.executable}" -m curvcli "$@"; }}\n{SCRIPT}'
    done = subprocess.run(["bash", "-c", text], cwd=trained, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "worse" in done.stdout
    rows = list(csv.DictReader((trained / "course.csv").open(newline="")))
    losses = [float(row["value"]) for row in rows if row["quantity"] == "loss"]
    assert losses == sorted(losses, reverse=True)
    assert [int(row["step"]) for row in rows if row["quantity"] == "loss"] == list(STEPS)
    assert (trained / "trace.png").stat().st_size > 10_000
    assert read_report(trained / "step_80.eigs.h5").layers
