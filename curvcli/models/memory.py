"""How much memory this process holds, and how much more it may have."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

# Where a container's limit and use stand, in control groups of version 2 and 1.
_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def process_memory() -> int:
    """Bytes of this process in physical memory."""
    return int(psutil.Process().memory_info().rss)


def available_memory() -> int:
    """Bytes that can be had without swapping, within the container's limit if there is one."""
    free = int(psutil.virtual_memory().available)
    for limit, used in _CONTAINER:
        with suppress(OSError, ValueError):  # no such control group, or its limit is the word "max"
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(free, 0)
