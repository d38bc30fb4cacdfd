"""``export`` as a person or a script uses it: where it writes, what it refuses."""

from __future__ import annotations

import builtins
import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from once import once

from curvcli.cli.main import run
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.layers import LayerRecord, ParameterRecord

from .test_show import CHECKS, FUNCTION, PROVENANCE, layer

Export = Callable[..., tuple[int, str, str]]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    blank = ParameterRecord(label="w", name="blank/w", shape=(2,), axes=("out",))
    layers = [
        layer("conv1", 0, 3.0),
        layer("conv2", 1, -7.5),
        LayerRecord(name="blank", kind="fc", index=2, parameters=(blank,)),
    ]
    return once(
        "export",
        tmp_path / "r.h5",
        lambda path: write_report(path, layers, PROVENANCE, inputs=[FUNCTION], checks=CHECKS),
    )


@pytest.fixture
def export(report: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Export:
    """``export("-o", "x.csv")``: exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        code = run(["export", str(report), *map(str, words)])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "pq", "CSV"])
def test_the_suffix_says_the_format_and_the_path_is_printed(export: Export, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"x.{suffix}"
    assert export("-o", target) == (0, f"{target}\n", "")
    start = target.read_bytes()[:5]
    assert start.startswith({"csv": b"layer", "json": b"{", "parquet": b"PAR1", "pq": b"PAR1", "CSV": b"layer"}[suffix])
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_a_dash_is_standard_output_csv_unless_told_otherwise(export: Export) -> None:
    code, out, err = export("-o", "-")
    assert (code, err) == (0, "")
    assert [row["layer"] for row in csv.DictReader(io.StringIO(out))] == ["conv1", "conv2", "blank"]
    assert out.endswith("\r\n")
    document = json.loads(export("-o", "-", "--format", "json")[1])
    assert [row["trace"] for row in document["rows"]] == [3.0, -7.5, None]


@pytest.mark.parametrize(
    ("name", "rows"), [("layers", 3), ("parameters", 3), ("inputs", 1), ("checks", 2), ("entries", 12)]
)
def test_each_table_has_its_rows(export: Export, tmp_path: Path, name: str, rows: int) -> None:
    assert export("-o", tmp_path / "x.parquet", "--table", name)[0] == 0
    assert len(pd.read_parquet(tmp_path / "x.parquet")) == rows


@pytest.mark.parametrize("name", ["layers", "parameters", "entries"])
def test_patterns_choose_the_layers(export: Export, tmp_path: Path, name: str) -> None:
    assert export("-o", tmp_path / "x.csv", "--table", name, "--layer", "conv*", "--exclude", "conv1")[0] == 0
    assert set(pd.read_csv(tmp_path / "x.csv")["layer"]) == {"conv2"}


def test_what_entries_lack_is_said_unless_quiet(export: Export, tmp_path: Path) -> None:
    note = "left out because neither gradient nor diagonal was computed: blank/w\n"
    assert export("-o", tmp_path / "x.csv", "--table", "entries")[2] == note
    assert export("-o", tmp_path / "x.csv", "--table", "entries", "-q")[2] == ""


def test_without_layers_the_default_is_what_there_is(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    write_report(tmp_path / "c.h5", [], PROVENANCE, checks=CHECKS)
    assert run(["export", str(tmp_path / "c.h5"), "-o", "-"]) == 0
    assert capsysbinary.readouterr().out.startswith(
        b"check,subject,outcome,figure,limit,detail\r\nsymmetry,net/fc,failed"
    )
    write_report(tmp_path / "i.h5", [], PROVENANCE, inputs=[FUNCTION], checks=CHECKS)
    assert run(["export", str(tmp_path / "i.h5"), "-o", "-"]) == 0
    assert capsysbinary.readouterr().out.startswith(b"function,inputs,samples")


def test_a_former_export_is_replaced(export: Export, tmp_path: Path) -> None:
    for name in ("x.csv", "x.json", "x.parquet"):
        assert export("-o", tmp_path / name)[0] == 0
        before = (tmp_path / name).read_bytes()
        assert export("-o", tmp_path / name, "--layer", "conv1")[0] == 0
        assert (tmp_path / name).read_bytes() != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.xlsx"], "exports are .csv, .parquet or .json; for another name, give --format"),
        (["-o", "x"], "exports are .csv, .parquet or .json"),
        (["-o", "x.csv", "--format", "json"], "is a csv file by its name, and --format says json"),
        (["-o", "-", "--format", "parquet"], "Parquet goes to a file"),
        (["-o", "x.csv", "--layer", "conv3"], "No layer matches 'conv3'. Nearest: conv"),
        (["-o", "x.csv", "--table", "checks", "--layer", "conv1"], "--table checks has none"),
        (["-o", "x.csv", "--table", "entries", "--layer", "blank"], "no gradient or diagonal of these layers"),
        (["-o", "x.csv", "--table", "rows"], "'rows'. Choose layers, parameters, inputs, split, checks"),
        (["-o", "missing/x.csv"], "the directory does not exist"),
        ([], "Missing option '--output'"),
    ],
)
def test_a_mistake_is_exit_2_and_nothing_is_written(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, out, err = export(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"\x89HDF\r\n\x1a\n\0\0", "is not a CSV file; refusing to overwrite it"),
        ("x.json", b"PK\x03\x04\0\0", "is not a JSON file; refusing to overwrite it"),
        ("x.parquet", b"layer,trace\r\n", "is not a Parquet file; refusing to overwrite it"),
        ("x.csv", b"PAR1abc", "is not a CSV file; refusing to overwrite it"),
        ("model.pt", b"PK\x03\x04", "is not called .csv; refusing to overwrite it"),
    ],
)
def test_what_is_no_export_is_not_overwritten(
    export: Export, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    words = ["--format", "csv"] if name == "model.pt" else []
    code, _, err = export("-o", tmp_path / name, *words)
    assert code == 2
    assert message in err
    assert (tmp_path / name).read_bytes() == content


def test_neither_the_report_nor_its_model_is_overwritten(
    export: Export, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_text("weights")
    (tmp_path / "x.csv").symlink_to(report)
    (tmp_path / "y.csv").symlink_to("model.pt")
    before = report.read_bytes()
    for target, what in (("x.csv", "the report itself"), ("y.csv", "its model"), (report, "the report itself")):
        code, _, err = export("-o", target, "--format", "csv")
        assert code == 2
        assert f"is {what}: choose another" in err
    assert report.read_bytes() == before


def test_a_directory_is_no_output(export: Export, tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    assert "is a directory" in export("-o", tmp_path / "x.csv")[2]


def test_without_pyarrow_one_line_names_the_extra(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = export("-o", tmp_path / "x.parquet")
    assert (code, err) == (
        2,
        "Error: Parquet needs pyarrow, which is not installed: pip install 'curvcli[export]'\n",
    )
    assert export("-o", tmp_path / "x.csv")[0] == 0


def test_a_report_that_breaks_on_the_way_leaves_what_was_there(export: Export, report: Path, tmp_path: Path) -> None:
    """The kernel's stored chunk is overwritten: its checksum fails when the entries are read."""
    rng = np.random.default_rng(0)
    big = ParameterRecord(
        label="w", name="fc/w", shape=(300, 300), axes=("a", "b"), diagonal=rng.standard_normal((300, 300)), method="m"
    )
    write_report(report, [LayerRecord(name="fc", kind="fc", index=0, parameters=(big,))], PROVENANCE)
    data = bytearray(report.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    report.write_bytes(data)
    (tmp_path / "x.csv").write_text("layer\r\n")
    code, _, err = export("-o", tmp_path / "x.csv", "--table", "entries")
    assert code == 2
    assert "damaged" in err
    assert (tmp_path / "x.csv").read_bytes() == b"layer\r\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.h5", "x.csv"]


def test_a_reader_that_goes_away_is_no_damaged_report(report: Path) -> None:
    rng = np.random.default_rng(0)
    big = ParameterRecord(
        label="w", name="fc/w", shape=(300, 300), axes=("a", "b"), diagonal=rng.standard_normal((300, 300)), method="m"
    )
    write_report(report, [LayerRecord(name="fc", kind="fc", index=0, parameters=(big,))], PROVENANCE)
    words = [sys.executable, "-m", "curvcli", "export", str(report), "-o", "-", "--table", "entries"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_options_may_come_from_a_config_file(export: Export, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[export]\ntable = "checks"\noutput = "-"\n')
    code, out, _ = export("--config", tmp_path / "c.toml")
    assert code == 0
    assert out.startswith("check,")
