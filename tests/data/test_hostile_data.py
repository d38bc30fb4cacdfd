"""Data files that declare more than they hold, inflate for ever, or are no files; and what errors quote of them."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from curvcli.errors import DataError

NPY = 'format = "npy"\npath = "columns"'
CSV = 'format = "csv"\npath = "d.csv"'
GOOD = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"
HEADERS = {
    "negative": b"{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }",
    "declared": b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000000), }",
    "overflow": b"{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775808, 2), }",
    "many axes": b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"1," * 100 + b"), }",
    "parentheses": b"(" * 9000,
    "Python 2": b"  {\n\t'a': '",
    "not a table": b"[1, 2]",
    "dtype": b"{'descr': 7, 'fortran_order': False, 'shape': (3,), }",
    "empty": b"",
    "call": b"__import__('os').mkdir('hacked')",
}


def npy(header: bytes, body: bytes = bytes(24), *, length: int | None = None, version: int = 1) -> bytes:
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + header + body


@pytest.mark.parametrize("form", ["npz", "npy"])
@pytest.mark.parametrize("case", HEADERS)
def test_headers_of_nonsense_are_refused(case: str, form: str, open_spec, tmp_path: Path) -> None:
    """Before anything is allocated, and without a word of the header."""
    data = npy(HEADERS[case])
    if form == "npz":
        with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
            archive.writestr("x.npy", data)
            archive.writestr("y.npy", npy(GOOD))
        source = 'format = "npz"\npath = "d.npz"'
    else:
        (tmp_path / "columns").mkdir()
        (tmp_path / "columns" / "x.npy").write_bytes(data)
        (tmp_path / "columns" / "y.npy").write_bytes(npy(GOOD))
        source = NPY
    with pytest.raises(DataError) as error:
        open_spec(source=source)
    assert "Reason: " in str(error.value)
    assert "descr" not in str(error.value)
    assert not (tmp_path / "hacked").exists()


def test_a_header_that_says_it_is_gigabytes_long_is_not_read(open_spec, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(GOOD, bytes(1 << 24), length=(1 << 32) - 1, version=2))
        archive.writestr("y.npy", npy(GOOD))
    with pytest.raises(DataError, match="the header is damaged"):
        open_spec()


def test_a_compressed_column_that_must_be_read_whole_is_refused_where_it_does_not_fit(
    open_spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows lie apart from each other: the message says how much it would take, and nothing was read of it."""
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((1 << 17, 8), order="F"), y=np.zeros(1 << 17))
    monkeypatch.setattr("curvcli.files.available_memory", lambda: 1 << 22)
    monkeypatch.setattr("curvcli.arrays.Archive.read", lambda *_: pytest.fail("was read"))
    with pytest.raises(DataError, match=r"'x', compressed in Fortran order: takes 8 MiB of memory, and 4 MiB are"):
        open_spec()


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_whose_end_nobody_can_tell_are_refused(kind: int, open_spec, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w", kind) as archive:
        archive.writestr("x.npy", npy(GOOD))
        archive.writestr("y.npy", npy(GOOD))
    with pytest.raises(DataError, match="NumPy does not use"):
        open_spec()


def test_a_hole_of_terabytes_is_refused(open_spec, tmp_path: Path) -> None:
    """A sparse file is as large as its header says, and its rows can't even be numbered."""
    (tmp_path / "columns").mkdir()
    for name in "xy":
        with (tmp_path / "columns" / f"{name}.npy").open("wb") as stream:
            stream.write(npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4398046511104,), }", b""))
            stream.truncate((1 << 42) + 200)
    with pytest.raises(DataError, match=r"4398046511104 rows: takes 128\.0 TiB"):
        open_spec(source=NPY)


def test_rows_without_values_are_refused(open_spec, tmp_path: Path) -> None:
    (tmp_path / "columns").mkdir()
    (tmp_path / "columns" / "x.npy").write_bytes(
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 0), }", b"")
    )
    (tmp_path / "columns" / "y.npy").write_bytes(npy(GOOD))
    with pytest.raises(DataError, match="which hold no values"):
        open_spec(source=NPY)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "|u1", "?"])
@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back_as_numpy_reads_them(compressed, dtype, order, open_spec, tmp_path: Path) -> None:
    array = np.asarray(np.arange(24).reshape(4, 3, 2) % 2, dtype=dtype, order=order)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "d.npz", x=array, y=np.arange(4.0))
    batch = next(iter(open_spec().batches()))
    with np.load(tmp_path / "d.npz") as archive:
        np.testing.assert_array_equal(batch.inputs["x"], archive["x"])


def test_one_line_of_megabytes_is_no_csv(open_spec, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"1," * (1 << 24))
    with pytest.raises(DataError, match="line 1: has more than"):
        open_spec(source=CSV)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "source", ['format = "npz"\npath = "it"', 'format = "csv"\npath = "it"', 'format = "npy"\npath = "it"']
)
@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_what_is_no_file_holds_no_data(kind: str, source: str, open_spec, tmp_path: Path) -> None:
    match kind:
        case "pipe":
            os.mkfifo(tmp_path / "it")
        case "device":
            (tmp_path / "it").symlink_to("/dev/zero")
        case _:
            (tmp_path / "it").symlink_to("it")
    with pytest.raises(DataError, match="give the path of a data file"):
        open_spec(source=source)


def test_errors_quote_the_offending_cell_alone_and_cut(open_spec, tmp_path: Path) -> None:
    """A file that is no table of numbers does not end up in a log."""
    cell = "secret" * 1000
    (tmp_path / "d.csv").write_text(f"x,y\n1,2\n{cell},private\n")
    with pytest.raises(DataError) as error:
        open_spec(source=CSV)
    assert "secretsecret" in str(error.value)
    assert "private" not in str(error.value)
    assert len(str(error.value)) < 200


def test_names_in_a_header_are_cut(open_spec, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(f"{'n' * 100_000},y\n1,2\n")
    with pytest.raises(DataError) as error:
        open_spec(source=CSV)
    assert len(str(error.value)) < 300
