"""A report that the first version wrote, two layers with a trace and eigenvalues: it is read and shown as it was."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from curvcli.report.read import read_report
from curvcli.report.render import render_report
from curvcli.report.write import write_report

DATA = Path(__file__).with_name("data")


@pytest.fixture
def old(tmp_path):
    (tmp_path / "old.h5").write_bytes(gzip.decompress((DATA / "format_1_0.h5.gz").read_bytes()))
    return read_report(tmp_path / "old.h5")


def rendered(report, form):
    return render_report(report, form, console=Console(file=io.StringIO(), width=20, _environ={}))


def test_its_layers_are_read_and_what_came_later_is_empty(old, make_layer):
    assert (old.format_version, old.inputs, old.checks) == ("1.0", (), ())
    assert [(row.name, row.split) for row in old.layers] == [("conv0", ()), ("conv1", ())]
    layer = old.layer("conv1")
    np.testing.assert_array_equal(layer.parameters[0].diagonal, make_layer("conv1", 1).parameters[0].diagonal)
    assert (layer.trace.value, layer.eigen.method, layer.split) == (112.5, "lanczos", None)
    assert old.split("conv1") is None


@pytest.mark.parametrize(("form", "ending"), [("table", "txt"), ("csv", "csv"), ("markdown", "md")])
def test_it_is_shown_byte_for_byte_as_it_was(old, form, ending):
    assert rendered(old, form) == (DATA / f"format_1_0.{ending}").read_text()


@pytest.mark.parametrize(("form", "ending"), [("table", "txt"), ("csv", "csv"), ("markdown", "md")])
def test_the_same_layers_in_the_present_format_are_shown_the_same(old, tmp_path, form, ending):
    layers = [old.layer(row.name) for row in old.layers]
    write_report(tmp_path / "new.h5", layers, old.provenance)
    assert rendered(read_report(tmp_path / "new.h5"), form) == (DATA / f"format_1_0.{ending}").read_text()


def test_its_json_has_empty_lists_of_what_came_later(old):
    document = json.loads(rendered(old, "json"))
    assert (document["format_version"], document["inputs"], document["checks"]) == ("1.0", [], [])
    assert [layer["split"] for layer in document["layers"]] == [[], []]
