"""What an HDF5 file may be made of to be read as a report: groups, plain arrays and text, all in the file itself.

HDF5 lets a file of a kilobyte show the contents of other files (external links, external storage, virtual datasets),
declare terabytes, or load a plug-in to decode itself. A report needs none of that, so a file that does it is refused
before anything of it is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, Final

import h5py

from curvcli.errors import ReportError
from curvcli.memory import available_memory

_LINKS: Final = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
_VALUES: Final = frozenset({h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING})
# HDF5's own bookkeeping of dimension scales, which is never read here.
_BOOKKEEPING: Final = frozenset({b"DIMENSION_LIST", b"REFERENCE_LIST", b"CLASS", b"NAME", b"_Netcdf4Dimid"})
_FILTERS: Final = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
# /layers/NAME/split/parameters/NAME/jacobian is the deepest place that a report has.
_MOST_DEEP: Final = 16
_MOST_AXES: Final = 32
# Of texts, the descriptors alone: at most as many as a dataset has axes.
_SMALL_ATTRIBUTE: Final = 16 * _MOST_AXES
# Deflate makes no byte into more than 1032; what was never written takes no room at all.
_MOST_INFLATED: Final = 1032
_NEVER_WRITTEN: Final = 64 * 1024
_MOST_CHUNK: Final = 256 * 1024 * 1024


def check_structure(file: h5py.File, path: Path, size: int) -> None:
    """Walk through all links, groups, datasets and attributes, following nothing, and reading no values.

    Args:
        file: opened to be read.
        path: of it, for messages.
        size: of it, in bytes.

    Raises:
        ReportError: it holds what no report does.
        RuntimeError, OSError, KeyError, ValueError: from HDF5, for it is damaged.
    """
    try:
        _walk(file, size)
    except _RefusedError as refused:
        raise ReportError(f"{path}: {refused}") from None


class _RefusedError(Exception):
    """Something that no report has; the message has its place in the file."""

    def __init__(self, place: bytes, why: str) -> None:
        super().__init__(f"{place.decode('utf-8', 'replace') or '/'} {why}, which no report has: refusing to read it")


def _walk(file: h5py.File, size: int) -> None:
    root = h5py.h5g.open(file.id, b"/")
    seen = {h5py.h5o.get_info(root).addr}
    stored = _check_attributes(root, b"/", size)
    waiting: list[tuple[bytes, Any]] = [(b"", root)]
    while waiting:
        place, group = waiting.pop()
        if place.count(b"/") >= _MOST_DEEP:
            raise _RefusedError(place, f"groups lie within each other more than {_MOST_DEEP} deep")
        links: list[tuple[bytes, int, int]] = []
        group.links.iterate(_collected(links), info=True)
        for name, kind, address in links:
            path = place + b"/" + name
            if kind != h5py.h5l.TYPE_HARD:
                raise _RefusedError(path, f"is {_LINKS.get(kind, 'a link of a sort of its own')}")
            if address in seen:
                raise _RefusedError(path, "is a second name of something else in the file")
            seen.add(address)
            item = h5py.h5o.open(group, name)
            if isinstance(item, h5py.h5g.GroupID):
                waiting.append((path, item))
            elif isinstance(item, h5py.h5d.DatasetID):
                stored += _check_dataset(item, path)
            else:
                raise _RefusedError(path, "is a named datatype")
            stored += _check_attributes(item, path, size)
    if stored > size:
        raise _RefusedError(b"/", "more is declared than the file has bytes")


def _collected(links: list[tuple[bytes, int, int]]) -> Callable[[bytes, Any], None]:
    """Take what HDF5 tells of each link while it goes through a group; to ask for it link by link takes far longer."""

    def collect(name: bytes, link: Any) -> None:
        links.append((name, link.type, link.u))

    return collect


def _check_dataset(item: Any, place: bytes) -> int:
    """Return the bytes that it takes in the file."""
    layout = item.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        raise _RefusedError(place, "is a virtual dataset, made of other files")
    if layout.get_external_count():
        raise _RefusedError(place, "keeps its data in another file")
    datatype, space = item.get_type(), item.get_space()
    if datatype.get_class() not in _VALUES:
        raise _RefusedError(place, "holds neither numbers nor text")
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise _RefusedError(place, "holds nothing at all")
    declared = prod(map(int, item.shape)) * int(datatype.get_size())
    stored = int(item.get_storage_size())
    filters = [layout.get_filter(position)[0] for position in range(layout.get_nfilters())]
    if set(filters) - _FILTERS or len(set(filters)) < len(filters):
        raise _RefusedError(place, "is compressed by something else than gzip")
    most = stored * (_MOST_INFLATED if filters else 1) + _NEVER_WRITTEN
    if declared > most:
        raise _RefusedError(place, "is declared far larger than the file")
    if layout.get_layout() == h5py.h5d.CHUNKED:
        _check_chunks(item, layout, place, compressed=h5py.h5z.FILTER_DEFLATE in filters)
    return stored


def _check_chunks(item: Any, layout: Any, place: bytes, *, compressed: bool) -> None:
    whole = prod(map(int, layout.get_chunk())) * int(item.get_type().get_size())
    if whole > _MOST_CHUNK:
        raise _RefusedError(place, "is cut into chunks that are too large")
    if not compressed:
        return
    chunks: list[Any] = []
    item.chunk_iter(chunks.append)
    room = available_memory() // 4
    for chunk in chunks:
        # HDF5 inflates to the end, whatever the chunk's size; incompressible data grow by a few bytes only.
        inflates = not chunk.filter_mask and chunk.size * _MOST_INFLATED > room
        if chunk.size > whole + whole // 64 + 1024 or (inflates and _is_bomb(item, chunk.chunk_offset, whole)):
            raise _RefusedError(place, "has a chunk that inflates to more than its size")


def _is_bomb(item: Any, offset: tuple[int, ...], whole: int) -> bool:
    _, data = item.read_direct_chunk(offset)
    inflated = zlib.decompressobj()
    try:
        return len(inflated.decompress(data, whole + 1)) > whole
    except zlib.error:
        return False  # HDF5 will say so


def _check_attributes(item: Any, place: bytes, size: int) -> int:
    """Return the bytes that they take in the file, at least."""
    sizes: list[tuple[bytes, int]] = []
    h5py.h5a.iterate(item, lambda name, info: sizes.append((name, int(info.data_size))), info=True)
    for name, declared in sizes:
        if declared <= _SMALL_ATTRIBUTE:  # whatever it is, reading it takes no memory to speak of
            continue
        if name in _BOOKKEEPING:
            continue
        attribute = h5py.h5a.open(item, name)
        at = place + b"/" + name
        datatype = attribute.get_type()
        if datatype.get_class() not in _VALUES:
            raise _RefusedError(at, "holds neither numbers nor text")
        if attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise _RefusedError(at, "holds nothing at all")
        count = prod(map(int, attribute.shape))
        if datatype.get_class() == h5py.h5t.STRING and count > _MOST_AXES:
            raise _RefusedError(at, "holds too many texts for an attribute")
        if count * int(datatype.get_size()) > size:
            raise _RefusedError(at, "is declared far larger than the file")
    return sum(declared for _, declared in sizes)
