"""Which layers and parameters of two reports are the same, and arrays of one in the layout of the other.

Two frameworks write one network down in different ways: ``conv4_3/kernel`` (kernel_h, kernel_w, in, out) is
``conv4_3.weight`` (out, in, kernel_h, kernel_w). Names of layers, labels and axes tell which is which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from curvcli.report.records.layers import Array, ParameterRecord

# The names that one thing has in either framework.
_LABELS = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}


def paired_layers(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """The layers of ``first`` that are in ``second``, and what they are called there.

    Names are equal up to their separators, or end in the same component, which no other name in either ends in; a
    recurrent layer in Keras ends in its cell (``lstm/lstm_cell``).
    """
    second_by_first: dict[str, str] = {}
    for form in (_dotted, _last, _without_cell):
        left, right = _unique(form, first), _unique(form, second)
        second_by_first |= {left[key]: right[key] for key in left if key in right and left[key] not in second_by_first}
    return {name: second_by_first[name] for name in first if name in second_by_first}


def partners(one: ParameterRecord, others: Sequence[ParameterRecord]) -> list[ParameterRecord]:
    """The parameters of another layer that may be this one: the one of the same name, or else all of its extents.

    torch's recurrent layers have two biases where Keras' have one, each with the same derivatives as that.
    """
    named = [p for p in others if _LABELS.get(p.label, p.label) == _LABELS.get(one.label, one.label)]
    if len(named) == 1 and named[0].size == one.size:
        return named
    return [p for p in others if sorted(p.shape) == sorted(one.shape)]


def difference(
    left: Array, left_axes: Sequence[str], right: Array, right_axes: Sequence[str], *, least_scale: float = 0.0
) -> tuple[float, str]:
    """The largest difference of two arrays' entries, relative to the largest entry, and how they were paired.

    Entries are paired by the names of the axes. Where that leaves a difference, sorted entries are compared too: a
    flattened image runs through a dense layer's rows in another order in the other framework.

    Args:
        left: of any shape.
        left_axes: one word per axis.
        right: of as many entries.
        right_axes: likewise.
        least_scale: what the difference is held against at least: entries that are zero up to rounding have no scale
            of their own.
    """
    scale = max(float(np.abs(left).max(initial=0.0)), float(np.abs(right).max(initial=0.0)), least_scale)
    if not scale:
        return 0.0, "all zero in both"
    by_place = float("inf")
    if sorted(left_axes) == sorted(right_axes) and len(set(left_axes)) == len(left_axes):
        turned = right.transpose([list(right_axes).index(axis) for axis in left_axes])
        by_place = float(np.abs(left - turned).max()) / scale if turned.shape == left.shape else by_place
    elif left.shape == right.shape:
        by_place = float(np.abs(left - right).max()) / scale
    sorted_difference = float(np.abs(np.sort(left, axis=None) - np.sort(right, axis=None)).max()) / scale
    # Sorting can only bring two sets of numbers nearer; a thousandfold is no accident of rounding.
    if sorted_difference < by_place / 1000:
        return sorted_difference, "the same entries in another order"
    return by_place, "entry by entry"


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _last(name: str) -> str:
    return _dotted(name).rpartition(".")[2]


def _without_cell(name: str) -> str:
    return _last(re.sub(r"[./]\w+_cell$", "", name))


def _unique(form: Callable[[str], str], names: Sequence[str]) -> dict[str, str]:
    keys = [form(name) for name in names]
    return {key: name for key, name in zip(keys, names, strict=True) if keys.count(key) == 1}
