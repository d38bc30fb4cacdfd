"""How a dataset is cut and compressed."""

from __future__ import annotations

from math import ceil, prod
from typing import Any, Final

_CONTIGUOUS_BELOW: Final = 64 * 1024
_CHUNK_BYTES: Final = 1024 * 1024


def chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the chunk of a dataset: about 1 MiB of neighbouring entries, never larger than the data.

    Trailing axes are kept whole while they fit; the first that does not is cut into parts of like length (a last chunk
    that is mostly padding would be stored in full), and the axes before it have length 1.

    Args:
        shape: of the dataset, without empty axes.
        itemsize: bytes per entry.
    """
    room = _CHUNK_BYTES // itemsize
    chunk: list[int] = []
    for length in reversed(shape):
        parts = ceil(length / max(1, min(length, room)))
        chunk.append(ceil(length / parts))
        room //= chunk[-1]
    return tuple(reversed(chunk))


def layout(shape: tuple[int, ...], itemsize: int) -> dict[str, Any]:
    """Return the options with which a dataset is created: none for a small one."""
    if prod(shape) * itemsize < _CONTIGUOUS_BELOW:
        return {}
    # gzip at its lightest and nothing rarer: curvature hardly compresses, and every HDF5 tool reads this.
    return {
        "chunks": chunk_shape(shape, itemsize),
        "shuffle": True,
        "compression": "gzip",
        "compression_opts": 1,
        "fletcher32": True,
    }
