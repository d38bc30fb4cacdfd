"""How much memory this process holds, and how much more it may have."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

# Where a container's limit and use stand, in control groups of version 2 and 1.
_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)

_THIS = psutil.Process()  # asked after every batch; making it is dearer than asking


def available_processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_memory() -> int:
    """Bytes of this process in physical memory."""
    return int(_THIS.memory_info().rss)


def peak_memory() -> int:
    """The most bytes this process ever had in physical memory."""
    with suppress(OSError, TypeError):  # not Linux, or no such line
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024  # type: ignore[index]
    if resource is None:
        return process_memory()
    # Where Linux hides the line: what follows may be the peak of the process that started this one.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def release_memory() -> None:
    """Give freed memory back to the system; the C library keeps it for later otherwise."""
    with suppress(OSError, AttributeError):  # only glibc has this
        ctypes.CDLL(None).malloc_trim(0)


def available_memory() -> int:
    """Bytes that can be had without swapping, within the container's limit if there is one."""
    free = int(psutil.virtual_memory().available)
    for limit, used in _CONTAINER:
        with suppress(OSError, ValueError):  # no such control group, or its limit is the word "max"
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(free, 0)
