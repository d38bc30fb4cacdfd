"""Vectors of a block as TensorFlow's functions return them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curvcli.models.arrays import Parts, Rows
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors

# Shorter vectors are joined at once: there is more to do for many parts than to copy them.
_SHORT = 1 << 16


def bundled(products: Any) -> Vectors:
    """Vectors from a tensor with a row for each, (k, n), or a sequence of tensors, (n,)."""
    if not isinstance(products, Sequence):
        return Rows(_seen(products))
    if products and len(products[0]) > _SHORT:
        return Parts([(_seen(tensor),) for tensor in products])
    return Rows(np.stack([_seen(tensor) for tensor in products]))


def _seen(tensor: Any) -> Array:
    """A tensor's entries where they lie, if that is this machine's memory; they must not be written to."""
    array: Array = np.asarray(memoryview(tensor)) if "CPU" in tensor.device else tensor.numpy()
    return array
