"""Reads columns from tensors that ``torch.save`` stored; neither torch nor a pickle is needed for that."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import numpy as np

from curvcli.arrays import BadArrayError, stored_offset
from curvcli.data.checks import check_columns, describe, unreadable
from curvcli.data.files import existing_file
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.data.tensor_pickle import BadDescriptionError, Other, Storage, Tensor, described, item_size
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text
from curvcli.text import cut, quoted

_MOST_DESCRIPTION: Final = 1 << 24
_BLOCK: Final = 1 << 20
_OLD: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"


class TorchSource(SourceTable):
    """Files that ``torch.save`` made of a tensor, or of a dict, list or tuple of tensors.

    A dict's tensors are called by their keys, those within it ``outer.inner``; a list's ``"0"``, ``"1"``, …; a single
    one like its file, without ``.pt``.

    Attributes:
        path: a file, or a pattern for many: ``part-*.pt``.
    """

    format: Literal["torch"]
    path: Text


class TorchReader:
    """The wanted tensors of one file, mapped into memory."""

    def __init__(self, written: str, wanted: Wanted) -> None:
        """Follow the file's description of its tensors, and map them.

        Raises:
            DataError: the file is missing, damaged, lacks a column, or holds other objects in its place.
        """
        self._where = written
        path = existing_file(written, wanted.resolve)
        self._stream = open_regular(path, "a file of tensors", shown=written, error=DataError)
        if not zipfile.is_zipfile(self._stream):
            self._stream.seek(0)
            if self._stream.read(len(_OLD)) == _OLD:
                raise DataError(
                    f"{written}: is of a torch before 1.6; write it again: torch.save(torch.load('old.pt'), 'data.pt')."
                )
            raise DataError(f"{written}: is no complete file of torch.save; make it again or check source.format.")
        try:
            self._zip = zipfile.ZipFile(self._stream)
            tree = self._tree()
        except (BadDescriptionError, BadArrayError) as error:
            raise DataError(f"{written}: is no complete file of torch.save: {error}; make it again.") from None
        except UNREADABLE as error:
            raise unreadable(written, ".pt", error) from None
        tensors = dict(_named(tree, PurePosixPath(path.name).stem))
        check_columns(wanted.names, written, tensors)
        self._mapped: dict[str, Array] = {}
        self._arrays = {name: self._array(name, tensors[name]) for name in wanted.names}
        self._columns = {
            name: describe(
                name, written, array.shape, array.dtype if not self._wide[name] else np.dtype("f4"), mapped=True
            )
            for name, array in self._arrays.items()
        }

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._columns[name]

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return {name: self._rows(name, rows) for name in names}

    def _rows(self, name: str, rows: Rows) -> Array:
        values = np.asarray(self._arrays[name][rows])
        # bfloat16 is the first half of float32.
        return (values.astype("u4") << 16).view("f4") if self._wide[name] else values

    def _tree(self) -> Any:
        members = {name.partition("/")[2]: name for name in self._zip.namelist()}
        if "data.pkl" not in members or "constants.pkl" in members or any(n.startswith("code/") for n in members):
            what = "a TorchScript model" if "constants.pkl" in members else "no file of torch.save"
            raise BadArrayError(f"it is {what}")
        self._members = {n.removeprefix("data/"): full for n, full in members.items() if n.startswith("data/")}
        order = self._zip.read(members["byteorder"])[:10] if "byteorder" in members else b"little"
        self._order: Literal[">", "<"] = ">" if order == b"big" else "<"
        self._wide: dict[str, bool] = {}
        description = self._zip.getinfo(members["data.pkl"])
        if description.file_size > _MOST_DESCRIPTION:
            raise BadArrayError("the description of its tensors is too long")
        return described(self._zip.read(description))

    def _array(self, name: str, value: Any) -> Array:
        place = f"{self._where}: column {quoted(name)}"
        if isinstance(value, Other):
            raise DataError(
                f"{place} is {cut(value.of, 80)}, not a plain tensor; store plain ones: torch.save({{'x': x, 'y': y}}, "
                "'data.pt')."
            )
        if not isinstance(value, Tensor):
            kind = "None" if value is None else type(value).__name__
            raise DataError(f"{place} is of Python's type {kind}; store a tensor: torch.tensor(…).")
        self._wide[name] = value.kind == "bfloat16"
        dtype: np.dtype[Any] = np.dtype("u2" if self._wide[name] else value.kind).newbyteorder(self._order)
        try:
            data = self._storage(value.storage, item_size(value.kind))
        except (BadArrayError, KeyError) as error:
            reason = error if isinstance(error, BadArrayError) else "its data are not there"
            raise DataError(f"{place}: is no complete file of torch.save: {reason}; make it again.") from None
        except UNREADABLE as error:
            raise unreadable(place, ".pt", error) from None
        strides = tuple(step * dtype.itemsize for step in value.strides)
        try:
            if not all(value.shape):
                return np.empty(value.shape, dtype)
            return np.ndarray(value.shape, dtype, data.data, value.offset * dtype.itemsize, strides)
        except (TypeError, ValueError) as error:  # more axes or entries than an array has, or a storage of two sizes
            raise unreadable(place, ".pt", error) from None

    def _storage(self, storage: Storage, size: int) -> Array:
        """The bytes of a storage, whose checksum is verified."""
        if storage.key in self._mapped:
            return self._mapped[storage.key]
        member = self._zip.getinfo(self._members[storage.key])
        declared = storage.count * (size if storage.kind is not None else 1)
        if member.file_size < declared:
            raise BadArrayError(f"it declares {declared:,} bytes where there are {member.file_size:,}")
        begin = stored_offset(self._zip, member)
        with self._zip.open(member) as stream:
            while stream.read(_BLOCK):
                pass
        data: Array = np.memmap(self._stream, "u1", "r", begin, (declared,)) if declared else np.empty(0, "u1")
        self._mapped[storage.key] = data
        return data


def _named(tree: Any, single: str) -> Mapping[str, Any]:
    """Every value by name: ``outer.inner``."""
    if isinstance(tree, Tensor | Other) or not isinstance(tree, dict | list | tuple):
        return {single: tree}
    named: dict[str, Any] = {}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, dict | tuple) or (isinstance(value, list) and any(isinstance(v, Tensor) for v in value)):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            named |= {f"{key}.{below}": one for below, one in inner}
        else:
            named[str(key)] = value
    return named


def _open(source: TorchSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, TorchReader)


FORMAT = Format(TorchSource, _open)
