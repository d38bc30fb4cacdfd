"""How much memory this process holds and has held; how much more it may have says `curvcli.memory`."""

from __future__ import annotations

import ctypes
import re
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from curvcli.memory import available_memory

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_THIS = psutil.Process()  # read after every batch; making it is dearer than reading it


def peak_memory() -> int:
    """The most bytes this process ever had in physical memory."""
    with suppress(OSError, TypeError):  # not Linux, or no such line
        line = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(line[1]) * 1024  # type: ignore[index]
    if resource is None:
        return int(_THIS.memory_info().rss)
    # Where Linux hides the line: what follows may be the peak of the process that started this one.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class ProcessMemory:
    """This process's physical memory (see ``base.Memory``)."""

    def in_use(self) -> int:
        """The resident set, in bytes."""
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
