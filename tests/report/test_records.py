"""Records refuse what a report could not hold, and derive what a layer says from its parameters."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.report.records.layers import LayerRecord, ParameterRecord


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradient": np.zeros((2, 2))}, "gradient has shape"),
        ({"diagonal": np.zeros((2, 3), dtype=np.float16)}, "reports keep float32 and float64"),
        ({"axes": ("in",)}, "don't name the axes"),
        ({"axes": ("in", "two words")}, "don't name the axes"),
        ({"status": "pending"}, "is not one of"),
        ({"diagonal_stderr": np.zeros((2, 3))}, "needs its diagonal"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ParameterRecord(**({"label": "w", "name": "a/w", "shape": (2, 3), "axes": ("in", "out")} | change))


def test_twice_the_same_label_is_refused():
    one = ParameterRecord(label="w", name="a/w", shape=(), axes=())
    with pytest.raises(ValueError, match="not distinct"):
        LayerRecord(name="a", kind="dense", index=0, parameters=(one, one))


def test_a_layer_sums_up_its_parameters(make_layer):
    layer = make_layer("a", exact=False, method="probes")
    assert (layer.parameter_count, layer.method, layer.exact, layer.products) == (16, "probes+columns", False, 20)
