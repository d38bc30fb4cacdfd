"""What format data have, and which columns: without a spec, and whatever the files are."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from curvcli.data.catalogue import catalogue
from curvcli.data.recognise import recognised
from curvcli.data.registry import FORMATS as READERS
from curvcli.errors import DataError

from .tables import FORMATS, Written, table


def listed(written: str, folder: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Columns by name: shape with rows, and dtype."""
    entries = recognised(written, folder / written)
    source = READERS[str(entries["format"])].table.model_validate({**entries, "path": written})
    columns = catalogue(source, folder.joinpath).columns
    return {name: ((column.rows, *column.shape), column.dtype.name) for name, column in columns.items()}


@pytest.mark.parametrize("way", FORMATS, ids=lambda way: way.name)
def test_a_stored_table_is_recognised_with_all_its_columns(way: Written, tmp_path: Path) -> None:
    """Alone and as one of many by a pattern."""
    for seed in range(3):
        columns = {name: values for name, values in table(seed).items() if way.holds(values)}
        columns = {name: values for name, values in columns.items() if len(values)}
        if not columns:
            continue
        name = f"a{seed}{way.suffix}"
        way.write(tmp_path / name, columns, random.Random(seed))
        stored = {key: way.stored(values) for key, values in columns.items()}
        expected = {key: (values.shape, values.dtype.name) for key, values in stored.items()}
        assert recognised(name, tmp_path / name)["format"] == way.format
        assert listed(name, tmp_path) == listed(f"a{seed}*", tmp_path) == expected


def test_contents_come_before_the_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    (tmp_path / "data.npz").rename(tmp_path / "data.csv")
    assert recognised("data.csv", tmp_path / "data.csv")["format"] == "npz"


@pytest.mark.parametrize(
    ("text", "entries", "columns"),
    [
        ("a,b\n1,2\n", {}, ["a", "b"]),
        ("a;b\n1;2\n", {"delimiter": ";"}, ["a", "b"]),
        ("a\tb\n1\t2\n", {"delimiter": "\t"}, ["a", "b"]),
        ("1,2\n3,4\n", {"header": False}, ["0", "1"]),
        ("1;2.5\n3;4\n", {"delimiter": ";", "header": False}, ["0", "1"]),
        ("one\n1\n", {}, ["one"]),
    ],
)
def test_a_tables_first_line_tells_how_it_is_written(
    text: str, entries: dict[str, object], columns: list[str], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert recognised("t.csv", tmp_path / "t.csv") == {"format": "csv", **entries}
    assert list(listed("t.csv", tmp_path)) == columns


def test_texts_numbers_and_what_can_not_be_read_are_told_apart(tmp_path: Path) -> None:
    """Though nothing in a table says which is which."""
    (tmp_path / "t.csv").write_text("name,size,hole,late\n" + "cat,1,2,3\ndog,2,,4\n" * 700 + "eel,2.5,3,four\n")
    source = READERS["csv"].table.model_validate({"format": "csv", "path": "t.csv"})
    found = catalogue(source, tmp_path.joinpath)
    assert {name: column.text for name, column in found.columns.items()} == {"name": True, "size": False, "late": True}
    assert "the cell is empty" in found.unusable["hole"]


@pytest.mark.parametrize(
    ("name", "contents", "told"),
    [
        ("data.mat", b"MATLAB", "convert it once"),
        ("data.bin", b"\x00\x01", "neither its name nor its first bytes"),
        ("data.npz", b"PK\x03\x04cut off", "can't be read"),
        ("data.csv.gz", b"\x1f\x8bcut off", "can't be read"),
        ("data.npy", b"\x93NUMPY", "no complete .npy file"),
        ("data.parquet", b"PAR1", "Parquet"),
        ("data.csv", b"", "empty"),
        ("data.pkl", b"\x80\x04", "a pickle"),
    ],
)
def test_what_is_damaged_or_of_no_format_is_an_error_with_its_name(
    name: str, contents: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(DataError, match=told) as error:
        listed(name, tmp_path)
    assert name in str(error.value)


def test_folders_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "x.npy", np.zeros(3))
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.png").write_bytes(b"")
    assert recognised("arrays", tmp_path / "arrays") == {"format": "npy"}
    assert recognised("photos", tmp_path / "photos") == {"format": "imagefolder"}
    for name in ("empty", "nowhere"):
        with pytest.raises(DataError, match=name):
            recognised(name, tmp_path / name)
