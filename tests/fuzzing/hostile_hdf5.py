"""Things that HDF5 allows and no report has, each put at a random place of a report."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .mutations import STRANGE_TEXTS

TEXT = h5py.string_dtype("utf-8")
NUMBERS = (0, -1, 1, 255, 2**31, 2**62, -(2**62))
FLOATS = (float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 0.0, -0.0, 1e-320)
SECRET = 4711.0
PROSE = (*STRANGE_TEXTS, "9" * 40, "-3 7", "99999999 99999999", "[" * 5000, '{"a": [}', "[[1, 2], 3]", "null", "1.2.3")


def _names(file: h5py.File, kind: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return found


def _replace(rng: random.Random, path: Path, make: Callable[[h5py.File, str], None], kind: Any = object) -> str:
    with h5py.File(path, "r+") as file:
        names = _names(file, kind)
        if not names:
            return "nowhere"
        name = rng.choice(names)
        del file[name]
        make(file, name)
        return name


def external_link(rng: random.Random, path: Path) -> str:
    secret = _secret(path)
    return _replace(rng, path, lambda file, name: _set(file, name, h5py.ExternalLink(secret, f"/{name}")))


def _secret(path: Path) -> str:
    """Make another report beside the folder, whose numbers are somebody else's; returns its path from the first."""
    secret = path.parent.with_name("outside") / "secret.h5"
    if not secret.parent.is_dir():
        return "other.h5"
    shutil.copy(path, secret)
    with h5py.File(secret, "r+") as file:
        for name in _names(file, h5py.Dataset):
            # A virtual one, as an earlier change may have made, has its numbers in this very file.
            if file[name].dtype.kind == "f" and not file[name].is_virtual:
                file[name][...] = SECRET
    return f"../outside/{secret.name}"


def soft_link(rng: random.Random, path: Path) -> str:
    to = rng.choice(["/summary", "/nothing", None])
    return _replace(rng, path, lambda file, name: _set(file, name, h5py.SoftLink(to or f"/{name}")))


def _set(file: h5py.File, name: str, value: Any) -> None:
    file[name] = value


def hard_link(rng: random.Random, path: Path) -> str:
    """Of a group to one above it, or to another."""

    def link(file: h5py.File, name: str) -> None:
        file[name] = file[rng.choice(["/", name.rpartition("/")[0] or "/"])]

    return _replace(rng, path, link)


def named_datatype(rng: random.Random, path: Path) -> str:
    return _replace(rng, path, lambda file, name: _set(file, name, np.dtype("<f8")))


def virtual_dataset(rng: random.Random, path: Path) -> str:
    secret = _secret(path)

    def make(file: h5py.File, name: str) -> None:
        layout = h5py.VirtualLayout((12,), "<f8")
        layout[:] = h5py.VirtualSource(secret, name, (12,))
        file.create_virtual_dataset(name, layout)

    return _replace(rng, path, make, h5py.Dataset)


def external_storage(rng: random.Random, path: Path) -> str:
    raw = path.parent / "raw"
    raw.write_bytes(np.full(100, SECRET).tobytes())

    def make(file: h5py.File, name: str) -> None:
        shape = shapes.get(name, (3,))
        size = int(np.prod(shape)) * 8
        if 0 < size <= 800:
            file.create_dataset(name, shape, "<f8", external=[(str(raw), 0, size)])

    with h5py.File(path, "r") as file:
        shapes = {name: file[name].shape for name in _names(file, h5py.Dataset)}

    return _replace(rng, path, make, h5py.Dataset)


def group_for_dataset(rng: random.Random, path: Path) -> str:
    return _replace(rng, path, lambda file, name: file.create_group(name) and None, h5py.Dataset)


def dataset_for_group(rng: random.Random, path: Path) -> str:
    return _replace(rng, path, lambda file, name: _set(file, name, np.zeros(3)), h5py.Group)


def nothing(rng: random.Random, path: Path) -> str:
    return _replace(rng, path, lambda file, name: None)


def declared(rng: random.Random, path: Path) -> str:
    """Datasets far larger than the file, of which nothing is written."""
    shape = rng.choice([(1 << 40,), (1 << 20, 1 << 20), (1 << 33,), (1 << 60,)])

    def make(file: h5py.File, name: str) -> None:
        file.create_dataset(name, shape, "<f8", chunks=tuple(min(n, 1024) for n in shape), compression="gzip")

    return _replace(rng, path, make, h5py.Dataset)


def bomb(rng: random.Random, path: Path) -> str:
    """A chunk of 8 KiB that inflates to a gigabyte, or a table of so many zeros."""
    import zlib

    def make(file: h5py.File, name: str) -> None:
        chunks, shape = ((1024,), (1024,)) if rng.random() < 0.5 else ((1 << 22,), (1 << 22,))
        dataset = file.create_dataset(name, shape, "<f8", chunks=chunks, compression="gzip")
        squeeze = zlib.compressobj(9)
        parts = [squeeze.compress(bytes(1 << 20)) for _ in range(rng.choice([8, 64, 256]))]
        dataset.id.write_direct_chunk((0,), b"".join([*parts, squeeze.flush()]))

    return _replace(rng, path, make, h5py.Dataset)


def one_text_many_times(rng: random.Random, path: Path) -> str:
    """Entries that all point to one long text in the file."""
    with h5py.File(path, "r+") as file:
        columns = [n for n in _names(file, h5py.Dataset) if file[n].dtype.kind == "O" and file[n].size and file[n].ndim]
        if not columns:
            return "nowhere"
        name = rng.choice(columns)
        rows = rng.choice([len(file[name]), 1000])
        del file[name]
        file.create_dataset(name, (rows,), TEXT)
        file[name][0] = "x" * 1_000_000
        file.flush()
        offset = file[name].id.get_offset()
    with path.open("r+b") as stream:
        stream.seek(offset)
        first = stream.read(16)
        stream.seek(offset)
        stream.write(first * rows)
    return name


def other_values(rng: random.Random, path: Path) -> str:
    """The same shape with other numbers or texts."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_names(file, h5py.Dataset))
        dataset = file[name]
        if h5py.check_string_dtype(dataset.dtype) is not None:
            text = rng.choice([t for t in PROSE if "\0" not in t])
            if dataset.ndim:
                if len(dataset):
                    dataset[rng.randrange(len(dataset))] = text
            else:
                dataset[()] = text
        else:
            numbers = FLOATS if dataset.dtype.kind == "f" else tuple(n for n in NUMBERS if _fits(n, dataset.dtype))
            dataset[...] = rng.choice(numbers)
        return name


def _fits(number: int, dtype: Any) -> bool:
    return np.iinfo(dtype).min <= number <= np.iinfo(dtype).max


def other_shape(rng: random.Random, path: Path) -> str:
    shape = rng.choice([(), (0,), (1,), (7,), (2, 2), (1, 1, 1, 1, 1)])
    dtype = rng.choice(["<f8", "<i8", "u1", "<f4", "S3", "<f2", ">f8", TEXT])
    return _replace(rng, path, lambda file, name: file.create_dataset(name, shape, dtype) and None, h5py.Dataset)


def other_type(rng: random.Random, path: Path) -> str:
    dtype = rng.choice(
        [
            np.dtype([("a", "<f8")]),
            np.dtype("V7"),
            h5py.ref_dtype,
            h5py.regionref_dtype,
            h5py.vlen_dtype(np.dtype("<f8")),
            h5py.enum_dtype({"A": 0}, "u1"),
            np.dtype("<c16"),
            np.dtype(("<f8", (2,))),
            np.dtype("?"),
        ]
    )

    def make(file: h5py.File, name: str) -> None:
        shape = file[name].shape if name in file else (3,)
        file.create_dataset(name, shape, dtype)

    return _replace(rng, path, make, h5py.Dataset)


def empty_space(rng: random.Random, path: Path) -> str:
    return _replace(rng, path, lambda file, name: _set(file, name, h5py.Empty("<f8")), h5py.Dataset)


def other_attribute(rng: random.Random, path: Path) -> str:
    values: tuple[Any, ...] = (*PROSE, *NUMBERS, *FLOATS, np.zeros(5), np.arange(3), h5py.Empty("f"), b"bytes", True)
    with h5py.File(path, "r+") as file:
        owners = [file, *(file[name] for name in _names(file, object)), file["provenance"], file["provenance"]]
        owner = rng.choice([item for item in owners if len(item.attrs)])
        name = rng.choice([n for n in owner.attrs if n not in {"DIMENSION_LIST", "REFERENCE_LIST"}] or ["other"])
        if rng.random() < 0.2:
            if name in owner.attrs:
                del owner.attrs[name]
            return f"{owner.name}@{name} removed"
        value = rng.choice(values)
        if isinstance(value, str) and len(value.encode()) > 60_000:
            value = value[:20_000]
        owner.attrs[name] = value
        return f"{owner.name}@{name} = {str(value)[:60]!r}"


def deep_groups(rng: random.Random, path: Path) -> str:
    with h5py.File(path, "r+") as file:
        group = file
        for _ in range(rng.choice([20, 1500])):
            group = group.create_group("g")
    return "g/g/g…"


def strange_layer(rng: random.Random, path: Path) -> str:
    """A layer with a name that steers terminals and spreadsheets, consistently through the report."""
    strange = rng.choice([t for t in STRANGE_TEXTS if "\0" not in t and "/" not in t and t not in {"", ".", ".."}])
    with h5py.File(path, "r+") as file:
        names = list(file["layers"])
        if not names:
            return "nowhere"
        old = rng.choice(names)
        file.move(f"layers/{old}", f"layers/{strange.replace('%', '%25')}")
        for column in ("summary/layer", "parameters/layer"):
            values = file[column].asstr()[...]
            values[values == old] = strange
            file[column][...] = values
    return f"{old} → {strange[:40]!r}"


HOSTILITIES: tuple[Callable[[random.Random, Path], str], ...] = (
    external_link,
    soft_link,
    hard_link,
    named_datatype,
    virtual_dataset,
    external_storage,
    group_for_dataset,
    dataset_for_group,
    nothing,
    declared,
    bomb,
    one_text_many_times,
    other_values,
    other_values,
    other_values,
    other_shape,
    other_type,
    empty_space,
    other_attribute,
    other_attribute,
    deep_groups,
    strange_layer,
)
