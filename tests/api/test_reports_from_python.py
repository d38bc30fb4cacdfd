"""Several quantities in one report; and reports compared, judged and drawn, as the commands do."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import curvcli
from curvcli.cli.main import run

from .conftest import MODEL, ROOT

TABLES: dict[str, Any] = {"diag": {}, "trace": {"method": "hutchinson", "probes": 4}, "eigs": {"k": 2}}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Traces over different data."""
    folder = tmp_path_factory.mktemp("reports")
    paths = folder / "before.h5", folder / "after.h5"
    for path, limit in zip(paths, (32, 24), strict=True):
        curvcli.trace(MODEL, layer=["norm", "fc3"], limit=limit, output=path)
    return paths


def test_several_quantities_are_in_one_report(model: curvcli.Model) -> None:
    """Each as its own function gives it."""
    report = curvcli.run(model, layer="fc3", limit=32, **TABLES)
    fc3 = report.layer("fc3")
    assert fc3.trace is not None
    assert fc3.eigen is not None
    alone = curvcli.trace(model, layer="fc3", limit=32, **TABLES["trace"])["fc3"]
    assert fc3.trace.value == alone.value
    assert fc3.trace.method == "hutchinson"
    assert fc3.parameters[0].diagonal is not None
    assert len(fc3.eigen.values) == 2
    assert fc3.density is None


def test_a_config_gives_the_commands_report_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    config, path = tmp_path / "c.toml", tmp_path / "r.h5"
    config.write_text(
        f'model = "{MODEL}"\noutput = "r.h5"\nlayer = "fc3"\nlimit = 32\nformat = "json"\n[diag]\n'
        '[trace]\nmethod = "hutchinson"\nprobes = 4\n[eigs]\nk = 2\n'
    )
    report = curvcli.run(config=config)
    assert report.path == path
    by_function = path.read_bytes()
    path.unlink()
    words = shlex.split(report.provenance.command_line)[1:]
    monkeypatch.setattr(sys, "argv", ["curvcli", *words])
    assert run(words) == 0
    assert path.read_bytes() == by_function


def test_the_line_of_a_run_with_tables_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a shell, by Python."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    path = tmp_path / "r.h5"
    report = curvcli.run(MODEL, layer="fc3", limit=32, memory_limit="2GiB", output=path, **TABLES)
    by_function = path.read_bytes()
    path.unlink()
    python, *words = shlex.split(report.provenance.command_line)
    assert python == "python"
    subprocess.run([sys.executable, *words], check=True, cwd=ROOT, timeout=120)
    assert path.read_bytes() == by_function


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "^model: name a model, or a config with config="),
        ({"model": MODEL}, "^Nothing to compute: name one of diag=, trace=, eigs=, density=, hessian="),
        ({"model": MODEL, "trace": {"probs": 3}}, "^trace: probs: unknown; did you mean probes"),
        ({"model": MODEL, "trace": {"probes": 1}, "eigs": {}}, "^trace: probes: must be 2 or more, found 1"),
        ({"model": MODEL, "trace": {"method": "magic"}}, "^trace: method: must be auto, .*found 'magic'"),
        ({"model": MODEL, "trace": True}, "^trace must be a table of options"),
        ({"model": MODEL, "eigs": {"method": "lobpcg", "which": "magnitude"}}, r"^method='lobpcg' .* which='largest'"),
        ({"config": "c.toml", "layer": "fc3"}, "^config: leave out layer; the config says it"),
        ({"config": "c.toml", "verify": False}, "^config: leave out verify"),
        ({"config": "missing.toml"}, "^missing.toml: no such file"),
    ],
)
def test_what_a_run_is_told_wrongly_is_one_sentence(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(curvcli.UsageError, match=said):
        curvcli.run(**arguments)


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"rtol": 0.0, "sigma": 0}, "changed"),
        ({"rtol": "200%"}, "same"),
        ({"rtol": {"": 2, "trace": 0.0}, "quantity": "trace", "sigma": 0}, "changed"),
        ({"layer": "fc3", "rtol": 3}, "same"),
    ],
)
def test_a_comparison_ends_as_the_commands(
    options: dict[str, Any], verdict: str, reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """By paths, by reports and by results; each change names the layer and the quantity."""
    comparison = curvcli.compare(*reports, allow_mismatch=True, **options)
    assert comparison.verdict == verdict
    by_report = curvcli.compare(*map(curvcli.read_report, reports), allow_mismatch=True, **options)
    assert [(c.layer, c.quantity, c.outcome) for c in by_report.changes] == [
        (c.layer, c.quantity, c.outcome) for c in comparison.changes
    ]
    words = ["compare", *map(str, reports), "--allow-mismatch"]
    for name, value in options.items():
        several = [f"{k}={v}" if k else str(v) for k, v in value.items()] if isinstance(value, dict) else [str(value)]
        words += [word for one in several for word in (f"--{name}", one)]
    assert run(words) == (1 if verdict == "changed" else 0)


def test_reports_that_differ_in_their_data_are_refused(reports: tuple[Path, Path]) -> None:
    """In the words of Python."""
    with pytest.raises(curvcli.UsageError, match=r"give allow_mismatch=True to compare"):
        curvcli.compare(*reports)
    with pytest.raises(curvcli.UsageError, match=r"^quantity='tace': no such quantity; did you mean trace"):
        curvcli.compare(*reports, quantity="tace", allow_mismatch=True)
    with pytest.raises(curvcli.UsageError, match=r"^rtol: 'much' is not a tolerance; write 0.1, 10% or trace=0.2"):
        curvcli.compare(*reports, rtol="much")
    with pytest.raises(curvcli.UsageError, match=r"^base: must be a report, or its path; found an object of type int"):
        curvcli.compare(3, reports[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "words", "verdict"),
    [
        ({"max": {"trace": 1e6, "loss": 10}}, ["--max", "trace=1e6", "--max", "loss=10"], "holds"),
        ({"max": {"fc3:trace": 0.0}}, ["--max", "fc3:trace=0"], "broken"),
        ({"min": "trace=-1", "finite": True}, ["--min", "trace=-1", "--finite"], "holds"),
        ({"exact": True, "layer": "norm"}, ["--exact", "--layer", "norm"], "holds"),
    ],
)
def test_an_assessment_ends_as_the_commands(
    rules: dict[str, Any], words: list[str], verdict: str, reports: tuple[Path, Path]
) -> None:
    assessment = curvcli.check_rules(reports[0], **rules)
    assert assessment.verdict == verdict
    assert all(one.holds for one in assessment.judgements) == (verdict == "holds")
    assert run(["assert", str(reports[0]), *words]) == (0 if verdict == "holds" else 1)


def test_rules_that_are_none_are_refused(reports: tuple[Path, Path]) -> None:
    """Like an unknown quantity, by the arguments' names."""
    with pytest.raises(curvcli.UsageError, match=r"^No rule: give max=, min=, finite=True, .* or exact=True\.$"):
        curvcli.check_rules(reports[0])
    with pytest.raises(curvcli.UsageError, match=r"^max='tace=3': no quantity 'tace'; did you mean trace"):
        curvcli.check_rules(reports[0], max={"tace": 3})
    with pytest.raises(curvcli.UsageError, match=r"^sigma: must be 30 or less, found 31"):
        curvcli.check_rules(reports[0], finite=True, sigma=31)


def test_pictures_are_the_commands(reports: tuple[Path, Path], tmp_path: Path) -> None:
    """To the byte, whether they are written or not."""
    before, after = reports
    plots = curvcli.plot(after, tmp_path / "python", against=before, kind="bars")
    assert run(["plot", str(after), "--against", str(before), "-k", "bars", "-o", str(tmp_path / "shell")]) == 0
    assert {path.name for path in plots.paths} == {path.name for path in (tmp_path / "shell").iterdir()}
    for path in plots.paths:
        assert path.read_bytes() == (tmp_path / "shell" / path.name).read_bytes()
    kept = curvcli.plot(after, against=before, kind="bars")
    assert not kept.paths
    assert kept.pictures[0].images == plots.pictures[0].images
    assert repr(kept) == "<curvcli.Plots: 1 pictures (bars), 0 files>"


def test_what_a_report_has_no_picture_of_is_a_warning(reports: tuple[Path, Path]) -> None:
    """Nothing at all is an error."""
    with pytest.warns(curvcli.CurvcliWarning, match="no diagonal of a kernel for kind='kernel'") as caught:
        curvcli.plot(reports[0], kind=["bars", "kernel"])
    assert [one.filename for one in caught if one.category is curvcli.CurvcliWarning] == [__file__]
    with pytest.raises(curvcli.ReportError, match="nothing to plot: no density for kind='density'"):
        curvcli.plot(reports[0], kind="density")
    with pytest.raises(curvcli.UsageError, match=r"^kind: must be bars, .* or course, found 'pie'"):
        curvcli.plot(reports[0], kind="pie")
    with pytest.raises(curvcli.UsageError, match=r"^output='x.pdf': plots are .png, .svg or .html"):
        curvcli.plot(reports[0], "x.pdf")
