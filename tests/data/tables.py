"""A seeded generator of tables, and what writes one in each format, by the libraries that people write them with."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from curvcli.data.examples import example_class

Table = dict[str, np.ndarray]
DTYPES = ("u1", "i1", "i2", "i4", "i8", "u4", "f2", "f4", "f8", "?")


def table(seed: int) -> Table:
    """Columns of random ranks, dtypes, and lengths, some floats missing; equal for equal seeds."""
    rng = random.Random(seed)
    generator = np.random.default_rng(seed)
    rows = rng.choice([1, 2, 7, 64, 300, 700])
    columns: Table = {}
    for number in range(rng.randint(1, 5)):
        shape = (rows, *(rng.randint(1, 4) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))))
        dtype = np.dtype(rng.choice(DTYPES))
        if dtype.kind == "f":
            values = generator.standard_normal(shape).astype(dtype)
            if rng.random() < 0.4:
                values[generator.random(shape) < 0.1] = np.nan
        elif dtype.kind == "b":
            values = generator.random(shape) < 0.5
        else:
            limits = np.iinfo(dtype)
            values = generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        columns[f"c{number}"] = values
    return columns


def cut(columns: Table, seed: int) -> list[Table]:
    """The table in one to four pieces of at least one row."""
    rng = random.Random(seed)
    rows = len(next(iter(columns.values())))
    places = sorted(rng.sample(range(1, rows), min(rows - 1, rng.randint(0, 3))))
    bounds = zip([0, *places], [*places, rows], strict=True)
    return [{name: values[begin:stop] for name, values in columns.items()} for begin, stop in bounds]


Write = Callable[[Path, Table, random.Random], None]


def _same(values: np.ndarray) -> np.ndarray:
    return values


@dataclass(frozen=True)
class Written:
    """A way to store a table.

    Attributes:
        name: of the case.
        format: as a spec has it.
        suffix: of the files.
        write: a table into a file.
        holds: whether it can hold a column.
        stored: a column as the format's own types have it.
        options: of the source.
    """

    name: str
    format: str
    suffix: str
    write: Write
    holds: Callable[[np.ndarray], bool] = lambda values: True
    stored: Callable[[np.ndarray], np.ndarray] = _same
    options: Mapping[str, Any] = field(default_factory=dict)


def _npz(path: Path, columns: Table, rng: random.Random) -> None:
    np.savez(path, **{n: np.asarray(v, order=rng.choice("CF")) for n, v in columns.items()})


def _packed_npz(path: Path, columns: Table, rng: random.Random) -> None:
    np.savez_compressed(path, **{n: np.asarray(v, order=rng.choice("CCCF")) for n, v in columns.items()})


def _csv(delimiter: str, *, packed: bool = False) -> Write:
    def write(path: Path, columns: Table, rng: random.Random) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=delimiter)
        writer.writerow(columns)
        names = list(columns)
        for row in range(len(columns[names[0]])):
            if rng.random() < 0.05:
                text.write("\n")
            writer.writerow([repr(columns[name][row].item()) for name in names])
        data = text.getvalue().encode()
        path.write_bytes(gzip.compress(data) if packed else data)

    return write


def _jsonl(packed: bool) -> Write:
    def write(path: Path, columns: Table, rng: random.Random) -> None:
        lines = []
        for row in range(len(next(iter(columns.values())))):
            record = {name: _without_nan(values[row].tolist()) for name, values in columns.items()}
            lines.append(json.dumps(record) + "\n" * rng.choice([1, 1, 1, 2]))
        data = "".join(lines).encode()
        path.write_bytes(gzip.compress(data) if packed else data)

    return write


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if value != value else value  # noqa: PLR0124


def arrow_table(columns: Table, rng: random.Random) -> pa.Table:
    """Lists of lists, of fixed size or not; NaN as null or NaN."""
    arrays = {}
    for name, values in columns.items():
        nulls = np.isnan(values).ravel() if values.dtype.kind == "f" and rng.random() < 0.5 else None
        array = pa.array(values.ravel(), mask=nulls)
        for length in values.shape[:0:-1]:
            if rng.random() < 0.5:
                array = pa.FixedSizeListArray.from_arrays(array, length)
            else:
                array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, length, dtype=np.int32), array)
        arrays[name] = array
    return pa.table(arrays)


def _parquet(path: Path, columns: Table, rng: random.Random) -> None:
    compression = rng.choice(["snappy", "zstd", "none", "gzip"])
    pa.parquet.write_table(
        arrow_table(columns, rng), path, row_group_size=rng.choice([1000, 50, 7]), compression=compression
    )


def _arrow_file(path: Path, columns: Table, rng: random.Random) -> None:
    compression = rng.choice([None, "lz4", "zstd"])
    with pa.ipc.new_file(path, (table := arrow_table(columns, rng)).schema, options=_ipc(compression)) as file:
        file.write_table(table, max_chunksize=rng.choice([1000, 50, 7]))


def _ipc(compression: str | None) -> Any:
    return pa.ipc.IpcWriteOptions(compression=compression)


def _arrow_stream(path: Path, columns: Table, rng: random.Random) -> None:
    with pa.ipc.new_stream(path, (table := arrow_table(columns, rng)).schema) as file:
        file.write_table(table, max_chunksize=rng.choice([1000, 50, 7]))


def _feather(path: Path, columns: Table, rng: random.Random) -> None:
    pa.feather.write_feather(arrow_table(columns, rng), path, compression=rng.choice(["lz4", "uncompressed"]))


def _hdf5(path: Path, columns: Table, rng: random.Random) -> None:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            options: dict[str, Any] = {}
            if rng.random() < 0.7:
                options["chunks"] = tuple(rng.randint(1, length) for length in values.shape)
                options["compression"] = rng.choice([None, "gzip", "lzf"])
                options["shuffle"] = rng.random() < 0.5
            file.create_dataset(name, data=values, **options)


def _torch(path: Path, columns: Table, rng: random.Random) -> None:
    import torch

    tensors = {}
    for name, values in columns.items():
        tensor = torch.from_numpy(values.copy())
        if rng.random() < 0.3:  # a view, with strides of its own
            tensor = tensor.repeat_interleave(2, dim=0)[::2]
        if rng.random() < 0.3 and tensor.ndim > 1:
            tensor = tensor.transpose(0, -1).contiguous().transpose(0, -1)
        tensors[name] = tensor
    torch.save(tensors, path)


def framed(data: bytes) -> bytes:
    """A record of a TFRecord file."""

    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def _tfrecord(packed: bool) -> Write:
    def write(path: Path, columns: Table, rng: random.Random) -> None:
        records = []
        for row in range(len(next(iter(columns.values())))):
            example = example_class()()
            for name, values in columns.items():
                feature = example.features.feature[name]
                flat = (values[row] if values.dtype.kind == "f" else values[row].astype("i8")).ravel().tolist()
                (feature.FloatList if values.dtype.kind == "f" else feature.Int64List).value.extend(flat)
            records.append(framed(example.SerializeToString()))
        data = b"".join(records)
        path.write_bytes(gzip.compress(data) if packed else data)

    return write


def _single(values: np.ndarray) -> bool:
    return values.ndim == 1 and values.dtype.kind != "b"


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype({"f": "f8", "b": "?"}.get(values.dtype.kind, "i8"))


def _flat(values: np.ndarray) -> np.ndarray:
    size = values[0].size
    return values.astype("f4" if values.dtype.kind == "f" else "i8").reshape(len(values), *([size] if size > 1 else []))


def _in_tensors(values: np.ndarray) -> bool:
    return values.dtype.str[1:] != "u4"


def _in_records(values: np.ndarray) -> bool:
    return values.dtype != np.float64


FORMATS: Sequence[Written] = (
    Written("npz", "npz", ".npz", _npz),
    Written("npz compressed", "npz", ".npz", _packed_npz),
    Written("csv", "csv", ".csv", _csv(","), _single, _wide),
    Written("csv delimited", "csv", ".txt", _csv(";"), _single, _wide, {"delimiter": ";"}),
    Written("tsv gz", "csv", ".tsv.gz", _csv("\t", packed=True), _single, _wide),
    Written("jsonl", "jsonl", ".jsonl", _jsonl(packed=False), stored=_wide),
    Written("jsonl gz", "jsonl", ".jsonl.gz", _jsonl(packed=True), stored=_wide),
    Written("parquet", "parquet", ".parquet", _parquet),
    Written("arrow", "arrow", ".arrow", _arrow_file),
    Written("arrow stream", "arrow", ".arrows", _arrow_stream),
    Written("feather", "arrow", ".feather", _feather),
    Written("hdf5", "hdf5", ".h5", _hdf5),
    Written("torch", "torch", ".pt", _torch, _in_tensors),
    Written("tfrecord", "tfrecord", ".tfrecord", _tfrecord(packed=False), _in_records, _flat),
    Written("tfrecord gz", "tfrecord", ".tfrecord.gz", _tfrecord(packed=True), _in_records, _flat),
)


def patterns(rows: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Ways through the rows: batch by batch, a subset, single rows, and back to the beginning."""
    rng = np.random.default_rng(seed)
    everything = np.arange(rows)
    yield [everything]
    for size in {1 if rows < 20 else 13, 64}:
        yield [everything[i : i + size] for i in range(0, rows, size)]
    chosen = np.sort(rng.permutation(rows)[: max(1, rows // 3)])
    yield [chosen[i : i + 5] for i in range(0, len(chosen), 5)]
    yield [everything[-1:], everything[:1], everything[rows // 2 :], everything]
