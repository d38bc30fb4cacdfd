"""Checks: what is refused, and that they come back as they were."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray

from curvcli.errors import ReportError
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.checks import CheckRecord


@pytest.fixture
def path(tmp_path, checks, provenance):
    write_report(tmp_path / "r.h5", [], provenance, checks=checks)
    return tmp_path / "r.h5"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"outcome": "maybe"}, "is not one of passed, failed, skipped"), ({"name": ""}, "has no name")],
)
def test_a_check_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CheckRecord(**({"name": "symmetry", "subject": "conv", "outcome": "passed"} | change))


def test_checks_come_back_in_their_order_with_nan_where_nothing_was_measured(path, checks):
    found = read_report(path).checks
    assert found[:2] == checks[:2]
    assert (found[2].name, found[2].outcome, found[2].detail) == ("batches", "skipped", "one batch only | of 5")
    assert np.isnan([found[2].figure, found[2].limit]).all()


def test_checks_open_in_xarray_with_codes_that_explain_themselves(path):
    with xarray.open_dataset(path, group="checks", engine="h5netcdf") as table:
        assert list(table.coords["check"].values) == ["gradient", "symmetry", "batches"]
        assert list(table["outcome"].values) == [1, 2, 3]
        assert table["outcome"].attrs["flag_meanings"] == "passed failed skipped"
        assert float(table.sel(check="symmetry")["figure"]) == 0.25


def test_one_check_of_several_subjects_stands_several_times(tmp_path, provenance):
    twice = [CheckRecord(name="symmetry", subject=layer, outcome="passed", figure=0.0, limit=1.0) for layer in "ab"]
    write_report(tmp_path / "r.h5", [], provenance, checks=iter(twice))
    assert read_report(tmp_path / "r.h5").checks == tuple(twice)


def test_text_that_hdf5_cannot_hold_is_made_storable(tmp_path, provenance):
    odd = CheckRecord(name="n", subject="m\udcff.pt", outcome="failed", figure=0.0, limit=0.0, detail="a\0b")
    write_report(tmp_path / "r.h5", [], provenance, checks=[odd])
    (found,) = read_report(tmp_path / "r.h5").checks
    assert (found.subject, found.detail) == ("m\N{REPLACEMENT CHARACTER}.pt", "a\N{REPLACEMENT CHARACTER}b")


def test_content_digest_sees_another_outcome(tmp_path, path, checks, provenance):
    failed = [
        checks[0],
        checks[1],
        CheckRecord(name="batches", subject="data", outcome="failed", detail=checks[2].detail),
    ]
    write_report(tmp_path / "other.h5", [], provenance, checks=failed)
    assert content_digest(path) != content_digest(tmp_path / "other.h5")


def test_an_outcome_that_no_check_can_have_is_damage(path):
    with h5py.File(path, "a") as file:
        file["checks/outcome"][0] = 9
    with pytest.raises(ReportError, match="damaged"):
        read_report(path)
