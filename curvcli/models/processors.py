"""How many processors this process may use: its affinity mask, and the CPU quota of its container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil, isfinite
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")
# Where version 1's controller of CPU time is mounted.
_VERSION_1: Final = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def available_processors() -> int:
    """Processors that this process may keep busy: those it may run on, or fewer where a quota allows less time."""
    processors, quota = affinity(), cpu_quota()
    return processors if quota is None else min(processors, max(1, ceil(quota)))


def affinity() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> float | None:
    """The CPU time that this process's control groups allow it, in processors; None where there is no limit.

    Args:
        groups: where control groups are mounted.
        membership: which of them the process is in, as Linux tells it.
    """
    quotas = [quota for folder in _folders(groups, membership) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _folders(groups: Path, membership: Path) -> Iterator[Path]:
    """The process's groups and all above them, each of which may have a limit of its own.

    A container sees its own group as the root, and may be told the path that the group has outside.
    """
    lines: list[str] = []
    with suppress(OSError, UnicodeDecodeError):
        lines = membership.read_text().splitlines()
    for line in lines:
        number, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if (number != "0" and "cpu" not in controllers.split(",")) or ".." in path.split("/"):
            continue
        roots = [groups] if number == "0" else [groups / name for name in _VERSION_1]
        inside = Path(path.lstrip("/"))
        for root in roots:
            yield from (root / part for part in (inside, *inside.parents) if part != Path())
    yield groups
    yield from (groups / name for name in _VERSION_1)


def _quota(folder: Path) -> float | None:
    """The limit of one group, of version 2 or 1."""
    with suppress(OSError, ValueError):
        time, period = (folder / "cpu.max").read_text().split()
        return None if time == "max" else _processors(time, period)
    with suppress(OSError, ValueError):
        return _processors((folder / "cpu.cfs_quota_us").read_text(), (folder / "cpu.cfs_period_us").read_text())
    return None


def _processors(time: str, period: str) -> float | None:
    """Microseconds of CPU time per period; version 1 says -1 for no limit."""
    allowed, whole = float(time), float(period)
    quota = allowed / whole if allowed > 0 and whole > 0 else 0.0
    return quota if isfinite(quota) and quota > 0 else None
