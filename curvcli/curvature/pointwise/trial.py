"""Derivatives by Taylor coefficients, held against backward products before they are trusted.

A rule for an operation may be wrong, or an operation do other than its rule says. So along random directions, which
leave out no coordinate, the second derivative is compared with vᵀ ∇²f v from one product; the first derivatives along
all coordinates are compared with the gradient; derivatives of higher order with backward passes through one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curvcli.models.base import Array
from curvcli.models.pointwise import InputBatch, InputSeries, NoSeriesError
from curvcli.models.probes import signs

# How far two ways may be apart, relative to the largest: rounding.
_SAME_SINGLE, _SAME_DOUBLE = 2e-3, 1e-9
# Nested backward passes cost twice as much with every order; a rule that is right up to here is so beyond.
_HIGHEST = 6
# Coordinates along which they are taken.
_ALONG = 2


def tolerance(*, double: bool) -> float:
    """How far the two ways may be apart, relative to the largest."""
    return _SAME_DOUBLE if double else _SAME_SINGLE


def differ(one: Array, other: Array, scale: float, relative: float) -> bool:
    """Whether two arrays differ by more than rounding; where neither is finite, both tell the same."""
    finite = np.isfinite(other)
    if not np.array_equal(np.isfinite(one), finite):
        return True
    return bool((np.abs(one - other)[finite] > relative * scale).any()) if finite.any() else False


def hold_second(batch: InputBatch, series: InputSeries, seed: int, relative: float) -> None:
    """Compare vᵀ ∇²f_n v for random signs v with a product, for all samples of a batch.

    Raises:
        NoSeriesError: they differ, or an operation can't be followed.
    """
    shape = (batch.samples, batch.coordinates)
    vector = signs(seed, "inputs:trial", 0, shape)
    product = vector * batch.products(vector[None])[0]
    forward = series.along(vector[None], 2)[0]
    scale = float(np.abs(product[np.isfinite(product)]).sum() / max(1, batch.samples))
    slopes = (vector * batch.gradient()).sum(axis=1)
    hold_first(forward[:, 0], slopes, batch, relative)
    if differ(forward[:, 1], product.sum(axis=1), scale, relative):
        raise NoSeriesError("they differ from a product beyond rounding")


def hold_first(slopes: Array, gradient: Array, batch: InputBatch, relative: float) -> None:
    """Compare first derivatives with entries, or sums of entries, of the gradient.

    Raises:
        NoSeriesError: they differ.
    """
    whole = batch.gradient()
    scale = float(np.abs(whole[np.isfinite(whole)]).sum() / max(1, batch.samples))
    if differ(slopes, gradient, scale, relative):
        raise NoSeriesError("their first derivatives are not the gradient")


def hold_orders(
    batch: InputBatch, series: InputSeries, coordinates: Sequence[int], order: int, relative: float
) -> None:
    """Compare derivatives of all orders with nested backward passes, along a few coordinates.

    Raises:
        NoSeriesError: they differ, or an operation can't be followed.
    """
    order = min(order, _HIGHEST)
    for coordinate in coordinates[:_ALONG]:
        nested = series.nested(coordinate, order)
        (forward,) = series.derivatives([coordinate], order)
        hold_first(nested[:, 0], batch.gradient()[:, coordinate], batch, relative)
        for k in range(order):
            finite = np.abs(nested[:, k][np.isfinite(nested[:, k])])
            # Where all cancel, rounding of what cancels is what is left; the lower orders tell its size.
            scale = float(max(finite.max(initial=0.0), np.abs(nested[:, : k + 1]).max(initial=0.0)))
            if differ(forward[:, k], nested[:, k], scale, relative):
                raise NoSeriesError(f"of order {k + 1} they differ from nested backward passes beyond rounding")
