"""``plot`` as a person or a script uses it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curvcli.cli.main import run
from curvcli.report.hdf5.write import write_report
from curvcli.report.plot import draw
from curvcli.report.plot.kinds import KINDS
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance
from curvcli.report.records.quantities import TraceRecord

PROVENANCE = Provenance(
    model_path="model.pt",
    model_sha256="ab" * 32,
    dataset_digest="cd" * 32,
    spec_text="version = 1",
    config_json="{}",
    command_line="curvcli diag model.pt",
    backend="torch",
    device="cpu",
    dtype="float32",
    seed=0,
    loss="mse",
    reduction="mean",
    samples=4,
    denominator=4.0,
    loss_value=0.5,
)


def layer(name: str, index: int, *, diagonal: bool = True, trace: float | None = None) -> LayerRecord:
    values = np.random.default_rng(index).standard_normal((3, 4))
    spent = {"method": "columns", "exact": True} if diagonal else {}
    record = ParameterRecord(
        label="kernel",
        name=f"{name}/kernel",
        shape=(3, 4),
        axes=("in", "out"),
        diagonal=values if diagonal else None,
        gradient=values.astype(np.float32) if diagonal else None,
        **spent,  # type: ignore[arg-type]
    )
    found = None
    if trace is not None:
        found = TraceRecord(
            value=trace,
            stderr=0.5,
            data_stderr=1.0,
            method="xtrace",
            exact=False,
            reason="asked for",
            matrix="hessian",
            probes=2,
            products=2,
            converged=True,
            samples=np.array([trace]),
            batches=np.array([trace]),
        )
    return LayerRecord(name=name, kind="dense", index=index, parameters=(record,), trace=found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a report of two layers and one of one layer's trace."""
    monkeypatch.chdir(tmp_path)
    write_report(tmp_path / "model.pt.diag.h5", [layer("net/one", 0), layer("net/two", 1)], PROVENANCE)
    write_report(tmp_path / "trace.h5", [layer("net/one", 0, diagonal=False, trace=3.0)], PROVENANCE)
    write_report(tmp_path / "empty.h5", [layer("net/one", 0, diagonal=False)], PROVENANCE)
    return tmp_path


def test_the_command_and_the_figures_have_the_same_kinds() -> None:
    """The command's list is written out, so that --help needs no matplotlib."""
    assert list(KINDS) == list(draw.KINDS)


def test_without_output_there_is_one_page_beside_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And standard output names it, and nothing else."""
    assert run(["plot", "model.pt.diag.h5"]) == 0
    assert capsys.readouterr().out == "model.pt.diag.html\n"
    assert (folder / "model.pt.diag.html").read_text().startswith("<!DOCTYPE html>")
    assert not list(folder.glob("*.tmp"))


def test_a_directory_is_made_and_gets_all_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images one file each, and the page."""
    assert run(["plot", "model.pt.diag.h5", "-o", "plots", "-k", "bars", "-k", "kernel", "-l", "one"]) == 0
    expected = {"bars.png", "bars.svg", "kernel-net.one-kernel.png", "kernel-net.one-kernel.svg", "model.pt.diag.html"}
    assert {path.name for path in (folder / "plots").iterdir()} == expected
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_format_chooses_what_a_directory_gets(folder: Path) -> None:
    """Here the SVG alone."""
    assert run(["plot", "model.pt.diag.h5", "-o", "plots", "-k", "bars", "--format", "svg"]) == 0
    assert [path.name for path in (folder / "plots").iterdir()] == ["bars.svg"]


@pytest.mark.parametrize(
    ("name", "start"), [("one.png", b"\x89PNG"), ("one.SVG", b"<?xml"), ("one.html", b"<!DOCTYPE")]
)
def test_the_suffix_says_the_format(name: str, start: bytes, folder: Path) -> None:
    """Of one figure."""
    assert run(["plot", "model.pt.diag.h5", "-k", "histogram", "-o", name]) == 0
    assert (folder / name).read_bytes().startswith(start)


def test_two_reports_over_each_other(folder: Path) -> None:
    """A layer of the other report alone is in no table and no figure, but named."""
    assert run(["plot", "trace.h5", "--against", "model.pt.diag.h5", "-o", "both.html", "-q"]) == 0
    text = (folder / "both.html").read_text()
    assert text.count("<table ") == 2
    assert text.count("net/two") == text.count("only in model.pt.diag.h5: net/two") > 0


def test_reports_that_differ_in_loss_or_data_are_drawn_with_one_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with -q; the layers that only the base has are a note."""
    other = replace(PROVENANCE, loss="cross_entropy", dataset_digest="ef" * 32, samples=8)
    write_report(folder / "old.h5", [layer("net/one", 0), layer("net/two", 1), layer("net/three", 2)], other)
    assert run(["plot", "model.pt.diag.h5", "--against", "old.h5", "-o", "both.html", "-q"]) == 0
    error = capsys.readouterr().err
    assert error.count("model.pt.diag.h5 is not like old.h5") == 1
    assert "loss mse, was cross_entropy; other data (4 samples, was 8)" in error
    assert "net/three" not in error
    assert "not like old.h5: loss mse, was cross_entropy" in (folder / "both.html").read_text()
    assert run(["plot", "model.pt.diag.h5", "--against", "old.h5", "-o", "both.html"]) == 0
    assert "only in old.h5: net/three" in capsys.readouterr().err


def test_equal_runs_give_equal_bytes(folder: Path) -> None:
    """Neither dates nor random ids."""
    for name in ("a.html", "b.html"):
        assert run(["plot", "model.pt.diag.h5", "-o", name]) == 0
    assert (folder / "a.html").read_bytes() == (folder / "b.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.h5"], "missing.h5"),
        (["empty.h5"], "nothing to plot"),
        (["trace.h5", "-k", "density"], "`curvcli density` computes it"),
        (["model.pt.diag.h5", "-l", "three"], "No layer matches 'three'"),
        (["model.pt.diag.h5", "-p", "bias"], "No parameter matches 'bias'"),
        (["model.pt.diag.h5", "-o", "one.png"], "holds one figure"),
        (["model.pt.diag.h5", "-o", "one.pdf"], ".png, .svg or .html"),
        (["model.pt.diag.h5", "-o", "one.png", "--format", "svg"], "leave --format out"),
        (["model.pt.diag.h5", "-o", "absent/one.html"], "the directory does not exist"),
        (["model.pt.diag.h5", "-l", "two", "--against", "trace.h5"], "no layer in common"),
        (["model.pt.diag.h5", "-k", "pie"], "pie"),
    ],
)
def test_mistakes_are_exit_2_and_say_what_to_do(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One or two lines; no file appears."""
    before = sorted(folder.iterdir())
    assert run(["plot", *words]) == 2
    assert said in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_a_kind_that_is_not_there_is_said_while_the_others_are_drawn(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with -q."""
    assert run(["plot", "trace.h5", "-k", "bars", "-k", "density", "-o", "t.png", "-q"]) == 0
    assert "no density" in capsys.readouterr().err
    assert (folder / "t.png").exists()


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_a_package_the_extra_is_named(
    package: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    monkeypatch.setitem(sys.modules, package, None)
    assert run(["plot", "model.pt.diag.h5"]) == 2
    error = capsys.readouterr().err
    assert f"need {package}" in error
    assert "pip install 'curvcli[plot]'" in error
    assert len(error.splitlines()) == 1


def test_a_config_file_sets_the_options(folder: Path) -> None:
    """As for every command."""
    (folder / "c.toml").write_text('[plot]\nkind = ["bars"]\noutput = "from_config.png"\n')
    assert run(["plot", "model.pt.diag.h5", "--config", "c.toml"]) == 0
    assert (folder / "from_config.png").exists()
