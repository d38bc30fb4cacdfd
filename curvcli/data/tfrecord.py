"""Reads columns from TFRecord files of ``tf.train.Example``, without TensorFlow."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import IO, Any, Final, Literal

import numpy as np
from pydantic import Field

from curvcli.data.checks import check_columns, describe
from curvcli.data.examples import example_class
from curvcli.data.files import existing_file, is_gzip, needed, opened
from curvcli.data.forward import Blocks, Forward, rows_at_once
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import check_room, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text
from curvcli.text import cut, quoted

_LENGTH: Final = struct.Struct("<QI")
_CHECKSUM: Final = struct.Struct("<I")
_MASK: Final = 0xA282EAD8
_STRIDE: Final = 64
_MOST_RECORD: Final = 1 << 30
_KINDS: Final[dict[str, Any]] = {"FloatList": np.float32, "Int64List": np.int64, "BytesList": object}

RawType = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float16", "float32", "float64"]


class TfRecordSource(SourceTable):
    """TFRecord files of ``tf.train.Example``, gzipped or not; a column is a feature of one length in all records.

    Attributes:
        path: a file, or a pattern for many: ``train-*.tfrecord``.
        raw: what numbers features of bytes hold, as ``array.tobytes()`` wrote them: ``raw = { image = "uint8" }``.
    """

    format: Literal["tfrecord"]
    path: Text
    raw: dict[str, RawType] = Field(default_factory=dict)


class TfRecordReader:
    """The wanted features of one file: float32, int64, text if the spec says so, or numbers out of bytes.

    The file is read once to check every record. Afterwards records are parsed where they lie, some at a time.
    """

    def __init__(self, source: TfRecordSource, written: str, wanted: Wanted) -> None:
        """Read the file once.

        Raises:
            DataError: it is missing, damaged, lacks a column, or a record differs in length from the first; a package
                is not installed.
        """
        self._crc = needed("google_crc32c", "google-crc32c", "TFRecord").value
        self._example = example_class()
        self._source = source
        self._where = written
        self._wanted = wanted
        self._path = existing_file(written, wanted.resolve)
        with open_regular(self._path, "a TFRecord file", shown=written, error=DataError) as stream:
            packed = is_gzip(stream)
        self._starts = array("q")
        columns = self._scanned()
        rows = next(iter(columns.values())).rows
        if packed:  # unpacked from the beginning, wherever reading is to begin
            self._starts = self._starts[:1]
        self._forward = Forward(columns, range(0, max(rows, 1), _STRIDE)[: len(self._starts)], self._blocks)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._forward.column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return self._forward.read(names, rows)

    def _scanned(self) -> dict[str, Column]:
        first: dict[str, Array] = {}
        rows = 0
        with opened(self._path, "a TFRecord file", self._where) as file:
            for row, (begin, features) in enumerate(self._records(file)):
                if row % _STRIDE == 0:
                    self._starts.append(begin)
                check_columns(self._wanted.names, self._where if not row else f"{self._where}, row {row}", features)
                for name in self._wanted.names:
                    values = self._values(name, row, features[name])
                    one = first.setdefault(name, values)
                    if (values.shape, values.dtype) != (one.shape, one.dtype):
                        raise self._differs(name, row, values, one)
                rows = row + 1
        if not rows:
            raise DataError(f"{self._where}: the file is empty; there is nothing to compute on.")
        return {n: describe(n, self._where, (rows, *one.shape), one.dtype) for n, one in first.items()}

    def _differs(self, name: str, row: int, values: Array, first: Array) -> DataError:
        place = f"{self._where}: column {quoted(name)}, row {row}"
        if values.dtype != first.dtype:
            return DataError(f"{place}: {values.dtype}, row 0 has {first.dtype}; write one kind of list for a feature.")
        return DataError(
            f"{place}: {values.size} values, row 0 has {first.size}; every sample needs one shape.\n"
            "Pad them when you write them: tf.pad(x, [[0, n - len(x)]]), and mark the padding by ignore_index or an "
            "attention mask."
        )

    def _values(self, name: str, row: int, feature: Any) -> Array:
        """A record's values of a feature, (n,); a single one without axes."""
        place = f"{self._where}: column {quoted(name)}, row {row}"
        kind = feature.WhichOneof("kind")
        if kind is None:
            raise DataError(f"{place}: the feature is empty.\nRemove the record or fill it in.")
        entries = getattr(feature, kind).value
        if name in self._source.raw:
            return self._raw(name, place, entries if kind == "BytesList" else ())
        if kind == "BytesList" and name not in self._wanted.texts and _is_no_text(entries):
            raise DataError(
                f'{place}: holds bytes. If they are plain numbers, say which: raw = {{ {cut(name)} = "uint8" }} in '
                "[source]; encoded images: write them again with tf.io.decode_image(x).numpy().tobytes()."
            )
        values = np.array(entries, dtype=_KINDS[kind])
        return values.reshape(()) if values.size == 1 else values

    def _raw(self, name: str, place: str, entries: Any) -> Array:
        dtype = np.dtype(self._source.raw[name]).newbyteorder("<")
        if len(entries) != 1 or len(entries[0]) % dtype.itemsize:
            raise DataError(f"{place}: is no list of one text of bytes that are {dtype.name}; see source.raw.")
        return np.frombuffer(entries[0], dtype)

    def _records(self, file: IO[bytes]) -> Iterator[tuple[int, Any]]:
        """Every record's features, with the byte at which it begins."""
        row = 0
        begin = file.tell()
        while head := file.read(_LENGTH.size):
            if len(head) < _LENGTH.size:
                raise self._damaged(row, "it is cut off")
            length, checksum = _LENGTH.unpack(head)
            if self._masked(head[:8]) != checksum:
                raise self._damaged(row, "the checksum of its length is wrong")
            if length > _MOST_RECORD:
                raise self._damaged(row, f"it declares {length:,} bytes")
            check_room(2 * length, f"{self._where}, row {row}", error=DataError)
            data = file.read(length)
            end = file.read(_CHECKSUM.size)
            if len(data) < length or len(end) < _CHECKSUM.size:
                raise self._damaged(row, "it is cut off")
            if self._masked(data) != _CHECKSUM.unpack(end)[0]:
                raise self._damaged(row, "its checksum is wrong")
            yield begin, self._parsed(row, data)
            begin += _LENGTH.size + length + _CHECKSUM.size
            row += 1

    def _parsed(self, row: int, data: bytes) -> Any:
        try:
            return self._example.FromString(data).features.feature
        except Exception:  # protobuf's own kind of error
            raise self._damaged(row, "it is no tf.train.Example") from None

    def _masked(self, data: bytes) -> int:
        crc = int(self._crc(data))
        return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF

    def _damaged(self, row: int, reason: str) -> DataError:
        return DataError(
            f"{self._where}: is no complete TFRecord file; make it again or check source.format.\n"
            f"Reason: record {row}: {reason}."
        )

    def _blocks(self, start: int) -> Blocks:
        columns = self._forward.columns
        size = min(rows_at_once(columns), 1024)
        row = start * _STRIDE
        with opened(self._path, "a TFRecord file", self._where) as file:
            file.seek(self._starts[start])
            records = self._records(file)
            while block := [features for _, features in islice(records, size)]:
                yield {name: self._stacked(column, row, block) for name, column in columns.items()}
                row += len(block)

    def _stacked(self, column: Column, row: int, block: Sequence[Any]) -> Array:
        values = np.empty((len(block), *column.shape), column.dtype)
        for number, features in enumerate(block):
            one = self._values(column.name, row + number, features[column.name])
            if one.shape != column.shape:
                raise DataError(f"{self._where}: changed while it was read; run the command again.")
            values[number] = one[()] if not one.shape else one
        return values


def _is_no_text(entries: Any) -> bool:
    try:
        return any(len(entry) > 1000 or not entry.decode().isprintable() for entry in entries)
    except UnicodeDecodeError:
        return True


def _open(source: TfRecordSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, partial(TfRecordReader, source))


FORMAT = Format(TfRecordSource, _open)
