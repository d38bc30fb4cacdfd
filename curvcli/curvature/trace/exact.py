"""The trace as the sum of exact diagonals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.trace.estimate import data_spread
from curvcli.models.base import Array


def exact_trace(
    traces: Mapping[str, Array], block: Block, denominator: float, weights: Array, weight_decay: float
) -> tuple[float, Array, float]:
    """The trace of a block, what each batch adds to it, (batches,), and its standard error over the data.

    Args:
        traces: per parameter what each batch adds to the sum of its diagonal, (batches,), not divided; parameters
            that the loss does not depend on have none.
        block: whose trace it is.
        denominator: what sums are divided by.
        weights: of the batches, (batches,).
        weight_decay: λ, added for every trained entry.

    Returns:
        The batches' parts divided and without weight decay.
    """
    sums = np.zeros(len(weights))
    for name in block.names:
        sums += traces.get(name, 0.0)
    sums /= denominator
    return float(sums.sum()) + weight_decay * block.trained_size, sums, data_spread(sums, weights)
