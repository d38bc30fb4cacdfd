"""Labels that are written as one-hot vectors of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curvcli.errors import DataError
from curvcli.losses.interface import Array

_SHOWN = 8


def flags_of(labels: Array, classes: int, axis: int) -> Array:
    """One-hot vectors along a new axis, as flags: memory is that of the vectors alone, however many classes there are.

    Args:
        labels: whole numbers from 0 to classes − 1.
        classes: how many.
        axis: where the vectors' axis comes.
    """
    flags = np.zeros((*labels.shape, classes), dtype=bool)
    np.put_along_axis(flags, labels[..., None], values=True, axis=-1)
    return np.moveaxis(flags, -1, axis)


def labels_of(target: Array, axis: int, column: str, rows: Sequence[int]) -> Array:
    """Return the class of every one-hot vector.

    Args:
        target: whole numbers or flags, of the model's output's shape.
        axis: of the classes.
        column: that holds them, for messages.
        rows: the samples' rows in the data, for messages.

    Returns:
        Labels, of that shape without its class axis.

    Raises:
        DataError: some vector is not a single 1 among zeros.
    """
    one_hot = ((target == 0) | (target == 1)).all(axis=axis) & (target.sum(axis=axis) == 1)
    if not one_hot.all():
        place = tuple(np.argwhere(~one_hot)[0])
        vector = np.moveaxis(target, axis, -1)[place]
        shown = " ".join(str(int(n)) for n in vector[:_SHOWN]) + (" …" if len(vector) > _SHOWN else "")
        raise DataError(
            f"column {column!r}, row {rows[place[0]]}: whole numbers shaped like the model's output must be one-hot, "
            f"a single 1 among zeros for its {len(vector)} classes; found {shown}.\n"
            'Give class numbers, or soft labels as floats (dtype = "float64").'
        )
    return np.asarray(target.argmax(axis=axis))
