"""Layers and parameters of two frameworks, brought together by their names, labels and axes."""

from __future__ import annotations

import numpy as np

from curvcli.report.alignment import difference, paired_layers, partners
from curvcli.report.records.layers import ParameterRecord

RNG = np.random.default_rng(0)


def parameter(label: str, *shape: int) -> ParameterRecord:
    return ParameterRecord(label=label, name=label, shape=shape, axes=tuple(f"axis_{i}" for i in range(len(shape))))


def test_layers_by_their_names() -> None:
    """Whole, up to separators; by the last component; and Keras' cells by what holds them."""
    first = ["net/conv", "net/deep/fc", "lstm/lstm_cell", "other"]
    second = ["net.conv", "body.fc", "lstm", "another"]
    assert paired_layers(first, second) == {"net/conv": "net.conv", "net/deep/fc": "body.fc", "lstm/lstm_cell": "lstm"}


def test_a_last_component_that_two_layers_share_pairs_nothing() -> None:
    """It would be a guess."""
    assert paired_layers(["a/fc", "b/fc"], ["c/fc", "d/fc"]) == {}


def test_parameters_by_label_or_extents() -> None:
    """A kernel is a weight; a recurrent kernel is what has its extents; one bias may be either of two."""
    torch_side = [
        parameter("weight_ih", 8, 3),
        parameter("weight_hh", 8, 2),
        parameter("b_ih", 8),
        parameter("b_hh", 8),
    ]
    assert [p.label for p in partners(parameter("kernel", 3, 8), torch_side)] == ["weight_ih"]
    assert [p.label for p in partners(parameter("recurrent_kernel", 2, 8), torch_side)] == ["weight_hh"]
    assert [p.label for p in partners(parameter("bias", 8), torch_side)] == ["b_ih", "b_hh"]
    assert [p.label for p in partners(parameter("kernel", 3, 8), [parameter("weight", 8, 3)])] == ["weight"]
    assert partners(parameter("kernel", 5, 8), torch_side) == []


def test_entries_by_their_axes() -> None:
    """Turned as the names of the axes say; a difference is relative to the largest entry."""
    hwio = RNG.standard_normal((3, 3, 2, 4))
    oihw = hwio.transpose(3, 2, 0, 1)
    axes = ("kernel_h", "kernel_w", "in", "out"), ("out", "in", "kernel_h", "kernel_w")
    assert difference(hwio, axes[0], oihw, axes[1]) == (0.0, "entry by entry")
    changed = oihw.copy()
    changed[0, 0, 0, 0] += 0.5
    error, how = difference(hwio, axes[0], changed, axes[1])
    assert how == "entry by entry"
    assert error == 0.5 / max(np.abs(hwio).max(), np.abs(changed).max())


def test_rows_in_another_order() -> None:
    """A flattened image: said so, and no difference."""
    left = RNG.standard_normal((6, 4))
    right = left[RNG.permutation(6)]
    assert difference(left, ("in", "out"), right, ("in", "out")) == (0.0, "the same entries in another order")


def test_zeros_and_what_is_zero_to_rounding() -> None:
    """Equal zeros differ by nothing; noise is held against the scale that is given."""
    zeros = np.zeros((2, 2))
    assert difference(zeros, ("a", "b"), zeros, ("a", "b")) == (0.0, "all zero in both")
    noise = 1e-18 * RNG.standard_normal((2, 2))
    assert difference(noise, ("a", "b"), -noise, ("a", "b"), least_scale=1e-6)[0] < 1e-11
