"""The digest of what a report says, without when, where and how fast it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from curvcli.errors import ReportError
from curvcli.files import check_room
from curvcli.report.hdf5.reading import read_text, read_texts
from curvcli.report.hdf5.schema import PROVENANCE, VOLATILE
from curvcli.report.hdf5.storage import opened

# HDF5's own bookkeeping of dimension scales: it holds file addresses, and the tables' layout says the same.
_BOOKKEEPING = frozenset({"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"})
_SLAB_BYTES = 16 * 1024 * 1024


def content_digest(path: Path) -> str:
    """Return a SHA-256 over all groups, datasets and attributes but the volatile ones of ``/provenance``.

    Two runs of equal work give equal digests, whenever and wherever they ran. Storage (chunks, compression) does not
    count.

    Raises:
        ReportError: the file can't be read.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        for block in _blocks(file):
            digest.update(len(block).to_bytes(8, "little"))
            digest.update(block)
    return digest.hexdigest()


def _blocks(group: h5py.Group) -> Iterator[bytes]:
    """Yield the bytes of a group and all below it, in the order of names."""
    volatile = VOLATILE if group.name == f"/{PROVENANCE}" else frozenset()
    yield b"group " + group.name.encode()
    yield from _attributes(group, volatile)
    for name in sorted(set(group) - volatile):
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _blocks(item)
        else:
            yield b"dataset " + item.name.encode()
            yield from _attributes(item, frozenset())
            yield from _values(item)


def _attributes(item: Any, skipped: frozenset[str]) -> Iterator[bytes]:
    for name in sorted(set(item.attrs) - skipped - _BOOKKEEPING):
        value = item.attrs[name]
        described = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        yield json.dumps([name, str(getattr(value, "dtype", "str")), described]).encode()


def _values(dataset: Any) -> Iterator[bytes]:
    yield json.dumps([str(dataset.dtype), list(dataset.shape)]).encode()
    if h5py.check_string_dtype(dataset.dtype) is not None:
        text = read_text(dataset) if dataset.ndim == 0 else read_texts(dataset)
        yield json.dumps(text).encode()
    elif dataset.ndim == 0:
        yield np.asarray(dataset[()]).tobytes()
    else:
        row_bytes = max(1, dataset.nbytes // max(1, dataset.shape[0]))
        step = max(1, _SLAB_BYTES // row_bytes)
        check_room(step * row_bytes, f"{dataset.file.filename}: {dataset.name}", error=ReportError)
        for start in range(0, dataset.shape[0], step):
            yield dataset[start : start + step].tobytes()
