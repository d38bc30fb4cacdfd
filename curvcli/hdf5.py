"""What a dataset of an HDF5 file may be, to be read: sizes that the file has, and all of it in the file itself.

HDF5 lets a file of a kilobyte show the contents of other files, declare terabytes, or load a plug-in to decode itself.
"""

from __future__ import annotations

import zlib
from math import prod
from typing import Any, Final

import h5py

from curvcli.memory import available_memory

# What comes with HDF5 and makes no byte into more than a thousand.
GZIP_FILTERS: Final = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
VALUES: Final = frozenset({h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING})
# Deflate makes no byte into more than 1032; what was never written takes no room at all.
_MOST_INFLATED: Final = 1032
_NEVER_WRITTEN: Final = 64 * 1024
_MOST_CHUNK: Final = 256 * 1024 * 1024


class UnsoundDatasetError(Exception):
    """A dataset that is not read; the message says what it does, to stand behind its name."""


def check_dataset(item: Any, *, values: frozenset[int] = VALUES, filters: frozenset[int] = GZIP_FILTERS) -> int:
    """Check what a dataset declares, reading no values but those of chunks that might inflate without end.

    Args:
        item: a ``h5py.h5d.DatasetID``.
        values: classes of datatypes that are allowed.
        filters: that are allowed, each once.

    Returns:
        The bytes that it takes in the file.

    Raises:
        UnsoundDatasetError: it is none to be read.
        RuntimeError, OSError, KeyError, ValueError: from HDF5, for it is damaged.
    """
    layout = item.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        raise UnsoundDatasetError("is a virtual dataset, made of other files")
    if layout.get_external_count():
        raise UnsoundDatasetError("keeps its data in another file")
    datatype, space = item.get_type(), item.get_space()
    if datatype.get_class() not in values:
        raise UnsoundDatasetError("holds neither numbers nor text")
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise UnsoundDatasetError("holds nothing at all")
    declared = prod(map(int, item.shape)) * int(datatype.get_size())
    stored = int(item.get_storage_size())
    used = [layout.get_filter(position)[0] for position in range(layout.get_nfilters())]
    if set(used) - filters or len(set(used)) < len(used):
        raise UnsoundDatasetError("is compressed by something other than gzip")
    most = stored * (_MOST_INFLATED if used else 1) + _NEVER_WRITTEN
    if declared > most:
        raise UnsoundDatasetError("is declared far larger than the file")
    if layout.get_layout() == h5py.h5d.CHUNKED:
        _check_chunks(item, layout, compressed=h5py.h5z.FILTER_DEFLATE in used)
    return stored


def _check_chunks(item: Any, layout: Any, *, compressed: bool) -> None:
    whole = prod(map(int, layout.get_chunk())) * int(item.get_type().get_size())
    if whole > _MOST_CHUNK:
        raise UnsoundDatasetError("is cut into chunks that are too large")
    if not compressed:
        return
    chunks: list[Any] = []
    item.chunk_iter(chunks.append)
    room = available_memory() // 4
    for chunk in chunks:
        # HDF5 inflates to the end, whatever the chunk's size; incompressible data grow by a few bytes only.
        inflates = not chunk.filter_mask and chunk.size * _MOST_INFLATED > room
        if chunk.size > whole + whole // 64 + 1024 or (inflates and _is_bomb(item, chunk.chunk_offset, whole)):
            raise UnsoundDatasetError("has a chunk that inflates to more than its size")


def _is_bomb(item: Any, offset: tuple[int, ...], whole: int) -> bool:
    _, data = item.read_direct_chunk(offset)
    inflated = zlib.decompressobj()
    try:
        return len(inflated.decompress(data, whole + 1)) > whole
    except zlib.error:
        return False  # HDF5 will say so
