"""Data in every other format: damaged bytes, damaged descriptions with sound checksums, other kinds of files."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from data import tables
from PIL import Image

from . import hostile_hdf5
from .interface import Bases, Case
from .mutations import STRANGE_TEXTS, mutated
from .npy_data import other_kind

SPEC = """version = 1
[source]
{source}
[inputs.x]
column = "{x}"
{steps}
[target]
column = "{y}"
[loss]
name = "cross_entropy"
from_logits = true
"""
WAYS = {way.name: way for way in tables.FORMATS}
HOSTILE_HDF5: tuple[Callable[[random.Random, Path], str], ...] = (
    hostile_hdf5.external_link,
    hostile_hdf5.soft_link,
    hostile_hdf5.hard_link,
    hostile_hdf5.named_datatype,
    hostile_hdf5.virtual_dataset,
    hostile_hdf5.external_storage,
    hostile_hdf5.group_for_dataset,
    hostile_hdf5.declared,
    hostile_hdf5.bomb,
    hostile_hdf5.other_values,
    hostile_hdf5.other_shape,
    hostile_hdf5.other_type,
    hostile_hdf5.empty_space,
    hostile_hdf5.deep_groups,
)
RAW = """classes = ["a", "b", "c"]"""


@dataclass(frozen=True)
class OtherData:
    """Data in one format, in one file or two."""

    name: str
    framework: str = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        with np.load(bases.folder / "data.npz") as archive:
            columns = {"x": archive["x"].astype("f4"), "y": archive["y"]}
        story = _HOSTILE.get(self.name, _tables)(rng, folder, self.name, columns)
        return Case([rng.choice(["diag", "check"]), "model.pt", "-q", "--force", "-o", "out.h5"], {}, "out.h5", story)


def _tables(rng: random.Random, folder: Path, name: str, columns: tables.Table) -> str:
    if name in {"parquet", "arrow", "tfrecord"} and rng.random() < 0.3:
        return _image_column(rng, folder, name)
    ways = [way for way in tables.FORMATS if way.format == name]
    way = rng.choice(ways)
    many = rng.random() < 0.3
    paths = [folder / f"data-{number}{way.suffix}" for number in range(2 if many else 1)]
    for path in paths:
        way.write(path, columns, rng)
    source = f'format = "{name}"\npath = "data-{"*" if many else "0"}{way.suffix}"'
    _spec(folder, source)
    path = rng.choice(paths)
    if rng.random() < 0.1:
        path.unlink()
        return other_kind(rng, path)
    match name:
        case "hdf5" if rng.random() < 0.6:
            return rng.choice(HOSTILE_HDF5)(rng, path)
        case "torch" if rng.random() < 0.6:
            return _member(rng, path)
        case "tfrecord" if rng.random() < 0.6:
            return _records(rng, path)
        case "jsonl" if rng.random() < 0.6:
            return _lines(rng, path)
    data, story = mutated(rng, path.read_bytes())
    path.write_bytes(data)
    return story


def _spec(folder: Path, source: str, x: str = "x", y: str = "y", steps: str = "") -> None:
    (folder / "model.pt.toml").write_text(SPEC.format(source=source, x=x, y=y, steps=steps))


def _member(rng: random.Random, path: Path) -> str:
    """The description of tensors, or the bytes of one, with the right checksum."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([*members, *[name for name in members if name.endswith("data.pkl")] * 8])
    if not members[name]:
        members[name] = b"0"
    members[name], story = mutated(rng, members[name])
    with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as file:
        for one, data in members.items():
            file.writestr(one, data)
    return f"{name}: {story}"


def _records(rng: random.Random, path: Path) -> str:
    """Records that are no examples, or of other features, with the right checksums."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    records = [data[12 : 12 + size]] * 5
    place = rng.randrange(5)
    records[place], story = mutated(rng, records[place] or b"0")
    path.write_bytes(b"".join(map(tables.framed, records)))
    return f"record {place}: {story}"


def _lines(rng: random.Random, path: Path) -> str:
    values = [
        "[" * 50_000,
        "1" * 5000,
        "1e999",
        "NaN",
        "null",
        "true",
        '"text"',
        "{}",
        "[[1], [2, 3]]",
        "[]",
        "-",
        "9" * 30,
    ]
    values += [json.dumps(text) for text in STRANGE_TEXTS]
    lines = [f'{{"x": [0.5, 1, 2, 3], "y": {number % 3}}}' for number in range(20)]
    value = rng.choice(values)
    lines[rng.choice([0, 7])] = (
        f'{{"x": {value}, "y": 1}}' if rng.random() < 0.5 else f'{{"x": [1, 2, 3, 4], "y": {value}}}'
    )
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    return f"a value {value[:40]!r}"


def _hugging_face(rng: random.Random, folder: Path, name: str, columns: tables.Table) -> str:
    root = folder / "saved"
    root.mkdir()
    WAYS["arrow stream"].write(root / "data-00000-of-00001.arrow", columns, rng)
    (root / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": null}')
    _spec(folder, f'format = "{name}"\npath = "saved"')
    path = rng.choice(sorted(root.iterdir()))
    if path.suffix == ".json" and rng.random() < 0.5:
        names = ["../../outside/secret", "/etc/passwd", "\0", "", "..", 7, ["a"], {}, "n" * 100_000]
        path.write_text(json.dumps({"_data_files": [{"filename": rng.choice(names)}] * rng.choice([1, 1000])}))
        return "another file's name"
    if rng.random() < 0.2:
        path.unlink()
        return other_kind(rng, path)
    data, story = mutated(rng, path.read_bytes())
    path.write_bytes(data)
    return f"{path.name}: {story}"


def _images(rng: random.Random, folder: Path, name: str, columns: tables.Table) -> str:
    suffix = rng.choice([".png", ".jpg", ".bmp", ".webp", ".pgm"])
    for number in range(6):
        path = folder / "images" / "abc"[number % 3] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(path)
    steps = 'shape = [4]\ndtype = "float64"'
    _spec(folder, f'format = "{name}"\npath = "images"\nmode = "L"', "image", f'label"\n{RAW}\n#"', steps)
    if rng.random() < 0.2:
        path.unlink()
        return other_kind(rng, path)
    data, story = mutated(rng, path.read_bytes())
    path.write_bytes(data)
    return f"{path.name}: {story}"


def _image_column(rng: random.Random, folder: Path, name: str) -> str:
    """Images that are damaged, of another size, or none, in a sound file."""
    images = []
    for number in range(6):
        stream = io.BytesIO()
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(stream, rng.choice(["PNG", "JPEG", "BMP", "WEBP"]))
        images.append(stream.getvalue())
    place = rng.choice([0, 0, 4])
    images[place], story = mutated(rng, images[place])
    if name == "tfrecord":
        records = []
        for number, image in enumerate(images):
            example = tables.example_class()()
            example.features.feature["x"].BytesList.value.append(image)
            example.features.feature["y"].Int64List.value.append(number % 3)
            records.append(tables.framed(example.SerializeToString()))
        (folder / "d").write_bytes(b"".join(records))
    else:
        paths = [None, "1.png", "/etc/passwd", "\x1b[31m"]
        column = [{"bytes": rng.choice([image] * 9 + [None]), "path": rng.choice(paths)} for image in images]
        table = pa.table({"x": rng.choice([column, images]), "y": [number % 3 for number in range(6)]})
        if name == "parquet":
            pa.parquet.write_table(table, folder / "d", row_group_size=rng.choice([2, 6]))
        else:
            with pa.ipc.new_file(folder / "d", table.schema) as file:
                file.write_table(table)
    _spec(folder, f'format = "{name}"\npath = "d"\nmode = "L"', steps='shape = [4]\ndtype = "float64"')
    return f"image {place}: {story}"


_HOSTILE: dict[str, Callable[[random.Random, Path, str, tables.Table], str]] = {
    "huggingface": _hugging_face,
    "imagefolder": _images,
}
KINDS = tuple(map(OtherData, ("jsonl", "parquet", "arrow", "hdf5", "torch", "tfrecord", "huggingface", "imagefolder")))
