"""Weights for a batch's samples that show whether one sample's numbers depend on another's."""

from __future__ import annotations

import numpy as np

from curvcli.models.base import Array

# Exponents of a sample's tag: float32 has room for them above any gradient.
_TAGS = 64


def halves(samples: int) -> tuple[Array, ...]:
    """Parts of a batch's samples, boolean, (samples,) each, such that of any two samples some part has only the first.

    The samples whose number has some binary digit, and those that do not have it, digit by digit: two numbers differ
    in some digit, so no influence of one sample on another can hide, whatever the distance between them.
    """
    numbers = np.arange(samples)
    digits = [(numbers >> digit & 1).astype(bool) for digit in range(max(samples - 1, 0).bit_length())]
    return tuple(part for digit in digits for part in (~digit, digit))


def tags(samples: int) -> tuple[Array, ...]:
    """Powers of two for a batch's samples, float64, (samples,) each, such that in some of them any two samples differ.

    A derivative is linear in what it is a derivative of: where every sample's part of it is multiplied by that sample's
    tag, what depends on that sample alone is multiplied by it too, to the last bit, and what depends on any other
    sample as well is not. So a pass or two show what the ``halves`` need many for.
    """
    numbers, powers = np.arange(samples), []
    while numbers.any():
        powers.append(2.0 ** (numbers % _TAGS))
        numbers //= _TAGS
    return tuple(powers)
