"""Which format data have, and the ``[source]`` table that reads them: from the name, and from the first bytes."""

from __future__ import annotations

import glob
import gzip
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from curvcli.data.classes import is_number
from curvcli.data.files import expanded, opened
from curvcli.data.huggingface import splits_of
from curvcli.data.images import IMAGE_SUFFIXES
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, is_regular, regular_file
from curvcli.spec.sources import CALLED, CONVERSIONS

# What a file of a format begins with.
_MAGIC: Final = (
    (b"\x93NUMPY", "npy"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"FEA1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
)
_BY_SUFFIX: Final = {
    "npz": "npz", "npy": "npy", "csv": "csv", "tsv": "csv", "tab": "csv", "txt": "csv", "jsonl": "jsonl",
    "ndjson": "jsonl", "parquet": "parquet", "pq": "parquet", "arrow": "arrow", "feather": "arrow", "ipc": "arrow",
    "h5": "hdf5", "hdf5": "hdf5", "hdf": "hdf5", "pt": "torch", "pth": "torch", "tfrecord": "tfrecord",
    "tfrecords": "tfrecord",
}  # fmt: skip
_LOOKED_AT: Final = 4096
_LONG: Final = 1 << 20


def recognised(written: str, path: Path) -> Mapping[str, Any]:
    """The entries of a ``[source]`` table, without any path.

    Args:
        written: as it was typed: a file, a folder, or a pattern for many files.
        path: what that means here.

    Raises:
        DataError: there is nothing, or nothing that is read.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        try:
            return _folder(written, path)
        except OSError as error:
            raise DataError(f"{written}: the folder can't be read: {error.strerror or error}.") from None
    if not os.path.lexists(path) and glob.has_magic(written):
        path = path.parent / Path(expanded(written, lambda one: path.parent / Path(one).name)[0]).name
    if not os.path.lexists(path):
        raise DataError(f"{written}: no such file or folder.")
    regular_file(path, "a data file", shown=written, error=DataError)
    suffix = path.suffix.lower().removeprefix(".")
    format_name = _of_contents(written, path) or _of_name(written, path, suffix)
    return {"format": format_name, **(_csv_entries(written, path) if format_name == "csv" else {})}


def _folder(written: str, path: Path) -> Mapping[str, Any]:
    if is_regular(path / "dataset_dict.json"):
        splits = splits_of(path, written)
        return {"format": "huggingface", "split": "train" if "train" in splits or not splits else splits[0]}
    if is_regular(path / "state.json"):
        return {"format": "huggingface"}
    names = [entry.name for entry in path.iterdir()]
    if any(name.lower().endswith(".npy") for name in names):
        return {"format": "npy"}
    inner = [name for name in names if os.path.isdir(path / name)]  # noqa: PTH112 - as above
    within = [name for folder in inner[:20] for name in sorted(entry.name for entry in (path / folder).iterdir())[:20]]
    if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in [*names, *within]):
        return {"format": "imagefolder"}
    raise DataError(
        f"{written}: a folder of no format that is read: neither .npy files, images, nor what datasets' save_to_disk "
        f"writes.\nName many files of another format by a pattern in quotes: '{written.rstrip('/')}/*.parquet'."
    )


def _csv_entries(written: str, path: Path) -> Mapping[str, Any]:
    """What a CSV file's first lines say: another delimiter, and no names in the first."""
    with opened(path, "a CSV file", written) as file:
        lines = [line.decode("utf-8-sig", "replace").strip() for line in (file.readline(_LONG) for _ in range(2))]
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    counts = {mark: lines[0].count(mark) for mark in (usual, ";", "\t", ",", "|")}
    mark = usual if counts[usual] else max(counts, key=lambda one: (counts[one], one == usual))
    entries: dict[str, Any] = {} if mark == usual or not counts[mark] else {"delimiter": mark}
    cells = [cell.strip().strip('"') for cell in lines[0].split(mark)]
    if lines[0] and all(map(is_number, cells)):
        entries["header"] = False
    return entries


def _of_contents(written: str, path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(path, "rb") as packed:
                start = packed.read(_LOOKED_AT)
        if start[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if any(name.endswith("data.pkl") for name in names):
                return "torch"
            return "npz" if any(name.endswith(".npy") for name in names) else None
    except (*UNREADABLE, EOFError, zlib.error) as error:
        raise DataError(f"{written}: can't be read ({type(error).__name__}); is the file complete?") from None
    named = next((name for magic, name in _MAGIC if start.startswith(magic)), None)
    return named or ("jsonl" if start.lstrip()[:1] == b"{" else None)


def _of_name(written: str, path: Path, suffix: str) -> str:
    if suffix == "gz":
        suffix = Path(path.stem).suffix.lower().removeprefix(".")
    if format_name := _BY_SUFFIX.get(suffix):
        return format_name
    if conversion := CONVERSIONS.get(suffix):
        raise DataError(f"{written}: {conversion}")
    if called := CALLED.get(suffix):
        return called
    raise DataError(
        f"{written}: neither its name nor its first bytes tell a format that is read; give it its usual suffix: "
        f".{', .'.join(dict.fromkeys(_BY_SUFFIX.values()))}."
    )
