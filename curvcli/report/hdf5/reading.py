"""Values out of a report: the right kind of object, and no more than the free memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from curvcli.errors import ReportError
from curvcli.files import check_room
from curvcli.memory import available_memory

_MOST_TEXTS: Final = 4096
_FEW_BYTES: Final = 1 << 24


def dataset_at(group: h5py.Group, path: str) -> Any:
    """Return the dataset at a path, which leads through groups.

    Raises:
        KeyError: there is nothing.
        TypeError: it is a group.
    """
    dataset = group[path]
    if not isinstance(dataset, h5py.Dataset):
        raise TypeError(f"{path} is a group, not a dataset")
    return dataset


def group_at(group: h5py.Group, path: str) -> Any:
    """Return the group at a path.

    Raises:
        KeyError: there is nothing.
        TypeError: it is a dataset.
    """
    subgroup = group[path]
    if not isinstance(subgroup, h5py.Group):
        raise TypeError(f"{path} is a dataset, not a group")
    return subgroup


def read_numbers(dataset: Any) -> npt.NDArray[Any]:
    """Read a whole dataset of numbers; an array without axes for a single one.

    Raises:
        ReportError: it does not fit into the free memory.
        TypeError: it holds text, or is a group.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iuf":
        raise TypeError("not a dataset of numbers")
    check_room(int(dataset.nbytes), lambda: f"{dataset.file.filename}: {dataset.name}", error=ReportError)
    # np.asarray: h5py gives a NumPy scalar, not an array, for a dataset without axes.
    return np.asarray(dataset[()])


def read_text(dataset: Any) -> str:
    """Read a dataset of one text.

    Raises:
        TypeError: it holds something else.
    """
    if not isinstance(dataset, h5py.Dataset) or h5py.check_string_dtype(dataset.dtype) is None or dataset.shape != ():
        raise TypeError("not a dataset of one text")
    return str(dataset.asstr()[()])


def read_texts(dataset: Any) -> list[str]:
    """Read a column of texts, some at a time.

    Many entries may be one and the same text in the file, so that their number says nothing of the memory they take.

    Raises:
        TypeError: it is something else than texts along one axis.
        ValueError: the texts are together larger than the file, so that some stand for more than one entry.
    """
    if not isinstance(dataset, h5py.Dataset) or h5py.check_string_dtype(dataset.dtype) is None or dataset.ndim != 1:
        raise TypeError("not a column of texts")
    texts: list[str] = []
    left = size = dataset.file.id.get_filesize()
    for block in _text_blocks(dataset, size):
        left -= sum(map(len, block))
        if left < 0:
            raise ValueError("more text than the file has bytes")
        texts += block
    return texts


def _text_blocks(dataset: Any, size: int) -> Iterator[list[str]]:
    """Yield texts in blocks that would fit into memory were each of them as long as the file."""
    longest = max(size, dataset.dtype.itemsize)
    few = len(dataset) * longest <= _FEW_BYTES  # asking how much memory is free takes longer than reading them
    at_once = len(dataset) if few else min(max(1, available_memory() // 4 // longest), _MOST_TEXTS)
    view = dataset.asstr()
    for start in range(0, len(dataset), max(at_once, 1)):
        yield view[start : start + at_once].tolist()
