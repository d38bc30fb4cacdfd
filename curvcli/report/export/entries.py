"""The long form: one row per entry of each parameter, read a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from curvcli.errors import ReportError
from curvcli.report.export.rows import about
from curvcli.report.export.table import Batch, Constant, Field, Table, Values
from curvcli.report.hdf5.chunks import chunk_shape
from curvcli.report.hdf5.read import Report
from curvcli.report.hdf5.reading import dataset_at
from curvcli.report.hdf5.schema import LAYERS, escape
from curvcli.report.hdf5.storage import opened
from curvcli.report.records.summaries import ParameterSummary

_QUANTITIES: Final = {
    "gradient": "gradient of the loss by the entry",
    "diagonal": "Hessian diagonal of the loss by the entry",
    "diagonal_stderr": "standard error of the Hessian diagonal",
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
    rank = max(len(parameter.shape) for _, parameter in held)
    fields = (
        Field("layer", "text", "name of the layer"),
        Field("parameter", "text", "name inside the layer"),
        *(Field(f"index_{axis}", "count", f"position along axis {axis} of the parameter", "1") for axis in range(rank)),
        *(
            Field(name, "number32" if single[name] else "number", long_name, "loss")
            for name, long_name in _QUANTITIES.items()
        ),
    )
    batches = (batch for layer, parameter in held for batch in _parameter(report, layer, parameter, rank))
    return Table("entries", fields, batches, about(report)), left_out


def _held(report: Report) -> tuple[list[tuple[str, ParameterSummary]], list[str], dict[str, bool]]:
    """Return the parameters with arrays, the names of the others, and which quantities are all of single precision."""
    held: list[tuple[str, ParameterSummary]] = []
    left_out: list[str] = []
    dtypes: dict[str, set[Any]] = {name: set() for name in _QUANTITIES}
    with opened(report.path) as file:
        for row in report.layers:
            for parameter in row.parameters:
                found = _datasets(file, row.name, parameter)
                for name, dataset in found.items():
                    dtypes[name].add(dataset.dtype)
                if found:
                    held.append((row.name, parameter))
                else:
                    left_out.append(parameter.name)
    return held, left_out, {name: found == {np.dtype("float32")} for name, found in dtypes.items()}


def _datasets(file: h5py.File, layer: str, parameter: ParameterSummary) -> dict[str, Any]:
    group = file[LAYERS][escape(layer)]
    paths = {name: f"{name}/{escape(parameter.label)}" for name in _QUANTITIES}
    found = {name: dataset_at(group, path) for name, path in paths.items() if path in group}
    for name, dataset in found.items():
        if dataset.shape != parameter.shape or dataset.dtype.kind != "f":
            raise ValueError(f"{name} of {parameter.name} is {dataset.dtype} of shape {dataset.shape}")
    return found


def _parameter(report: Report, layer: str, parameter: ParameterSummary, rank: int) -> Iterator[Batch]:
    shape = parameter.shape
    for start, piece in _pieces(shape):
        # Opened for each piece anew: whoever takes the batch may fail, and that is not to look like a damaged report.
        with opened(report.path) as file:
            found = _datasets(file, layer, parameter)
            arrays: dict[str, npt.NDArray[Any]] = {
                name: np.asarray(dataset[piece] if shape else dataset[()]).reshape(-1)
                for name, dataset in found.items()
            }
        size = len(next(iter(arrays.values())))
        columns: dict[str, Values] = {"layer": Constant(layer), "parameter": Constant(parameter.label)}
        places: Sequence[Any] = np.unravel_index(np.arange(start, start + size), shape) if shape else ()
        columns |= {f"index_{axis}": places[axis] if axis < len(shape) else Constant(None) for axis in range(rank)}
        columns |= {name: arrays.get(name, Constant(None)) for name in _QUANTITIES}
        yield Batch(size, columns)


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield pieces of about a megabyte that follow one another in memory order, each with its first entry's number."""
    if prod(shape) == 0:
        return
    steps = chunk_shape(shape, 8)
    start = 0
    for corner in np.ndindex(*(-(-length // step) for length, step in zip(shape, steps, strict=True))):
        lengths = zip(corner, steps, shape, strict=True)
        piece = tuple(slice(at * step, min((at + 1) * step, length)) for at, step, length in lengths)
        yield start, piece
        start += prod(part.stop - part.start for part in piece)
