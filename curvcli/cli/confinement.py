"""Gives up, before a model is opened, the right to write files anywhere but where the output goes (Linux's Landlock).

A second wall, which needs no list of operations: whatever a model's code manages to do, the kernel lets this process
and all that it starts change files in the output's folder and in a temporary one of its own, and open no connections.
Only a process that is ours alone is confined: never the Python that imported curvcli.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

# System calls that have these numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_WANTED, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
# Rights, by the version of Landlock that knows them: see linux/landlock.h. Version 1 can't move a file from one folder
# to another, as reports are.
_WRITE, _TRUNCATE = 1 << 1, 1 << 14
_IN_FOLDERS: Final = sum(1 << bit for bit in (4, 5, 6, 7, 8, 9, 10, 11, 12, 13))
_LEAST_VERSION = 2
_VERSION_OF_TRUNCATE, _VERSION_OF_NETWORK = 3, 4
_TCP = 3  # to bind and to connect
# Written to by whoever throws output away, and by the drivers of accelerators.
_DEVICES_WITHOUT, _DEVICES_WITH = ("/dev/null",), ("/dev", "/proc/self", "~/.nv")

_ours = False
_confined = False


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def process_is_ours() -> None:
    """Say that this process runs one command and ends with it, so that it may be confined."""
    global _ours  # noqa: PLW0603 - a property of the process
    _ours = True


def confine(outputs: Iterable[Path], *, device: str = "cpu", connections: bool = False) -> None:
    """Let this process write only into the folders of `outputs`, if it is ours, not yet confined, and Linux can do it.

    Args:
        outputs: files that are going to be written; the folders exist, or nothing can be written to them.
        device: what computes; drivers of others than the CPU write to their devices.
        connections: whether it works with other processes by TCP and shared memory, as Ray does.
    """
    global _confined  # noqa: PLW0603 - a property of the process
    version = landlock_version() if _ours and not _confined else 0
    if version < _LEAST_VERSION:
        return
    temporary = tempfile.mkdtemp(prefix="curvcli-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    tempfile.tempdir = os.environ["TMPDIR"] = temporary
    devices = _DEVICES_WITHOUT if device == "cpu" else _DEVICES_WITH
    folders = {place.parent for path in outputs for place in (path.absolute(), Path(os.path.realpath(path)))}
    folders |= {Path(temporary)} | {Path(device).expanduser() for device in devices}
    if connections:
        folders.add(Path("/dev/shm"))
    _confined = _restricted(version, folders, connections=connections)


def landlock_version() -> int:
    """The version of Landlock that the kernel offers; 0 without it."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_WANTED))))


def _restricted(version: int, allowed: Iterable[Path], *, connections: bool) -> bool:
    truncate = _TRUNCATE if version >= _VERSION_OF_TRUNCATE else 0
    rights = _WRITE | truncate | _IN_FOLDERS
    attributes = _Ruleset(rights, 0 if connections or version < _VERSION_OF_NETWORK else _TCP)
    size = ctypes.sizeof(attributes) if version >= _VERSION_OF_NETWORK else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for path in allowed:
            with suppress(OSError):  # what is not there needs no right
                _allow(ruleset, path, rights, _WRITE | truncate)
        _library().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, of_folders: int, of_files: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = _Beneath(of_folders if folder else of_files, descriptor)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    library = _library()
    library.syscall.restype = ctypes.c_long
    return int(library.syscall(ctypes.c_long(number), *arguments))


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
