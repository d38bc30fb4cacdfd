"""How much more memory this process may have."""

from __future__ import annotations

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


def available_memory() -> int:
    """Bytes to be allocated without swapping, within the container's limit and ``ulimit -v`` if there are such."""
    free = int(psutil.virtual_memory().available)
    for limit, used in _CONTAINER:
        with suppress(OSError, ValueError):  # no such control group, or its limit is the word "max"
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    if resource is not None and sys.platform == "linux":
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            free = min(free, most - int(psutil.Process().memory_info().vms))
    return max(free, 0)
