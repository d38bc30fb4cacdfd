"""Reports that earlier versions wrote: they are read and shown as they were, but for what they said wrongly."""

from __future__ import annotations

import csv
import gzip
import io
import json
from math import inf
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from curvcli.report.compare.figures import figures
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.render import render_report

DATA = Path(__file__).with_name("data")


def report_of(folder, version):
    name = f"format_{version.replace('.', '_')}"
    (folder / f"{name}.h5").write_bytes(gzip.decompress((DATA / f"{name}.h5.gz").read_bytes()))
    return read_report(folder / f"{name}.h5")


@pytest.fixture(params=["1.0", "1.1"])
def version(request):
    return request.param


@pytest.fixture
def old(tmp_path, version):
    return report_of(tmp_path, version)


@pytest.fixture
def first(tmp_path):
    """Two layers with a trace and eigenvalues."""
    return report_of(tmp_path, "1.0")


@pytest.fixture
def second(tmp_path):
    """Every estimator, every search for eigenvalues, a split, derivatives by the inputs and checks."""
    return report_of(tmp_path, "1.1")


def rendered(report, form):
    return render_report(report, form, console=Console(file=io.StringIO(), width=20, _environ={}))


def stored(report, ending):
    return (DATA / f"format_{report.format_version.replace('.', '_')}.{ending}").read_text()


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_its_layers_are_read_and_what_came_later_is_empty(first, make_layer):
    assert (first.format_version, first.inputs, first.checks) == ("1.0", (), ())
    assert [(row.name, row.split) for row in first.layers] == [("conv0", ()), ("conv1", ())]
    layer = first.layer("conv1")
    np.testing.assert_array_equal(layer.parameters[0].diagonal, make_layer("conv1", 1).parameters[0].diagonal)
    assert (layer.trace.value, layer.eigen.method, layer.split) == (112.5, "lanczos", None)
    assert first.split("conv1") is None


def test_what_format_1_2_added_is_unknown(second):
    run = second.provenance
    assert (second.format_version, run.threads, run.deterministic, run.verification_passes) == ("1.1", 0, True, 0)
    layer = second.layer("conv")
    for found in (*layer.parameters, layer.trace, second.record("token", "density"), second.record("head", "hessian")):
        assert (found.estimates, found.independent) == (0, False)
        assert np.isnan([found.degrees, found.rounding]).all()
    assert layer.eigen.rounding is None
    assert [(np.isnan(p.verified), p.verification) for p in layer.parameters] == [(True, "")] * 2
    assert len(second.inputs) == 1
    assert len(second.checks) == 3
    assert layer.split is not None


@pytest.mark.parametrize(("form", "ending"), [("table", "txt"), ("markdown", "md")])
def test_it_is_shown_byte_for_byte_as_it_was(old, form, ending):
    assert rendered(old, form) == stored(old, ending)


@pytest.mark.parametrize(("form", "ending"), [("table", "txt"), ("markdown", "md")])
def test_the_same_layers_in_the_present_format_are_shown_the_same(old, tmp_path, form, ending):
    layers = [old.layer(row.name) for row in old.layers]
    inputs = [old.inputs_record(row.name) for row in old.inputs]
    write_report(tmp_path / "new.h5", layers, old.provenance, inputs=inputs, checks=old.checks)
    assert rendered(read_report(tmp_path / "new.h5"), form) == stored(old, ending)


def test_its_csv_is_as_it_was_but_for_ends_of_the_spectrum_that_were_not_searched_for(old):
    """The k-th largest was called the smallest; new columns stand behind the old ones."""
    before, after = rows(stored(old, "csv")), rows(rendered(old, "csv"))
    assert list(after[0])[: len(before[0])] == list(before[0])
    corrected = set()
    for was, now in zip(before, after, strict=True):
        for column, text in was.items():
            if now[column] != text.replace("nan", ""):
                corrected.add((was["layer"], column, now[column]))
    wrong = {
        "1.0": {("conv1", "smallest_eigenvalue", "")},
        "1.1": {("conv", "smallest_eigenvalue", ""), ("token", "top_eigenvalue", "")},
    }
    assert corrected == wrong[old.format_version]
    searches = {"conv": "largest", "token": "smallest", "head": "both", "plain": "magnitude"}
    searches |= {"conv0": "", "conv1": "largest"}
    assert [row["eigen_which"] for row in after] == [searches[row["layer"]] for row in after]


def test_its_json_has_empty_lists_of_what_came_later(first):
    document = json.loads(rendered(first, "json"))
    assert (document["format_version"], document["inputs"], document["checks"]) == ("1.0", [], [])
    assert [layer["split"] for layer in document["layers"]] == [[], []]


def test_its_standard_errors_have_the_degrees_of_freedom_that_its_methods_had(second):
    """Its run had 32 probes: each round of eight lost one degree of freedom, and half of XDiag's were test vectors."""
    wanted = {
        "conv": {"trace": 15, "diagonal_max": 27, "top_eigenvalue": inf},
        "token": {"trace": 15, "diagonal_max": 15, "weight_at_zero": 7},
        "head": {"diagonal_max": 31, "frobenius_norm": 15},
        "plain": {"diagonal_max": inf},
    }
    for name, degrees in wanted.items():
        found = figures(second, second.summary(name))
        assert {quantity: found[quantity].degrees for quantity in degrees} == degrees
    assert figures(second, second.summary("conv"))["trace"].samples is not None
    assert figures(second, second.summary("token"))["trace"].samples is None
