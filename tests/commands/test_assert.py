"""``curvcli assert`` as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from covering import covering
from once import once

from curvcli.cli.main import run
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance
from curvcli.report.records.quantities import EigenRecord, TraceRecord

PROVENANCE = Provenance(
    model_path="model.pt",
    model_sha256="ab",
    dataset_digest="cd",
    spec_text="",
    config_json="{}",
    command_line="",
    backend="torch",
    device="cpu",
    dtype="float64",
    seed=0,
    loss="mse",
    reduction="mean",
    samples=8,
    denominator=8.0,
    loss_value=0.5,
)


def layer(index: int, name: str, top: float) -> LayerRecord:
    origin = {"reason": "", "matrix": "hessian", "products": 1}
    ones = np.ones(2)
    return LayerRecord(
        name=name,
        kind="Linear",
        index=index,
        parameters=(ParameterRecord(label="weight", name=f"{name}.weight", shape=(2,), axes=("in",), gradient=ones),),
        trace=TraceRecord(
            value=2 * top,
            stderr=0.5,
            data_stderr=float("nan"),
            method="hutchinson",
            exact=False,
            probes=50,
            converged=True,
            samples=np.linspace(2 * top - 1, 2 * top + 1, 50),
            batches=np.zeros(0),
            estimates=50,
            degrees=49.0,
            independent=True,
            **origin,  # type: ignore[arg-type]
        ),
        eigen=EigenRecord(
            values=np.array([top, -1.0]),
            residuals=np.zeros(2),
            converged=np.ones(2, bool),
            vectors=None,
            which="both",
            method="dense",
            tolerance=1e-6,
            **origin,  # type: ignore[arg-type]
        ),
    )


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three layers with top eigenvalues 10, 20 and 30, and traces of twice that ± 0.5; the process is beside it."""
    monkeypatch.chdir(tmp_path)
    layers = [layer(i, name, 10.0 * (i + 1)) for i, name in enumerate(("conv1", "conv2", "fc"))]
    once("assert", tmp_path / "r.h5", lambda path: write_report(path, layers, PROVENANCE))
    once(
        "assert, partial",
        tmp_path / "partial.h5",
        lambda path: write_report(path, layers[:2], PROVENANCE, status="partial"),
    )
    return tmp_path


def check(*words: str) -> int:
    return run(["assert", *words])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--max", "top_eigenvalue=30"], 0),
        (["--max", "top_eigenvalue=29"], 1),
        (["--max", "conv*:top_eigenvalue=20"], 0),
        (["--max", "conv*:top_eigenvalue=19"], 1),
        (["--max", "conv*:top_eigenvalue=20", "--max", "fc:top_eigenvalue=20"], 1),
        (["--min", "fc:top_eigenvalue=30"], 0),
        (["--min", "smallest_eigenvalue=-0.5"], 1),
        (["--max", "loss=0.5", "--min", "loss=0.5"], 0),
        (["--max", "loss=0.4"], 1),
        (["--max", "trace_stderr=0.4"], 1),
        (["--max", "fc:trace=59"], 1),
        (["--max", "fc:trace=59", "--sigma", "4"], 0),
        (["--max", "top_eigenvalue=20", "--exclude", "fc"], 0),
        (["--finite", "--converged"], 0),
        (["--exact"], 1),
    ],
)
def test_rules_decide(words: list[str], code: int, report: Path) -> None:
    """Exit code 1 is for a broken rule and nothing else."""
    assert check("r.h5", *words) == code


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["r.h5"], "No rule"),
        (["r.h5", "--max", "conf*:top_eigenvalue=5"], "No layer matches 'conf*'"),
        (["r.h5", "--max", "tarce=5"], "did you mean trace"),
        (["r.h5", "--max", "diagonal_max=5"], "diagonal_max was not computed for conv1, conv2, fc"),
        (["r.h5", "--max", "fc:top_eigenvalue=5", "--exclude", "fc"], "No layer matches 'fc'"),
        (["r.h5", "--finite", "--layer", "nope"], "No layer matches 'nope'"),
        (["r.h5", "--max", "trace"], "not a rule"),
        (["lost.h5", "--finite"], "no such file"),
        (["cut.h5", "--finite"], "truncated"),
        (["empty.h5", "--finite"], "nothing that rules are about"),
        (["r.h5", "--config", "wrong.toml"], "assert.finit: unknown"),
    ],
)
def test_mistakes_are_named(words: list[str], told: str, report: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A threshold on something that is not there must not pass: exit code 2, and nothing on stdout."""
    (report / "cut.h5").write_bytes((report / "r.h5").read_bytes()[:5000])
    (report / "wrong.toml").write_text("[assert]\nfinit = true\n")
    write_report(report / "empty.h5", [], PROVENANCE)
    assert check(*words) == 2
    said = capfd.readouterr()
    assert told in said.err
    assert said.out == ""
    assert len(said.err[said.err.index("Error:") :].strip().splitlines()) <= 2


def test_a_partial_report_is_incomplete_at_best(report: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What it lacks may break the rules: exit code 4 if they hold, 1 if they are broken already."""
    assert check("partial.h5", "--max", "top_eigenvalue=25") == 4
    assert "partial" in capfd.readouterr().out
    assert check("partial.h5", "--max", "top_eigenvalue=15") == 1


def test_rules_may_stand_in_a_config(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rule or a list of them; the command line and the environment win."""
    (report / "ci.toml").write_text('[assert]\nmax = ["conv*:top_eigenvalue=20", "fc:trace=60"]\nfinite = true\n')
    assert check("r.h5", "--config", "ci.toml") == 0
    assert check("r.h5", "--config", "ci.toml", "--max", "trace=1") == 1
    (report / "one.toml").write_text('[assert]\nmax = "trace=1"\n')
    assert check("r.h5", "--config", "one.toml") == 1
    monkeypatch.setenv("CURVCLI_ASSERT_MAX", "fc:trace=60 conv*:trace=40")
    assert check("r.h5") == 0
    assert check("r.h5", "--config", "one.toml") == 0


ENCODINGS = {"assert": "latin-1", "compare": "ascii"}


# Each is a process of its own.
@pytest.mark.parametrize(("command", "form"), covering(ENCODINGS, ["junit", "table", "json", "markdown", "github"]))
def test_an_output_that_is_not_utf_8_is_no_error(command: str, form: str, report: Path) -> None:
    """A character that it lacks is spelled with what it has; XML is UTF-8, as it says."""
    encoding = ENCODINGS[command]
    other = replace(PROVENANCE, dataset_digest="ef", model_path="mödel→.pt", model_sha256="cd")
    layers = [layer(i, name, 10.0 * (i + 1)) for i, name in enumerate(("conv1", "conv2", "fc"))]
    write_report(report / "other.h5", [replace(layers[0], name="λ→é"), *layers[1:]], other)
    words = {
        "assert": ["other.h5", "--max", "top_eigenvalue=10"],
        "compare": ["r.h5", "other.h5", "--allow-mismatch", "--rtol", "0"],
    }[command]
    done = subprocess.run(
        [sys.executable, "-m", "curvcli", command, *words, "--format", form],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == (1 if command == "assert" else 0), done.stderr
    if form == "junit":
        names = [case.attrib["classname"] for case in ET.fromstring(done.stdout.decode()).iter("testcase")]
        assert ("λ→é" in names) == (command == "assert")
    else:
        assert done.stdout.decode(encoding)


@pytest.mark.parametrize("form", ["table", "json", "markdown", "junit", "github"])
def test_every_format_tells_the_broken_rule(form: str, report: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Alone on stdout; a line for the log on stderr, which -q silences."""
    words = ["r.h5", "--max", "top_eigenvalue=25", "--format", form]
    assert check(*words) == 1
    said = capfd.readouterr()
    assert "fc" in said.out
    assert ("1 of 3 assertions failed" in said.err) == (form != "table")
    if form == "json":
        assert [entry["verdict"] for entry in json.loads(said.out)["assertions"]] == ["passed", "passed", "failed"]
    if form == "junit":
        assert ET.fromstring(said.out.encode()).attrib["failures"] == "1"
    assert check(*words, "-q") == 1
    assert capfd.readouterr() == (said.out, "")
