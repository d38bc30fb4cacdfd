"""What the figures of a trained network's activations are good for: the order of layers by what rounding costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from digits_network import accuracy, saved, trained

import curvcli

from .conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("of", ["output", "input"])
def test_a_network_trained_to_98_per_cent(tmp_path: Path, of: str) -> None:
    """The quadratic model orders the layers as the measured rises do, better than rounding errors."""
    network = trained()
    assert accuracy(network) >= 0.98
    study = curvcli.activations(saved(network, tmp_path), of=of, bits=(8, 6, 5, 4), dtype="float64")
    assert study.exact
    for row in study.table("activation_ranks").values():
        print(row.name, row.z_rank_predicted, row.z_rank_quadratic, row.z_rank_hawq_v2, row.z_rank_error)  # noqa: T201
        assert row.z_rank_quadratic >= 0.8
        assert row.z_rank_quadratic > row.z_rank_error


@pytest.mark.parametrize("name", ["vgg16_digits", "attention_digits"])
def test_both_frameworks_say_the_same_of_the_sample_models(name: str) -> None:
    """Where the files hold the same network."""
    words = {"of": "input", "bits": 4, "limit": 8, "dtype": "float64", "method": "exact", "layer": ["conv1_2", "fc*"]}
    if name == "attention_digits":
        words["layer"] = ["query", "project", "mlp_out", "head"]
    both = [curvcli.activations(ROOT / "sample_models" / file, **words) for file in (f"{name}.pt", name)]
    for table, columns in (("activations", ("z_trace", "z_gradient")), ("quantized_activations", ("z_measured",))):
        left, right = (one.table(table) for one in both)
        assert list(left) == list(right)
        for row, column in ((row, column) for row in left for column in columns):
            expected = pytest.approx(getattr(right[row], column), rel=1e-6, abs=1e-12)
            assert getattr(left[row], column) == expected, (row, column)
