"""Exported tables read back with other people's readers: the same values, names and units as in the HDF5."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from once import once

from curvcli.errors import ReportError
from curvcli.report.export.channels import channels_table
from curvcli.report.export.entries import entries_table
from curvcli.report.export.rows import TABLES, rows_table
from curvcli.report.export.write import FORMATS, write_stream
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report

AWKWARD = 'odd "name", with\nnewline'
SMALL = [name for name in TABLES if name not in ("entries", "channels")]


@pytest.fixture
def report(tmp_path, make_layer, make_bare, make_quantity, make_inputs, image, checks, provenance, make_split, studies):  # noqa: PLR0917
    everything = make_layer("net/conv1", 1)
    spectra = {name: make_quantity(name) for name in ("trace", "eigen", "density", "block")}
    nan = np.full((3, 4), np.nan)
    sums = {"channel_sums": np.arange(4.0), "channel_stderr": np.full(4, 0.5)}
    layers = [
        make_layer(AWKWARD, 0, (2, 3, 4), diagonal_stderr=np.full((2, 3, 4), 0.1), exact=False, method="xdiag"),
        replace(everything, **spectra, split=make_split()),
        make_bare("bare", 2, block=make_quantity("block", condition=np.inf)),
        make_layer("broken", 3, diagonal=nan, status="nonfinite"),
    ]

    layers[0] = replace(layers[0], parameters=tuple(replace(p, **sums) for p in layers[0].parameters))

    def write(path):
        write_report(path, layers, provenance, inputs=[make_inputs(), image], checks=checks, studies=studies)

    return read_report(once("tables", tmp_path / "r.h5", write))


def table(report, name):
    if name == "channels":
        return channels_table(report)
    return entries_table(report)[0] if name == "entries" else rows_table(report, name)


def exported(report, name, form):
    stream = io.BytesIO()
    write_stream(table(report, name), stream, form)
    stream.seek(0)
    return stream


def as_csv(report, name):
    """Rows of text, by Python's reader."""
    text = exported(report, name, "csv").getvalue().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def as_json(report, name):
    return json.loads(
        exported(report, name, "json").getvalue(), parse_constant=lambda word: pytest.fail(f"{word} in JSON")
    )


def numbers(stored):
    """A column of CSV text as floats, NaN for empty."""
    return np.array([float(text) if text else np.nan for text in stored])


@pytest.mark.parametrize(
    ("name", "group", "columns"),
    [
        ("layers", "summary", "gradient_norm trace diagonal_min negative_share trace_stderr top_eigenvalue".split()),
        ("layers", "summary", "condition_number frobenius_norm weight_at_zero support_max index products".split()),
        ("parameters", "parameters", "gradient_norm trace diagonal_mean diagonal_relative_stderr products".split()),
        ("inputs", "inputs_summary", "samples laplacian_mean laplacian_stderr_mean residual_rms diagonal_max".split()),
        ("checks", "checks", ["figure", "limit"]),
        ("split", "split_parts", ["product_norm", "relative_difference", "difference", "passes"]),
    ],
)
def test_numbers_are_the_reports_to_the_last_bit(report, name, group, columns):
    with h5py.File(report.path) as file:
        for column in columns:
            stored = np.asarray(file[group][column][...], dtype=np.float64)
            finite = np.where(np.isfinite(stored), stored, np.nan)
            found = pd.read_parquet(exported(report, name, "parquet"))[column].astype(float)
            np.testing.assert_array_equal(found, stored)
            np.testing.assert_array_equal(numbers([row[column] for row in as_csv(report, name)]), stored)
            rows = as_json(report, name)["rows"]
            np.testing.assert_array_equal([np.nan if r[column] is None else r[column] for r in rows], finite)


@pytest.mark.parametrize("name", TABLES)
def test_every_format_has_the_same_columns_and_rows(report, name):
    document = as_json(report, name)
    columns = [column["name"] for column in document["columns"]]
    assert list(as_csv(report, name)[0]) == columns
    frame = pd.read_parquet(exported(report, name, "parquet"))
    assert list(frame.columns) == columns
    assert len(as_csv(report, name)) == len(document["rows"]) == len(frame)
    assert {tuple(row) for row in document["rows"]} == {tuple(columns)}


def test_csv_is_rfc_4180_and_pandas_reads_it_back(report):
    data = exported(report, "layers", "csv").getvalue()
    assert data.count(b"\r\n") == 5
    assert data.decode().splitlines()[1].startswith('"odd ""name"", with')
    frame = pd.read_csv(io.BytesIO(data))
    assert list(frame["layer"]) == [row.name for row in report.layers]
    np.testing.assert_array_equal(frame["trace"], [row.trace for row in report.layers])
    assert list(frame["exact"]) == [False, False, True, True]


def test_csv_is_empty_where_nothing_was_computed_or_nan_came_out(report):
    bare, broken = as_csv(report, "layers")[2:]
    assert [bare[name] for name in ("trace", "trace_method", "eigenvalue_count", "eigenvalues")] == [""] * 4
    assert (broken["trace"], broken["status"]) == ("", "nonfinite")
    assert bare["condition_number"] == "inf"


def test_what_was_not_computed_is_none_beside_what_came_out_as_nan(tmp_path, make_bare, make_quantity, provenance):
    """The status of a layer is of all of it; which number is of a computation is another question."""
    trace = make_quantity("trace", value=np.nan)
    layer = make_bare("broken", trace=trace, status="nonfinite")
    write_report(tmp_path / "n.h5", [layer], provenance)
    (batch,) = rows_table(read_report(tmp_path / "n.h5"), "layers").batches
    assert np.isnan(batch.columns["trace"][0])
    for name in ("gradient_norm", "diagonal_max", "negative_share", "top_eigenvalue", "support_max"):
        assert batch.columns[name][0] is None


def test_parquet_tells_what_was_not_computed_from_what_came_out_as_nan(report):
    trace = pq.read_table(exported(report, "layers", "parquet"))["trace"]
    assert trace.is_null().to_pylist() == [False, False, True, False]
    assert np.isnan(trace[3].as_py())


def test_lists_are_lists_where_the_format_has_them(report):
    values = list(report.layers[1].eigenvalues)
    assert pq.read_table(exported(report, "layers", "parquet"))["eigenvalues"][1].as_py() == values
    assert as_json(report, "layers")["rows"][1]["eigenvalues"] == values
    assert [float(text) for text in as_csv(report, "layers")[1]["eigenvalues"].split(" ")] == values
    assert as_csv(report, "parameters")[0]["shape"] == "2 3 4"
    assert as_json(report, "parameters")["rows"][0]["axes"] == ["axis0", "axis1", "axis2"]
    assert as_json(report, "layers")["rows"][1]["negative_eigenvalues"] == 15


def test_json_says_what_it_is_and_where_it_comes_from(report):
    document = as_json(report, "layers")
    assert list(document) == ["format", "schema_version", "table", "report", "columns", "rows"]
    assert (document["format"], document["schema_version"], document["table"]) == ("curvcli-export", "1.0", "layers")
    assert document["report"]["provenance"]["model_sha256"] == report.provenance.model_sha256
    described = {column["name"]: column for column in document["columns"]}
    assert described["trace"] == {
        "name": "trace",
        "type": "number",
        "long_name": "trace of the Hessian",
        "units": "loss/parameter²",
    }


def test_parquet_has_units_long_names_and_origin_in_its_schema(report):
    schema = pq.read_schema(exported(report, "layers", "parquet"))
    with h5py.File(report.path) as file:
        for name in ("trace", "negative_share", "top_eigenvalue"):
            attributes = file["summary"][name].attrs
            expected = {b"long_name": attributes["long_name"].encode(), b"units": attributes["units"].encode()}
            assert schema.field(name).metadata == expected
    about = json.loads(schema.metadata[b"curvcli"])
    assert (about["schema_version"], about["table"]) == ("1.0", "layers")
    assert about["report"]["provenance"]["dataset_digest"] == report.provenance.dataset_digest
    assert str(schema.field("exact").type) == "bool"
    assert str(schema.field("index").type) == "int64"


@pytest.mark.parametrize("name", SMALL)
def test_every_column_says_what_it_is(report, name):
    assert [field.name for field in table(report, name).fields if not field.long_name] == []


def test_channels_are_the_sums_with_their_errors(report):
    rows = as_csv(report, "channels")
    assert [(row["layer"], row["channel"], row["sum"]) for row in rows[:4]] == [
        (AWKWARD, str(i), str(float(i))) for i in range(4)
    ]
    assert {row["stderr"] for row in rows} == {"0.5"}


def test_entries_are_the_arrays_in_long_form(report):
    frame = pd.read_parquet(exported(report, "entries", "parquet"))
    with h5py.File(report.path) as file:
        for layer in ("net%2Fconv1", AWKWARD):
            for label in ("kernel", "bias"):
                name = layer.replace("%2F", "/")
                rows = frame[(frame["layer"] == name) & (frame["parameter"] == label)]
                for quantity in ("gradient", "diagonal"):
                    stored = file["layers"][layer][quantity][label][...]
                    places = tuple(rows[f"index_{axis}"].astype(int) for axis in range(stored.ndim))
                    np.testing.assert_array_equal(rows[quantity], stored[places])
                    np.testing.assert_array_equal(rows[quantity], stored.reshape(-1))  # in the array's own order
                assert rows[[f"index_{axis}" for axis in range(stored.ndim, 3)]].isna().all().all()


def test_entries_of_one_precision_keep_it_and_csv_and_json_have_the_same(report):
    frame = pd.read_parquet(exported(report, "entries", "parquet"))
    assert (frame["gradient"].dtype, frame["diagonal"].dtype) == (np.float32, np.float64)
    for column in ("gradient", "diagonal", "diagonal_stderr"):
        np.testing.assert_array_equal(numbers([row[column] for row in as_csv(report, "entries")]), frame[column])
        rows = as_json(report, "entries")["rows"]
        np.testing.assert_array_equal([np.nan if r[column] is None else r[column] for r in rows], frame[column])


def test_an_exact_diagonal_has_no_standard_error_and_an_empty_parameter_is_left_out(report):
    found, left_out = entries_table(report)
    assert left_out == ["bare/kernel", "bare/bias"]
    frame = pd.read_parquet(exported(report, "entries", "parquet"))
    errors = frame.set_index(["layer", "parameter"])["diagonal_stderr"]
    assert (errors.loc[(AWKWARD, "kernel")] == 0.1).all()
    assert errors.loc[("net/conv1", "kernel")].isna().all()
    assert {field.name: field.units for field in found.fields}["diagonal"] == "loss/parameter²"


def test_a_large_parameter_comes_in_pieces_that_join_to_the_whole(tmp_path, make_layer, provenance):
    """Rows of a length that no piece divides, in chunks that differ between gradient and diagonal."""
    shape = (3, 517, 611)
    diagonal = np.random.default_rng(0).standard_normal(shape)
    layer = make_layer("conv", 0, shape, gradient=diagonal.astype(np.float32), diagonal=diagonal)
    write_report(tmp_path / "r.h5", [layer], provenance)
    report = read_report(tmp_path / "r.h5")
    batches = list(table(report, "entries").batches)
    assert len(batches) > 8
    assert max(batch.size for batch in batches) <= 1 << 17
    frame = pd.read_parquet(exported(report, "entries", "parquet"))
    kernel = frame[frame["parameter"] == "kernel"]
    np.testing.assert_array_equal(kernel["diagonal"], diagonal.reshape(-1))
    places = np.ravel_multi_index([kernel[f"index_{axis}"].astype(int) for axis in range(3)], shape)
    np.testing.assert_array_equal(places, np.arange(diagonal.size))


def test_scalars_and_empty_parameters_have_their_rows(tmp_path, make_layer, provenance):
    scalar = make_layer("scale", 0)
    one, bias = scalar.parameters
    one = replace(one, shape=(), axes=(), gradient=np.array(0.5), diagonal=np.array(-2.0))
    none = replace(bias, shape=(0,), gradient=np.zeros(0), diagonal=np.zeros(0))
    write_report(tmp_path / "r.h5", [replace(scalar, parameters=(one, none))], provenance)
    (row,) = as_csv(read_report(tmp_path / "r.h5"), "entries")
    assert row == {
        "layer": "scale",
        "parameter": "kernel",
        "index_0": "",
        "gradient": "0.5",
        "diagonal": "-2.0",
        "diagonal_stderr": "",
    }


def test_no_entries_at_all_is_an_error(tmp_path, make_bare, provenance):
    write_report(tmp_path / "r.h5", [make_bare()], provenance)
    with pytest.raises(ReportError, match="no gradient or diagonal of these layers"):
        entries_table(read_report(tmp_path / "r.h5"))


@pytest.mark.parametrize("form", FORMATS)
def test_equal_reports_give_equal_bytes(report, form):
    assert exported(report, "parameters", form).getvalue() == exported(report, "parameters", form).getvalue()
