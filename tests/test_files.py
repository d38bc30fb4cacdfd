"""Files are opened only if regular, never waited for, and never read beyond a limit or the free memory."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from curvcli.errors import DataError, UsageError
from curvcli.files import check_room, open_regular, read_bounded, regular_file, size_text


def named_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "it")
    return folder / "it"


def directory(folder: Path) -> Path:
    (folder / "it").mkdir()
    return folder / "it"


def unix_socket(folder: Path) -> Path:
    before = Path.cwd()
    os.chdir(folder)  # a socket's name has room for 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as it:
            it.bind("it")
    finally:
        os.chdir(before)
    return folder / "it"


def loop(folder: Path) -> Path:
    (folder / "other").symlink_to(folder / "it")
    (folder / "it").symlink_to(folder / "other")
    return folder / "it"


def to_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    (folder / "it").symlink_to(folder / "pipe")
    return folder / "it"


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "named pipe": (named_pipe, "is a named pipe"),
    "directory": (directory, "is a directory"),
    "socket": (unix_socket, "is a socket"),
    "device": (lambda _: Path("/dev/zero"), "is a device"),
    "loop": (loop, "lead back to itself"),
    "link to a pipe": (to_a_pipe, "is a named pipe"),
    "nothing": (lambda folder: folder / "it", "no such file"),
    "below a file": (lambda _: Path(__file__) / "it", "no such file"),
    "long name": (lambda folder: folder / ("x" * 5000), "too long"),
    "NUL": (lambda folder: folder / "a\0b", "no path can hold"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reader", [regular_file, open_regular, lambda p, w: read_bounded(p, w, 100)])
@pytest.mark.parametrize("case", CASES)
def test_what_is_no_regular_file_is_refused_at_once(case: str, reader: Callable[..., object], tmp_path: Path) -> None:
    """One line names the path, what it is, and what is meant; nobody waits for a writer."""
    make, expected = CASES[case]
    with pytest.raises(UsageError) as error:
        reader(make(tmp_path), "a dataset spec")
    assert expected in str(error.value)
    assert "a dataset spec" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_link_to_a_regular_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert regular_file(tmp_path / "link", "a spec") == tmp_path / "link"
    assert read_bounded(tmp_path / "link", "a spec", 3) == b"abc"


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(DataError, match=r"1\.0 TiB, too large for a config \(at most 1 MiB\)"):
        read_bounded(tmp_path / "file", "a config", 1 << 20, error=DataError)


def test_a_file_that_says_it_is_empty_is_bounded_all_the_same() -> None:
    """As those of /proc do."""
    with pytest.raises(UsageError, match="more than"):
        read_bounded(Path("/proc/self/maps"), "a config", 100)


def test_memory_that_is_not_there_is_not_asked_for() -> None:
    check_room(1, "column 'x'")
    with pytest.raises(DataError, match=r"column 'x': takes 8\.0 PiB of memory"):
        check_room(8 << 50, "column 'x'", error=DataError)


@pytest.mark.parametrize(
    ("size", "text"), [(2048, "2 KiB"), (3 << 20, "3 MiB"), (3 << 30, "3.0 GiB"), (10**40, "more than 1,000 PiB")]
)
def test_sizes_are_told_in_words(size: int, text: str) -> None:
    assert size_text(size) == text
