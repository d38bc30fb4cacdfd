"""Messages between processes over a socket: pickled, with large arrays in anonymous memory that both map.

The memory has no name and no place in a file system: it is gone when nobody maps it any more, whoever was killed.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Sequence
from typing import Any, Final

# Buffers below this go through the socket, with the rest of the message.
_LARGE: Final = 1 << 16
# The length of the text that follows; with it comes the memory, if there is any.
_HEADER: Final = struct.Struct("<Q?")


class Channel:
    """One end of a socket between the engine and a worker."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def fileno(self) -> int:
        """Of the socket, for those who wait for messages."""
        return self._socket.fileno()

    def close(self) -> None:
        """Nothing more is sent or received."""
        self._socket.close()

    def send(self, message: Any) -> None:
        """Send anything that can be pickled.

        Raises:
            OSError: the other process has gone, or there is no memory for the arrays.
        """
        body, views = split(message)
        text = pickle.dumps(([view.nbytes for view in views], body))
        header = _HEADER.pack(len(text), bool(views))
        if not views:
            self._socket.sendall(header + text)
            return
        memory = _memory()
        try:
            for view in views:
                _write(memory, view)
            socket.send_fds(self._socket, [header], [memory])
        finally:
            os.close(memory)
        self._socket.sendall(text)

    def receive(self) -> Any:
        """Wait for the next message; its arrays may be written to.

        Raises:
            EOFError: the other process has gone.
        """
        try:
            first, memories, _, _ = socket.recv_fds(self._socket, _HEADER.size, 1)
            length, _ = _HEADER.unpack(first + self._exactly(_HEADER.size - len(first)) if first else b"")
            text = self._exactly(length)
        except (ConnectionError, struct.error):
            raise EOFError("the other process has gone") from None
        lengths, body = pickle.loads(text)
        return joined(body, _mapped(memories[0], lengths) if memories else ())

    def _exactly(self, count: int) -> bytes:
        blocks = bytearray()
        while len(blocks) < count:
            block = self._socket.recv(min(count - len(blocks), 1 << 20))
            if not block:
                raise EOFError("the other process has gone")
            blocks += block
        return bytes(blocks)


def split(message: Any) -> tuple[bytes, list[memoryview]]:
    """A message as pickled, and its large arrays, which are left where they are."""
    buffers: list[pickle.PickleBuffer] = []

    def outside(buffer: pickle.PickleBuffer) -> bool:
        large = buffer.raw().nbytes >= _LARGE
        if large:
            buffers.append(buffer)
        return not large

    body = pickle.dumps(message, protocol=5, buffer_callback=outside)
    return body, [buffer.raw().cast("B") for buffer in buffers]


def joined(body: bytes, buffers: Sequence[Any]) -> Any:
    """The message of what ``split`` returned; its arrays may be written to if the buffers may."""
    return pickle.loads(body, buffers=buffers)


def _memory() -> int:
    """A descriptor of new memory, or where the system has none without a name, of a file that nobody else can open."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("curvcli")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _mapped(descriptor: int, lengths: Sequence[int]) -> list[memoryview]:
    try:
        view = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    finally:
        os.close(descriptor)
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    return [view[start : start + length] for start, length in zip(starts, lengths, strict=True)]
