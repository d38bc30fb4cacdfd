"""Studies in a report: every table of each comes back, is shown, found by path, and compared."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from rich.console import Console

from curvcli.errors import ReportError, UsageError
from curvcli.report.compare.change import Tolerances
from curvcli.report.compare.comparison import compare
from curvcli.report.compare.subjects import subjects
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.lookup import lookup
from curvcli.report.render import render_report
from curvcli.report.render.view import arranged
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.registry import STUDIES, TABLES

CONSOLE = Console(width=200)


@pytest.fixture
def report(tmp_path, studies, provenance):
    write_report(tmp_path / "s.h5", [], provenance, studies=studies)
    return read_report(tmp_path / "s.h5")


def nothing(names, pattern):
    raise UsageError(f"no {pattern}")


def test_every_study_comes_back_with_its_arrays(report, studies):
    for record in studies:
        back = report.study(record.name)
        assert (back.status, back.exact, back.reason, back.passes) == ("done", True, "", 7)
        for group, rows in record.tables.items():
            assert [(row.name, row.values) for row in back.tables[group]] == [(row.name, row.values) for row in rows]
        assert [array.name for array in back.arrays] == ["b/x", "a"] == report.study_arrays(record.name)
        for array, kept in zip(back.arrays, record.arrays, strict=True):
            np.testing.assert_array_equal(array.values, kept.values)
            assert (array.axes, array.long_name, array.unit) == (kept.axes, kept.long_name, kept.unit)
        np.testing.assert_array_equal(report.study_array(record.name, "b/x"), record.arrays[0].values)


def test_what_is_not_there_is_named(report):
    for call in (report.study, report.study_arrays, lambda name: report.study_array(name, "a")):
        with pytest.raises(ReportError, match="no study 'slcie'"):
            call("slcie")
    with pytest.raises(ReportError, match="no array 'loss'"):
        report.study_array("slice", "loss")


def test_every_dataset_has_dimensions_a_name_and_units(report):
    """Whoever opens the file alone sees what stands in it."""

    def look(name, item):
        if isinstance(item, h5py.Dataset) and not item.is_scale:
            assert item.attrs["long_name"], name
            assert all(len(dim) for dim in item.dims), name
            coded = "flag_meanings" in item.attrs
            assert item.dtype.kind == "O" or item.attrs.get("units") or coded, name

    with h5py.File(report.path) as file:
        file["studies"].visititems(look)


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_it_is_shown(report, form):
    text = render_report(report, form, console=CONSOLE)
    assert "net/conv1" in text
    if form == "json":
        document = json.loads(text)["studies"]
        assert list(document) == list(STUDIES)
        for name, study in STUDIES.items():
            for table in study.tables:
                row = document[name][table.group][0]
                assert set(row) == {"name", *(column.name for column in table.inside("json"))}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.group)
def test_every_value_has_a_path(report, studies, table):
    (row,) = [row for study in studies for row in study.tables.get(table.group, ()) if row.name == "net/conv1"]
    for column in table.inside("json"):
        value = lookup(report, f"{table.group}/net/conv1/{column.name}", nothing)
        assert value == (list(row.values[column.name]) if column.kind in {"shape", "words"} else column.of_row(row))
    with pytest.raises(UsageError, match="no value"):
        lookup(report, f"{table.group}/net/conv1/nothing", nothing)


def test_arrays_have_a_path(report, studies):
    for record in studies:
        assert lookup(report, f"studies/{record.name}/b/x", nothing) == record.arrays[0].values.tolist()


def test_rows_are_sorted_and_cut(report):
    shown, view = arranged(report, top=1, reverse=True)
    first = STUDIES[shown.studies[0].name].tables[0].group
    assert [row.name for row in shown.studies[0].tables[first]] == ["net/conv1"]
    assert view.footer == ("1 of 2 rows",)


def test_a_change_is_a_change(tmp_path, report, studies, provenance):
    """Every property of every table is compared; nothing else is."""
    same = compare(report, report, Tolerances())
    properties = {(t.group, c.name) for t in TABLES.values() for c in t.columns if c.role == "property"}
    assert {(change.layer.split("/")[0], change.quantity) for change in same.changes if change.layer} == properties
    assert same.verdict == "same"
    for table in TABLES.values():
        column = next((c for c in table.columns if c.role == "property" and c.kind == "number"), None)
        if column is None:
            continue
        changed = [
            replace(
                record,
                tables={
                    group: tuple(
                        study_row(TABLES[group], row.name, **{**row.values, column.name: 99.0})
                        if group == table.group
                        else row
                        for row in rows
                    )
                    for group, rows in record.tables.items()
                },
            )
            for record in studies
        ]
        write_report(tmp_path / "other.h5", [], provenance, studies=changed)
        outcome = compare(report, read_report(tmp_path / "other.h5"), Tolerances())
        assert {(c.layer.split("/")[0], c.quantity) for c in outcome.changes if c.outcome == "changed"} == {
            (table.group, column.name)
        }


@pytest.mark.parametrize(
    "table", [t for t in TABLES.values() if any(c.defines for c in t.columns)], ids=lambda t: t.group
)
def test_what_is_defined_otherwise_is_not_compared(table, tmp_path, report, studies, provenance):
    """Refused by the name of the row, and left out where that is allowed."""
    column = next(c for c in table.columns if c.defines)

    def redefined(rows):
        return tuple(study_row(table, row.name, **{**row.values, column.name: "something else"}) for row in rows)

    changed = [
        replace(one, tables={g: redefined(rows) if g == table.group else rows for g, rows in one.tables.items()})
        for one in studies
    ]
    write_report(tmp_path / "other.h5", [], provenance, studies=changed)
    other = read_report(tmp_path / "other.h5")
    with pytest.raises(UsageError, match=rf"{table.group}/.* is (.*; )?something else(;.*)?, was"):
        compare(report, other, Tolerances())
    outcome = compare(report, other, Tolerances(), allow_mismatch=True)
    assert {c.layer.split("/")[0] for c in outcome.changes if c.layer} == {
        t.group for t in TABLES.values() if t != table and any(c.role == "property" for c in t.columns)
    }


def test_names_of_tables_are_those_of_no_other(report):
    groups = [table.group for study in STUDIES.values() for table in study.tables]
    assert len(set(groups)) == len(groups)
    assert all(name.split("/")[0] in TABLES for name in subjects(report))


def test_a_study_of_a_later_version_is_left_alone(report):
    with h5py.File(report.path, "r+") as file:
        file["studies"].create_group("of the future")
    assert [study.name for study in read_report(report.path).studies] == list(STUDIES)


def test_a_row_is_of_its_table():
    table = next(iter(TABLES.values()))
    with pytest.raises(ValueError, match="has no columns"):
        study_row(table, "a", nonsense=1)
