"""Reads columns from TFRecord files of ``tf.train.Example``, without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import IO, Any, Final, Literal

import numpy as np
from pydantic import Field

from curvcli.data.encoded import ImageSource, decoded_bytes, image_kind
from curvcli.data.examples import example_class
from curvcli.data.files import needed
from curvcli.data.interface import Array, Format, Reader, Wanted
from curvcli.data.scanned import Record, ScannedReader
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import check_room
from curvcli.spec.table import Text
from curvcli.text import cut, quoted

_LENGTH: Final = struct.Struct("<QI")
_CHECKSUM: Final = struct.Struct("<I")
_MASK: Final = 0xA282EAD8
_MOST_RECORD: Final = 1 << 30
_KINDS: Final[dict[str, Any]] = {"FloatList": np.float32, "Int64List": np.int64, "BytesList": object}

RawType = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float16", "float32", "float64"]


class TfRecordSource(ImageSource):
    """TFRecord files of ``tf.train.Example``, gzipped or not; a column is a feature of one length in all records.

    Attributes:
        path: a file, or a pattern for many: ``train-*.tfrecord``.
        raw: what numbers features of bytes hold, as ``array.tobytes()`` wrote them: ``raw = { image = "uint8" }``.
    """

    format: Literal["tfrecord"]
    path: Text
    raw: dict[str, RawType] = Field(default_factory=dict)


class TfRecordReader(ScannedReader):
    """The wanted features of one file: float32, int64, text if the spec says so, images, or numbers out of bytes."""

    what = "a TFRecord file"

    def __init__(self, source: TfRecordSource, written: str, wanted: Wanted) -> None:
        """Read the file once; see `ScannedReader`.

        Raises:
            DataError: besides, a package is not installed.
        """
        self._crc = needed("google_crc32c", "google-crc32c", "TFRecord").value
        self._example = example_class()
        self._source = source
        self._images: dict[str, tuple[int, ...]] = {}
        super().__init__(written, wanted)

    def _differs(self, name: str, row: int, values: Array, first: Array) -> DataError:
        place = f"{self._where}: column {quoted(name)}, row {row}"
        if values.dtype != first.dtype:
            return DataError(f"{place}: {values.dtype}, row 0 has {first.dtype}; write one kind of list for a feature.")
        return DataError(
            f"{place}: {values.size} values, row 0 has {first.size}; every sample needs one shape.\n"
            "Pad them when you write them: tf.pad(x, [[0, n - len(x)]]), and mark the padding by ignore_index or an "
            "attention mask."
        )

    def _value(self, name: str, row: int, stored: Any) -> Array:
        """A record's values of a feature, (n,); a single one without axes."""
        place = f"{self._where}: column {quoted(name)}, row {row}"
        kind = stored.WhichOneof("kind")
        if kind is None:
            raise DataError(f"{place}: the feature is empty.\nRemove the record or fill it in.")
        entries = getattr(stored, kind).value
        if name in self._source.raw:
            return self._raw(name, place, entries if kind == "BytesList" else ())
        if name in self._images or (not row and self._is_image(name, kind, entries)):
            return self._image(name, place, entries if kind == "BytesList" else ())
        if kind == "BytesList" and name not in self._wanted.texts and _is_no_text(entries):
            raise DataError(
                f"{place}: holds bytes, which are no image that is read.\n"
                f'If they are plain numbers, say which: raw = {{ {cut(name)} = "uint8" }} in [source].'
            )
        values = np.array(entries, dtype=_KINDS[kind])
        return values.reshape(()) if values.size == 1 else values

    def _is_image(self, name: str, kind: str, entries: Any) -> bool:
        return (
            kind == "BytesList"
            and name not in self._wanted.texts
            and len(entries) == 1
            and bool(image_kind(entries[0]))
        )

    def _image(self, name: str, place: str, entries: Any) -> Array:
        if len(entries) != 1:
            raise DataError(f"{place}: holds no image, row 0 does; write one kind of list for a feature.")
        values = decoded_bytes(entries[0], place, self._source, self._images.get(name))
        self._images[name] = values.shape
        return values

    def _checked(self, name: str, row: int, stored: Any, first: Array | None) -> Array:
        # To decode all images twice would take as long again.
        return first if first is not None and name in self._images else self._value(name, row, stored)

    def _raw(self, name: str, place: str, entries: Any) -> Array:
        dtype = np.dtype(self._source.raw[name]).newbyteorder("<")
        if len(entries) != 1 or len(entries[0]) % dtype.itemsize:
            raise DataError(f"{place}: is no list of one text of bytes that are {dtype.name}; see source.raw.")
        return np.frombuffer(entries[0], dtype)

    def _records(self, file: IO[bytes]) -> Iterator[tuple[int, Record]]:
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

    def _parsed(self, row: int, data: bytes) -> Record:
        try:
            features: Record = self._example.FromString(data).features.feature
        except Exception:  # protobuf's own kind of error
            raise self._damaged(row, "it is no tf.train.Example") from None
        return features

    def _masked(self, data: bytes) -> int:
        crc = int(self._crc(data))
        return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF

    def _damaged(self, row: int, reason: str) -> DataError:
        return DataError(
            f"{self._where}: is no complete TFRecord file; make it again or check source.format.\n"
            f"Reason: record {row}: {reason}."
        )


def _is_no_text(entries: Any) -> bool:
    try:
        return any(len(entry) > 1000 or not entry.decode().isprintable() for entry in entries)
    except UnicodeDecodeError:
        return True


def _open(source: TfRecordSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, partial(TfRecordReader, source))


FORMAT = Format(TfRecordSource, _open)
