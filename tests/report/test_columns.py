"""A column that is added to the table of columns stands wherever a report is written, read, shown, judged or drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pyarrow.parquet as pq
import pytest

from curvcli.report import columns
from curvcli.report.compare.figure import COMPARED, ONLY_BOUNDED
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.report.table import Column, Table

# The entry, and the place where its number is computed: all that is added. The rest uses it as a person would.
ADDED = """
import sys
from dataclasses import replace
from curvcli.report import columns
from curvcli.report.table import Column, Heading
columns.LAYERS = replace(columns.LAYERS, columns=(*columns.LAYERS.columns, Column(
    "trace_per_entry", "number", "mean eigenvalue of the {}", "loss/parameter²", "diagonal",
    Heading("mean eigenvalue", 85), role="property", plotted=True, later=True,
    value=lambda row: row.trace / row.parameter_count,
)))
"""
USED = """
from pathlib import Path
import numpy as np
from curvcli.cli.main import run
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance

def written(name, value):
    kernel = ParameterRecord(label="kernel", name="conv/kernel", shape=(2,), axes=("out",), method="columns",
                             exact=True, gradient=np.ones(2), diagonal=np.full(2, value))
    layer = LayerRecord(name="conv", kind="conv", index=0, parameters=(kernel,))
    write_report(Path(name), [layer], Provenance(
        model_path="m.pt", model_sha256="", dataset_digest="", spec_text="", config_json="{}", command_line="",
        backend="torch", device="cpu", dtype="float64", seed=0, loss="mse", reduction="mean", samples=1,
        denominator=1.0, loss_value=0.5))

written("old.h5", 1.5)
written("new.h5", 6.0)
for words in sys.stdin.read().splitlines():
    print("$", words, flush=True)
    code = run(words.split())
    print("=", code, flush=True)
"""
NAME = "trace_per_entry"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, str]]]:
    """What each command says of two reports whose new column is 1.5 and 6."""
    folder = tmp_path_factory.mktemp("added")
    commands = [
        "show new.h5",
        "show new.h5 --format json",
        "show new.h5 --format csv",
        "show new.h5 --format markdown",
        "show new.h5 --sort trace-per-entry",
        f"show new.h5 --get conv/{NAME}",
        "export new.h5 -o layers.parquet",
        "export new.h5 -o - --format json",
        f"compare old.h5 new.h5 --quantity {NAME}",
        f"assert new.h5 --max {NAME}=5",
        "plot new.h5 --kind bars -o bars.svg",
    ]
    run = subprocess.run(
        [sys.executable, "-P", "-c", ADDED + USED],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    found = {}
    for part in run.stdout.split("$ ")[1:]:
        words, _, text = part.partition("\n")
        text, _, code = text.rpartition("= ")
        found[words] = (int(code), text)
    assert list(found) == commands, run.stderr
    return folder, found


def test_it_is_in_the_hdf5_with_its_unit_and_long_name(said):
    with h5py.File(said[0] / "new.h5") as file:
        dataset = file["summary"][NAME]
        assert dataset[()].tolist() == [6.0]
        assert dict(dataset.attrs)["units"] == "loss/parameter²"
        assert dict(dataset.attrs)["long_name"] == "mean eigenvalue of the Hessian"


def test_it_is_shown_in_every_format_and_sorted_by(said):
    _, found = said
    table = next(line for line in found["show new.h5"][1].splitlines() if line.startswith("layer "))
    assert "trace  mean eigenvalue" in table
    assert json.loads(found["show new.h5 --format json"][1])["layers"][0][NAME] == 6.0
    header, row = found["show new.h5 --format csv"][1].splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))[NAME] == "6.0"
    assert "| mean eigenvalue |" in found["show new.h5 --format markdown"][1]
    assert "by trace_per_entry, largest first" in found["show new.h5 --sort trace-per-entry"][1]
    assert found[f"show new.h5 --get conv/{NAME}"] == (0, "6.0\n")


def test_it_is_exported(said):
    folder, found = said
    table = pq.read_table(folder / "layers.parquet")
    assert table[NAME].to_pylist() == [6.0]
    assert table.schema.field(NAME).metadata[b"units"].decode() == "loss/parameter²"
    assert json.loads(found["export new.h5 -o - --format json"][1])["rows"][0][NAME] == 6.0


def test_it_is_compared_and_held_against_a_threshold(said):
    _, found = said
    code, text = found[f"compare old.h5 new.h5 --quantity {NAME}"]
    assert (code, "changed" in text, "+300.0%" in text) == (1, True, True)
    code, text = found[f"assert new.h5 --max {NAME}=5"]
    assert (code, f"{NAME} ≤ 5" in text) == (1, True)


def test_it_is_drawn(said):
    code, _ = said[1]["plot new.h5 --kind bars -o bars.svg"]
    assert code == 0
    assert "trace per entry of conv: 6" in (said[0] / "bars.svg").read_text()


TABLES = [columns.LAYERS, columns.PARAMETERS, columns.INPUTS, columns.SPLIT, columns.CHECKS]
EVERY = [column for table in TABLES for column in table.columns]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_names_and_places_in_a_table_are_given_once(table: Table) -> None:
    for values in (
        [column.name for column in table.columns],
        [column.heading.place for column in table.columns if column.heading is not None],
    ):
        assert len(values) == len(set(values))


@pytest.mark.parametrize("column", EVERY, ids=lambda column: column.name)
def test_a_column_says_what_it_is_and_in_which_unit(column: Column) -> None:
    assert column.long_name
    numeric = column.kind in {"number", "share", "count", "flag", "numbers", "signs"}
    assert bool(column.unit) == numeric


@pytest.mark.parametrize(
    ("table", "record"),
    [(columns.LAYERS, LayerSummary), (columns.PARAMETERS, ParameterSummary), (columns.INPUTS, InputsSummary)],
)
def test_a_stored_column_is_a_field_of_the_record_it_is_read_into(table: Table, record: type) -> None:
    fields = set(record.__dataclass_fields__)
    assert {column.name for column in table.inside("hdf5") if column.value is None} <= fields


def test_what_can_be_compared_and_judged_are_different_columns() -> None:
    assert not set(COMPARED) & set(ONLY_BOUNDED)
    assert {"trace", "top_eigenvalue", "condition_number"} < set(COMPARED)
    assert {"trace_stderr", "largest_residual", "products"} < set(ONLY_BOUNDED)
