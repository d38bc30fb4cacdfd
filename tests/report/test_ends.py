"""Which ends of a spectrum there are: an end has a column only if its search was made."""

from __future__ import annotations

import csv
import io
import json
from math import isnan

import numpy as np
import pytest
from rich.console import Console

from curvcli.errors import UsageError
from curvcli.report.compare.figures import figures
from curvcli.report.export.rows import rows_table
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.lookup import lookup
from curvcli.report.records.ends import LARGEST, SMALLEST, ends
from curvcli.report.render import render_report
from curvcli.report.render.view import arranged

SEARCHES = [
    ("largest", [3.0, 2.0, 1.0], True, False),
    ("largest", [3.0], True, False),
    ("smallest", [3.0, 2.0, 1.0], False, True),
    ("smallest", [1.0], False, True),
    ("both", [3.0, 2.0, -1.0], True, True),
    ("both", [3.0], False, False),
    ("magnitude", [3.0, 2.0, 1.0], True, False),
    ("magnitude", [3.0, -2.0, -4.0], True, True),
    ("magnitude", [-1.0, -2.0, -4.0], False, True),
    ("magnitude", [0.0], False, False),
    ("largest", [], False, False),
]


@pytest.mark.parametrize(("which", "values", "top", "smallest"), SEARCHES)
def test_an_end_is_known_where_it_was_searched_for(which, values, top, smallest):
    assert ends(which, values, 16) == {end for end, there in ((LARGEST, top), (SMALLEST, smallest)) if there}


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
def test_of_all_eigenvalues_the_first_and_the_last_are_the_ends(which):
    assert ends(which, [3.0, 2.0, 1.0], 3) == {LARGEST, SMALLEST}
    assert ends(which, [3.0], 1) == {LARGEST, SMALLEST}


@pytest.fixture
def written(tmp_path, make_bare, make_quantity, provenance):
    def write(which, values, **changes):
        count = len(values)
        common = {"residuals": np.zeros(count), "converged": np.ones(count, bool), "vectors": None, "which": which}
        eigen = make_quantity("eigen", **common, values=np.array(values))
        write_report(tmp_path / "r.h5", [make_bare("conv", eigen=eigen, **changes)], provenance)
        return read_report(tmp_path / "r.h5")

    return write


@pytest.mark.parametrize(("which", "values", "top", "smallest"), SEARCHES)
def test_every_output_has_an_end_or_says_that_it_was_not_computed(written, which, values, top, smallest):
    report = written(which, values)
    (row,) = report.layers
    (document,) = json.loads(render_report(report, "json", console=Console()))["layers"]
    (line,) = csv.DictReader(io.StringIO(render_report(report, "csv", console=Console())))
    (batch,) = rows_table(report, "layers").batches
    known = figures(report, row)
    for name, there, place in (("top_eigenvalue", top, 0), ("smallest_eigenvalue", smallest, -1)):
        value = values[place] if there else None
        found = getattr(row, name)
        assert (None if isnan(found) else found) == value
        assert document[name] == value
        assert line[name] == ("" if value is None else repr(value))
        assert batch.columns[name] == [value]
        assert (known[name].value if name in known else None) == value
        if there:
            assert lookup(report, f"conv/{name}", lambda names, pattern: []) == value
        else:
            with pytest.raises(UsageError, match=f"{name} was not computed .`curvcli eigs"):
                lookup(report, f"conv/{name}", lambda names, pattern: [])
            with pytest.raises(UsageError, match="nothing to sort by"):
                arranged(report, sort=name)
    assert (document["eigen_which"], line["eigen_which"]) == (which, which)


def test_every_value_is_compared_by_the_name_it_deserves(written):
    """Ranks count from the largest that was computed."""
    assert list(figures(*opened(written("largest", [3.0, 2.0, 1.0])))) == [
        "top_eigenvalue",
        "eigenvalue_2",
        "eigenvalue_3",
    ]
    assert list(figures(*opened(written("smallest", [3.0, 2.0, 1.0])))) == [
        "eigenvalue_1",
        "eigenvalue_2",
        "smallest_eigenvalue",
    ]
    assert list(figures(*opened(written("both", [3.0, 1.0])))) == ["top_eigenvalue", "smallest_eigenvalue"]


def opened(report):
    return report, report.layers[0]


def test_an_end_that_is_not_a_number_came_out_and_one_not_searched_for_did_not(written):
    report = written("largest", [np.nan, np.nan], status="nonfinite")
    (batch,) = rows_table(report, "layers").batches
    assert isnan(batch.columns["top_eigenvalue"][0])
    assert batch.columns["smallest_eigenvalue"] == [None]
