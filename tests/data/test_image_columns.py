"""Encoded images in columns: the same pixels and the same refusals as in folders, some rows at a time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from curvcli.data.examples import example_class
from curvcli.data.interface import Reader, Wanted
from curvcli.data.registry import FORMATS
from curvcli.errors import DataError

from .tables import framed

ROWS = 70
WAYS = ["parquet", "parquet of bytes", "arrow", "huggingface", "tfrecord"]


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def write(way: str, folder: Path, images: Sequence[bytes | None]) -> dict[str, Any]:
    """Store images as column ``x`` beside column ``y``; returns the source."""
    form = way.split()[0]
    if form == "tfrecord":
        records = []
        for number, image in enumerate(images):
            example = example_class()()
            example.features.feature["x"].BytesList.value.append(image or b"")
            example.features.feature["y"].Int64List.value.append(number)
            records.append(framed(example.SerializeToString()))
        (folder / "d").write_bytes(b"".join(records))
        return {"format": form, "path": "d"}
    column = pa.array(images, pa.binary())
    if way != "parquet of bytes":
        column = pa.array([{"bytes": one, "path": "1.png"} for one in images])
    table = pa.table({"x": column, "y": np.arange(len(images))})
    if form == "parquet":
        pa.parquet.write_table(table, folder / "d", row_group_size=30)
    elif form == "arrow":
        with pa.ipc.new_file(folder / "d", table.schema) as file:
            file.write_table(table, max_chunksize=30)
    else:
        (folder / "d").mkdir()
        with pa.ipc.new_stream(folder / "d" / "a.arrow", table.schema) as stream:
            stream.write_table(table, max_chunksize=30)
        (folder / "d" / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
    return {"format": form, "path": "d"}


def opened(folder: Path, source: dict[str, Any]) -> Reader:
    one = FORMATS[source["format"]]
    return one.open(one.table.model_validate(source), Wanted(("x", "y"), folder.joinpath))


def pixels_of(channels: int) -> np.ndarray:
    shape = (ROWS, 5, 4, 3) if channels == 3 else (ROWS, 5, 4)
    return np.random.default_rng(channels).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_images_in_a_column_have_their_pixels(way: str, channels: int, tmp_path: Path, monkeypatch) -> None:
    """In any order of blocks, and with numbers beside them."""
    monkeypatch.setattr("curvcli.data.forward.BLOCK_BYTES", 1000)
    pixels = pixels_of(channels)
    images = [encoded(one, "PNG" if number % 2 else "BMP") for number, one in enumerate(pixels)]
    reader = opened(tmp_path, write(way, tmp_path, images))
    assert reader.column("x").shape == (5, 4, channels)
    assert reader.column("x").rows == ROWS
    for rows in (np.arange(ROWS), np.array([3, 4, 69]), np.array([0, 31]), np.arange(0, ROWS, 7)):
        taken = reader.read(["x", "y"], rows)
        assert taken["x"].dtype == np.uint8
        np.testing.assert_array_equal(taken["x"], pixels[rows].reshape(-1, 5, 4, channels))
        np.testing.assert_array_equal(taken["y"], rows)


@pytest.mark.parametrize("way", WAYS)
def test_images_are_converted_as_in_folders(way: str, tmp_path: Path) -> None:
    pixels = pixels_of(3)[:3]
    images = [encoded(pixels[0]), encoded(pixels[1], "JPEG"), encoded(pixels[2][:3], "WEBP", lossless=True)]
    (tmp_path / "images").mkdir()
    for number, (image, suffix) in enumerate(zip(images, ("png", "jpg", "webp"), strict=True)):
        (tmp_path / "images" / f"{number}.{suffix}").write_bytes(image)
    steps = {"mode": "L", "resize": [7, 9]}
    one = FORMATS["imagefolder"]
    source = one.table.model_validate({"format": "imagefolder", "path": "images", **steps})
    expected = one.open(source, Wanted(("image",), tmp_path.joinpath)).read(["image"], np.arange(3))["image"]
    values = opened(tmp_path, write(way, tmp_path, images) | steps).read(["x"], np.arange(3))["x"]
    assert values.shape == (3, 7, 9, 1)
    np.testing.assert_array_equal(values, expected)


def bomb() -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body = b"IDAT" + zlib.compress(bytes(1 << 16))
    return start + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def animation() -> bytes:
    stream = io.BytesIO()
    frames = [Image.new("L", (4, 5), shade) for shade in (0, 255)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    return stream.getvalue()


GREY = np.zeros((5, 4), np.uint8)
WRONG = {
    "size": (encoded(np.zeros((9, 5), np.uint8)), r"5×9 pixels of 1 values, the first has 4×5 of 1"),
    "colour": (encoded(np.zeros((5, 4, 3), np.uint8)), "4×5 pixels of 3 values, the first has 4×5 of 1"),
    "alpha": (encoded(np.zeros((5, 4, 4), np.uint8)), 'are of mode RGBA; write mode = "RGB"'),
    "deep": (encoded(np.zeros((5, 4), np.uint16)), "of more than 256 values; they would be cut off"),
    "cut": (encoded(pixels_of(1)[0])[:-30], "is no complete image"),
    "bomb": (bomb(), "declares 60000×60000 pixels|3600000000 pixels"),
    "gif": (encoded(GREY, "GIF"), "holds a GIF image; PNG, JPEG, BMP and WebP are"),
    "tiff": (encoded(GREY, "TIFF"), "holds a TIFF image; PNG, JPEG, BMP and WebP are"),
    "frames": (animation(), "holds several pictures, an animation"),
    "nothing": (b"nothing", "holds no image that is read"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("way", ["parquet", "tfrecord"])
def test_an_image_that_does_not_fit_is_told_by_its_row(way: str, case: str, tmp_path: Path) -> None:
    image, said = WRONG[case]
    source = write(way, tmp_path, [*[encoded(GREY)] * 40, image, encoded(GREY)])
    with pytest.raises(DataError, match=rf"^d: column 'x', row 40: (.|\n)*({said})"):
        opened(tmp_path, source).read(["x"], np.arange(42))


@pytest.mark.parametrize("case", ["bomb", "gif", "tiff", "cut", "deep"])
def test_a_first_image_that_is_none_is_told_where_the_data_are_opened(case: str, tmp_path: Path) -> None:
    for way in ("parquet", "tfrecord"):
        (tmp_path / way).mkdir()
        source = write(way, tmp_path / way, [WRONG[case][0]] * 2)
        with pytest.raises(DataError, match=rf"row 0: (.|\n)*({WRONG[case][1]})"):
            opened(tmp_path / way, source)


def test_a_missing_image_and_one_elsewhere_are_told(tmp_path: Path) -> None:
    image = encoded(GREY)
    with pytest.raises(DataError, match="row 1: the image is missing"):
        opened(tmp_path, write("parquet of bytes", tmp_path, [image, None])).read(["x"], np.arange(2))
    with pytest.raises(DataError, match=r"row 1: the image lies in another file, '1\.png'\.\nPut the images into"):
        opened(tmp_path, write("parquet", tmp_path, [image, None])).read(["x"], np.arange(2))


def test_bytes_that_are_no_images_are_refused(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [b"ab", b"cd"], "y": [1, 2]}), tmp_path / "d")
    with pytest.raises(DataError, match="'x' holds bytes, which are no images that are read; store it as numbers"):
        opened(tmp_path, {"format": "parquet", "path": "d"})
    pa.parquet.write_table(pa.table({"x": [{"a": 1}, {"a": 2}], "y": [1, 2]}), tmp_path / "d")
    with pytest.raises(DataError, match="'x' holds records, which are no images that are read"):
        opened(tmp_path, {"format": "parquet", "path": "d"})


@pytest.mark.parametrize("way", ["parquet", "parquet of bytes"])
def test_an_image_that_all_rows_share_takes_no_more_than_is_free(way: str, tmp_path: Path, monkeypatch) -> None:
    """Behind one small image, of which a file may say that all rows have it, can stand megabytes."""
    image = encoded(GREY) + bytes(1 << 18)
    source = write(way, tmp_path, [image] * 200)
    monkeypatch.setattr("curvcli.data.parquet.available_memory", lambda: 1 << 24)
    reader = opened(tmp_path, source)
    before = pa.total_allocated_bytes()
    reader.read(["x"], np.arange(20))
    assert pa.total_allocated_bytes() - before < 1 << 23  # of 50 MiB


def test_a_shard_without_rows_agrees_with_images(tmp_path: Path) -> None:
    write("parquet", tmp_path, [encoded(GREY)] * 3)
    whole = pa.parquet.read_table(tmp_path / "d")
    for number, part in enumerate((whole.slice(0, 0), whole)):
        pa.parquet.write_table(part, tmp_path / f"p-{number}")
    assert opened(tmp_path, {"format": "parquet", "path": "p-*"}).column("x").shape == (5, 4, 1)
