"""NumPy's files, ``.npy`` and ``.npz``, read with their sizes checked before anything is allocated.

NumPy believes a header; here it is held against the file and the free memory first. Nothing pickled is ever loaded.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from curvcli.errors import CurvcliError, DataError
from curvcli.files import check_room

MAGIC: Final = b"\x93NUMPY"
_SUFFIX: Final = ".npy"
_MOST_HEADER: Final = 10_000
_BLOCK: Final = 1 << 20
# A member's own header: the lengths of its name and of its extra field end it.
_LOCAL: Final = struct.Struct("<26xHH")
# NumPy writes these; the decompressors of others can't be told where to stop.
_COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


# Version 3 is for the names of fields in records, which no column has.
_HEADERS: Final[Mapping[Any, Callable[..., Any]]] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}


class BadArrayError(ValueError):
    """A header or a member that is not as NumPy writes it; the message says why in a few words, and quotes nothing."""


@dataclass(frozen=True)
class Header:
    """What an array's header says.

    Attributes:
        shape: no length is negative.
        dtype: without Python objects.
        fortran: whether the first axis runs fastest.
        offset: of the first entry, in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Of all entries."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> Header:
    """Read the header at the beginning of a ``.npy`` stream; where the stream stands afterwards is left open.

    Raises:
        BadArrayError: it is none, or says that Python objects follow.
        OSError: the stream can't be read.
    """
    begin = io.BytesIO(stream.read(_MOST_HEADER))  # NumPy would read as much as the header says that it is long
    if not begin.getvalue().startswith(MAGIC):
        raise BadArrayError("it is not a NumPy array")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python 2 wrote need no remark
            read = _HEADERS[npy.read_magic(begin)]
            shape, fortran, dtype = read(begin, _MOST_HEADER)
    except Exception:  # a header is parsed as Python, which raises whatever the text makes it raise
        raise BadArrayError("the header is damaged") from None
    if dtype.hasobject:
        raise BadArrayError("Object arrays")
    if any(length < 0 for length in shape):
        raise BadArrayError("the header has a negative length")
    if len(shape) > 32 or max(shape, default=0) >= 1 << 62:
        raise BadArrayError("the header has a shape that no array can have")
    return Header(tuple(map(int, shape)), dtype, bool(fortran), begin.tell())


class Archive:
    """An opened ``.npz`` file.

    Attributes:
        names: of the arrays in it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read the directory of the archive.

        Raises:
            UNREADABLE: it is no archive, or a damaged one.
        """
        self._zip = zipfile.ZipFile(stream)
        self._members = {name.removesuffix(_SUFFIX): name for name in self._zip.namelist()}
        self.names = tuple(self._members)

    def header(self, name: str) -> Header:
        """Read an array's header, and hold it against the size of its member.

        Raises:
            KeyError: there is no such array.
            UNREADABLE: the member is damaged, or no array.
        """
        with self._open(name) as stream:
            return self._header(name, stream)

    def place(self, name: str) -> Header | None:
        """Where an uncompressed array lies in the archive's file, so that it can be mapped; None for a compressed one.

        Its checksum is verified, for which all of it is read, block by block.

        Raises:
            KeyError: there is no such array.
            UNREADABLE: the member is damaged, or no array.
        """
        member = self._zip.getinfo(self._members[name])
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with self._open(name) as stream:
            header = self._header(name, stream)
            stream.seek(0)
            while stream.read(_BLOCK):
                pass
        return replace(header, offset=header.offset + stored_offset(self._zip, member))

    def blocks(self, name: str, rows: int) -> Iterator[npt.NDArray[Any]]:
        """Unpack an array in C order, so many rows at a time.

        Raises:
            KeyError: there is no such array.
            UNREADABLE: the member is damaged, or no array.
        """
        with self._open(name) as stream:
            header = self._header(name, stream)
            stream.seek(header.offset)
            row = prod(header.shape[1:]) * header.dtype.itemsize
            left = header.shape[0]
            while left:
                count = min(rows, left)
                block = bytearray(count * row)
                _fill(stream, memoryview(block))
                yield np.frombuffer(block, header.dtype).reshape(count, *header.shape[1:])
                left -= count
            stream.read(1)  # its end, where the checksum is verified

    def read(self, name: str, where: str, *, error: type[CurvcliError] = DataError) -> npt.NDArray[Any]:
        """Read an array, never more than its header declares.

        Args:
            name: of the array.
            where: names it in the message of `error`.
            error: to raise where it does not fit into the free memory.

        Raises:
            CurvcliError: of the class `error`.
            KeyError: there is no such array.
            UNREADABLE: the member is damaged, or no array.
        """
        with self._open(name) as stream:
            header = self._header(name, stream)
            check_room(header.nbytes, where, error=error)
            stream.seek(header.offset)
            flat = np.empty(prod(header.shape), header.dtype)
            if header.nbytes:
                _fill(stream, flat.view(np.uint8).data)
        return flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape)

    def _open(self, name: str) -> IO[bytes]:
        member = self._zip.getinfo(self._members[name])
        if member.compress_type not in _COMPRESSIONS:
            raise BadArrayError("it is compressed in a way that NumPy does not use")
        return self._zip.open(member)

    def _header(self, name: str, stream: IO[bytes]) -> Header:
        header = read_header(stream)
        if header.offset + header.nbytes != self._zip.getinfo(self._members[name]).file_size:
            raise BadArrayError("the header declares another size than the data has")
        return header


def stored_offset(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Where the bytes of an uncompressed member begin in the archive's file.

    Raises:
        BadArrayError: they are declared outside the file, or compressed.
    """
    stream = archive.fp
    if stream is None or member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise BadArrayError("it is not stored as it is")
    stream.seek(member.header_offset)
    local = stream.read(_LOCAL.size)
    if len(local) < _LOCAL.size:
        raise BadArrayError("it is cut off")
    lengths: tuple[int, int] = _LOCAL.unpack(local)
    begin = member.header_offset + _LOCAL.size + sum(lengths)
    if begin + member.file_size > stream.seek(0, io.SEEK_END):
        raise BadArrayError("it is cut off")
    return begin


def _fill(stream: IO[bytes], entries: memoryview) -> None:
    filled = 0
    while filled < len(entries):
        block = stream.read(min(_BLOCK, len(entries) - filled))
        if not block:
            raise BadArrayError("it is cut off")
        entries[filled : filled + len(block)] = block
        filled += len(block)
