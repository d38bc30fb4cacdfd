"""When two reports are equal: in bytes with a fixed clock, in content without."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.write import write_report


def test_with_source_date_epoch_equal_work_gives_equal_bytes(tmp_path, make_layer, provenance, fixed_clock):
    layers = [make_layer("a", 0, (300, 200)), make_layer("b", 1)]
    write_report(tmp_path / "first.h5", layers, provenance)
    time.sleep(1.1)
    write_report(tmp_path / "second.h5", [replace(layer, seconds=99.0) for layer in layers], provenance)
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


def test_without_it_equal_work_gives_equal_content(tmp_path, layers, provenance):
    write_report(tmp_path / "first.h5", layers, provenance)
    time.sleep(1.1)
    write_report(tmp_path / "second.h5", [replace(layer, seconds=99.0) for layer in layers], provenance)
    assert (tmp_path / "first.h5").read_bytes() != (tmp_path / "second.h5").read_bytes()
    assert content_digest(tmp_path / "first.h5") == content_digest(tmp_path / "second.h5")


@pytest.mark.parametrize("change", [{"reason": "other"}, {"products": 11}, {"axes": ("x", "y")}, {"exact": False}])
def test_content_digest_sees_every_change(tmp_path, make_layer, provenance, change):
    write_report(tmp_path / "first.h5", [make_layer("a")], provenance)
    write_report(tmp_path / "second.h5", [make_layer("a", **change)], provenance)
    assert content_digest(tmp_path / "first.h5") != content_digest(tmp_path / "second.h5")


def test_content_digest_sees_one_changed_bit_of_an_array(tmp_path, make_layer, provenance):
    layer = make_layer("a")
    changed = layer.parameters[0].diagonal.copy()
    changed[2, 3] = np.nextafter(changed[2, 3], 1.0)
    write_report(tmp_path / "first.h5", [layer], provenance)
    write_report(tmp_path / "second.h5", [make_layer("a", diagonal=changed)], provenance)
    assert content_digest(tmp_path / "first.h5") != content_digest(tmp_path / "second.h5")
