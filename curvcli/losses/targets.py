"""Reading targets: their shape, which of them are ignored, and what is said of wrong ones."""

from __future__ import annotations

import numpy as np

from curvcli.errors import DataError
from curvcli.losses.interface import Array, End, RawTargets


def required_target(raw: RawTargets, name: str) -> Array:
    """The batch's target.

    Raises:
        DataError: there is none.
    """
    if raw.target is None:
        raise DataError(f"the loss {name} compares the model's output with a target, and there is none.")
    return raw.target


def like_output(raw: RawTargets, name: str, end: End) -> Array:
    """A batch's targets, float64, in the output's shape; axes of length 1 may be left out or added.

    Raises:
        DataError: there are none, or of another shape.
    """
    target = required_target(raw, name)
    squeezed = [n for n in raw.shape[1:] if n != 1]
    if target.shape[0] != raw.shape[0] or [n for n in target.shape[1:] if n != 1] != squeezed:
        raise DataError(
            f"column {end.column!r} has shape {target.shape[1:]} per sample, the model returns "
            f"{raw.shape[1:]}: {name} needs the same."
        )
    return np.asarray(target, dtype=np.float64).reshape(raw.shape)


def used_of(target: Array, ignore_index: int | None, *, ignore_nan: bool) -> Array:
    """Which targets count, boolean, like the targets."""
    used = np.ones(target.shape, dtype=bool)
    if ignore_index is not None:
        used &= target != ignore_index
    if ignore_nan:
        used &= ~np.isnan(target)
    return used


def refuse(wrong: Array, target: Array, raw: RawTargets, end: End, needs: str) -> None:
    """Name the first wrong target.

    Args:
        wrong: where they are, boolean, like the targets.
        target: (samples, …).
        raw: the batch's targets.
        end: of the model.
        needs: what the loss needs, as a person reads it.

    Raises:
        DataError: there is one.
    """
    if wrong.any():
        first = tuple(np.argwhere(wrong)[0])
        raise DataError(f"column {end.column!r}, row {raw.rows[first[0]]}: {needs}, found {float(target[first]):.4g}.")
