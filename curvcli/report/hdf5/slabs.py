"""Large arrays of a report, a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from curvcli.report.hdf5.reading import dataset_at, read_numbers
from curvcli.report.hdf5.schema import LAYERS, escape
from curvcli.report.hdf5.storage import opened
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

ARRAYS: Final = ("gradient", "diagonal", "diagonal_stderr")
_AT_ONCE: Final = 1 << 20  # entries; who takes them makes others of them in float64


def diagonal_blocks(path: Path, layer: str, label: str, *, most: int) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """Yield the entries of a parameter's diagonal, each time with how many there are; nothing where it has none.

    Args:
        path: of the report.
        layer: its name.
        label: of the parameter.
        most: entries to read; of more, those of chunks that are spread evenly.

    Raises:
        ReportError: the report can't be read any more.
    """
    with opened(path) as file:
        dataset = file[LAYERS][escape(layer)].get(f"diagonal/{escape(label)}")
        if dataset is None:
            return
        for block in _blocks(dataset, most):
            yield dataset.size, block


def _blocks(dataset: h5py.Dataset, most: int) -> Iterator[npt.NDArray[np.float64]]:
    if dataset.chunks is None or dataset.size == 0:
        yield read_numbers(dataset).astype(np.float64).reshape(-1)
        return
    chunks = list(dataset.iter_chunks())
    chunk_count = max(1, most * len(chunks) // dataset.size) if dataset.size > most else len(chunks)
    for position in np.unique(np.linspace(0, len(chunks) - 1, chunk_count).round().astype(int)).tolist():
        block: npt.NDArray[Any] = dataset[chunks[position]].reshape(-1)
        for start in range(0, block.size, _AT_ONCE):
            yield block[start : start + _AT_ONCE].astype(np.float64)


def dtypes(path: Path, layers: Sequence[LayerSummary]) -> list[tuple[str, ParameterSummary, dict[str, Any]]]:
    """Return layer, parameter and the dtypes of its arrays, by name, of every parameter.

    Raises:
        ReportError: the report can't be read any more.
    """
    with opened(path) as file:
        return [
            (row.name, parameter, {name: dataset.dtype for name, dataset in _arrays(file, row.name, parameter).items()})
            for row in layers
            for parameter in row.parameters
        ]


def read_slab(
    path: Path, layer: str, parameter: ParameterSummary, slab: tuple[slice, ...]
) -> dict[str, npt.NDArray[Any]]:
    """Return a slab of each array that a parameter has, flat, by name.

    Raises:
        ReportError: the report can't be read any more.
    """
    with opened(path) as file:
        datasets = _arrays(file, layer, parameter)
        return {
            name: np.asarray(dataset[slab] if parameter.shape else dataset[()]).reshape(-1)
            for name, dataset in datasets.items()
        }


def _arrays(file: h5py.File, layer: str, parameter: ParameterSummary) -> dict[str, Any]:
    group = file[LAYERS][escape(layer)]
    paths = {name: f"{name}/{escape(parameter.label)}" for name in ARRAYS}
    datasets = {name: dataset_at(group, path) for name, path in paths.items() if path in group}
    for name, dataset in datasets.items():
        if dataset.shape != parameter.shape or dataset.dtype.kind != "f":
            raise ValueError(f"{name} of {parameter.name} is {dataset.dtype} of shape {dataset.shape}")
    return datasets
