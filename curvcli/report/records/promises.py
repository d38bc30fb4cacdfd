"""Takes back what a record promises, where the model gives no two equal answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curvcli.report.records.layers import LayerRecord


def without_promises(record: LayerRecord) -> LayerRecord:
    """The same numbers, none of them called exact or converged."""
    trace, eigen, density, block, split = record.trace, record.eigen, record.density, record.block, record.split
    return replace(
        record,
        parameters=tuple(replace(p, exact=False) for p in record.parameters),
        trace=None if trace is None else replace(trace, exact=False, converged=False),
        eigen=None if eigen is None else replace(eigen, converged=np.zeros(len(eigen.values), dtype=bool)),
        density=None if density is None else replace(density, exact=False),
        block=None if block is None else replace(block, exact=False),
        split=None if split is None else replace(split, deterministic=False),
    )
