"""What an HDF5 file may be made of to be read as a report: groups, plain arrays and text, all in the file itself.

HDF5 lets a file of a kilobyte show the contents of other files (external links, external storage, virtual datasets),
declare terabytes, or load a plug-in to decode itself. A report needs none of that, so a file that does it is refused
before anything of it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, Final

import h5py

from curvcli.errors import ReportError
from curvcli.hdf5 import VALUES, UnsoundDatasetError, check_dataset

_LINKS: Final = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
# HDF5's own bookkeeping of dimension scales, which is never read here.
_BOOKKEEPING: Final = frozenset({b"DIMENSION_LIST", b"REFERENCE_LIST", b"CLASS", b"NAME", b"_Netcdf4Dimid"})
# /layers/NAME/split/parameters/NAME/jacobian is the deepest place that a report has.
_MOST_DEEP: Final = 16
_MOST_AXES: Final = 32
# Of texts, the descriptors alone: at most as many as a dataset has axes.
_SMALL_ATTRIBUTE: Final = 16 * _MOST_AXES


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
    visited = {h5py.h5o.get_info(root).addr}
    stored = _check_attributes(root, b"/", size)
    waiting: list[tuple[bytes, Any]] = [(b"", root)]
    while waiting:
        place, group = waiting.pop()
        if place.count(b"/") >= _MOST_DEEP:
            raise _RefusedError(place, f"groups are nested more than {_MOST_DEEP} deep")
        links: list[tuple[bytes, int, int]] = []
        group.links.iterate(_collected(links), info=True)
        for name, kind, address in links:
            path = place + b"/" + name
            if kind != h5py.h5l.TYPE_HARD:
                raise _RefusedError(path, f"is {_LINKS.get(kind, 'a link of an unknown kind')}")
            if address in visited:
                raise _RefusedError(path, "is a second name of another object in the file")
            visited.add(address)
            item = h5py.h5o.open(group, name)
            if isinstance(item, h5py.h5g.GroupID):
                waiting.append((path, item))
            elif isinstance(item, h5py.h5d.DatasetID):
                stored += _sound(item, path)
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


def _sound(item: Any, place: bytes) -> int:
    """Return the bytes that a dataset takes in the file."""
    try:
        return check_dataset(item)
    except UnsoundDatasetError as unsound:
        raise _RefusedError(place, str(unsound)) from None


def _check_attributes(item: Any, place: bytes, size: int) -> int:
    """Return the bytes that they take in the file, at least."""
    sizes: list[tuple[bytes, int]] = []
    h5py.h5a.iterate(item, lambda name, header: sizes.append((name, int(header.data_size))), info=True)
    for name, declared in sizes:
        if declared <= _SMALL_ATTRIBUTE:  # whatever it is, reading it takes no memory to speak of
            continue
        if name in _BOOKKEEPING:
            continue
        attribute = h5py.h5a.open(item, name)
        at = place + b"/" + name
        datatype = attribute.get_type()
        if datatype.get_class() not in VALUES:
            raise _RefusedError(at, "holds neither numbers nor text")
        if attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise _RefusedError(at, "holds nothing at all")
        count = prod(map(int, attribute.shape))
        if datatype.get_class() == h5py.h5t.STRING and count > _MOST_AXES:
            raise _RefusedError(at, "holds too many texts for an attribute")
        if count * int(datatype.get_size()) > size:
            raise _RefusedError(at, "is declared far larger than the file")
    return sum(declared for _, declared in sizes)
