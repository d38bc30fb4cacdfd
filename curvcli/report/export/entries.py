"""The long form: one row per entry of each parameter, read a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from curvcli.errors import ReportError
from curvcli.report.export.rows import about
from curvcli.report.export.table import Batch, Constant, Field, Table, Values
from curvcli.report.hdf5.chunks import chunk_shape
from curvcli.report.hdf5.read import Report
from curvcli.report.hdf5.slabs import ARRAYS, dtypes, read_slab
from curvcli.report.records.matrices import named_together
from curvcli.report.records.summaries import ParameterSummary
from curvcli.report.units import CURVATURE, GRADIENT

_DESCRIBED: Final = {
    "gradient": ("gradient of the loss by the entry", GRADIENT),
    "diagonal": ("diagonal of the {} of the loss by the entry", CURVATURE),
    "diagonal_stderr": ("standard error of the diagonal of the {}", CURVATURE),
}


def entries_table(report: Report) -> tuple[Table, list[str]]:
    """Return the table of all entries, and the parameters that are left out because nothing of theirs is in the report.

    Its columns are the layer, the parameter, ``index_0``, ``index_1`` … for the axes (empty beyond a parameter's own)
    and the numbers; an exact diagonal has no standard error.

    Args:
        report: to read from.

    Raises:
        ReportError: there is no gradient or diagonal in it, or it can't be read.
    """
    held, left_out, single = _held(report)
    if not held:
        raise ReportError(f"{report.path}: no gradient or diagonal of these layers; `curvcli diag` computes them")
    matrix = named_together(parameter.matrix for _, parameter in held)
    rank = max(len(parameter.shape) for _, parameter in held)
    fields = (
        Field("layer", "text", "name of the layer"),
        Field("parameter", "text", "name inside the layer"),
        *(Field(f"index_{axis}", "count", f"position along axis {axis} of the parameter", "1") for axis in range(rank)),
        *(
            Field(name, "number32" if single[name] else "number", long_name.format(matrix), unit)
            for name, (long_name, unit) in _DESCRIBED.items()
        ),
    )
    batches = (batch for layer, parameter in held for batch in _parameter(report, layer, parameter, rank))
    return Table("entries", fields, batches, about(report)), left_out


def _held(report: Report) -> tuple[list[tuple[str, ParameterSummary]], list[str], dict[str, bool]]:
    """Return the parameters with arrays, the names of the others, and which arrays are all of single precision."""
    every = dtypes(report.path, report.layers)
    held = [(layer, parameter) for layer, parameter, dtype_of in every if dtype_of]
    left_out = [parameter.name for _, parameter, dtype_of in every if not dtype_of]
    single = {
        name: {dtype_of[name] for _, _, dtype_of in every if name in dtype_of} == {np.dtype("float32")}
        for name in ARRAYS
    }
    return held, left_out, single


def _parameter(report: Report, layer: str, parameter: ParameterSummary, rank: int) -> Iterator[Batch]:
    shape = parameter.shape
    for start, slab in _slabs(shape):
        # Opened for each slab anew: whoever takes the batch may fail, and that is not to look like a damaged report.
        arrays = read_slab(report.path, layer, parameter, slab)
        size = len(next(iter(arrays.values())))
        columns: dict[str, Values] = {"layer": Constant(layer), "parameter": Constant(parameter.label)}
        places: Sequence[Any] = np.unravel_index(np.arange(start, start + size), shape) if shape else ()
        columns |= {f"index_{axis}": places[axis] if axis < len(shape) else Constant(None) for axis in range(rank)}
        columns |= {name: arrays.get(name, Constant(None)) for name in ARRAYS}
        yield Batch(size, columns)


def _slabs(shape: tuple[int, ...]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield slabs of about a megabyte that follow one another in memory order, each with its first entry's number."""
    if prod(shape) == 0:
        return
    steps = chunk_shape(shape, 8)
    start = 0
    for corner in np.ndindex(*(-(-length // step) for length, step in zip(shape, steps, strict=True))):
        lengths = zip(corner, steps, shape, strict=True)
        slab = tuple(slice(at * step, min((at + 1) * step, length)) for at, step, length in lengths)
        yield start, slab
        start += prod(part.stop - part.start for part in slab)
