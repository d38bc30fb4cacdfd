"""How much memory this process holds and has held; how much more it may have says `curvcli.memory`."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from curvcli.memory import available_memory

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_THIS = psutil.Process()
# Until the peak is above this one it may be that of the process that started this one.
_AT_START = 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
_PAGE = mmap.PAGESIZE
# The arrays of one product with a small network, together.
_SMALL = 8 << 20


def peak_memory() -> int:
    """The most bytes this process ever had in physical memory."""
    if resource is not None and sys.platform == "linux":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if peak > _AT_START:
            return peak * 1024
    with suppress(OSError, TypeError):  # not Linux, or no such line
        line = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(line[1]) * 1024  # type: ignore[index]
    if resource is None:
        return int(_THIS.memory_info().rss)
    # Where Linux hides the line: what follows may be the peak of the process that started this one.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def keep_small_arrays() -> None:
    """Have the C library keep the memory of small arrays that are freed, for those to come.

    Until a large block was freed once, glibc gives blocks of 128 KiB and more back to the system, which zeroes them
    anew, page by page: a third of the time of a product with a network of 100,000 parameters.
    """
    np.empty(_SMALL, np.uint8)


class ProcessMemory:
    """This process's physical memory (see ``base.Memory``)."""

    def in_use(self) -> int:
        """The resident set, in bytes; asked for after every batch, of which psutil takes long enough to be seen."""
        try:
            with open("/proc/self/statm", "rb", buffering=0) as pages:  # noqa: PTH123 - the fastest
                return int(pages.read(128).split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):  # not Linux
            return int(_THIS.memory_info().rss)

    def peak(self) -> int:
        """The largest resident set so far, in bytes."""
        return peak_memory()

    def free(self) -> int:
        """Bytes that the system, and any limit on this process, still allow."""
        return available_memory()

    def release(self) -> None:
        """Give freed memory back to the system; the C library keeps it for later otherwise."""
        with suppress(OSError, AttributeError):  # only glibc has this
            ctypes.CDLL(None).malloc_trim(0)
