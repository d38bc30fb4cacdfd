"""Values that a format can hold and a library would change or lose without a word; shapes that no array can have."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from curvcli.data.interface import Reader, Wanted
from curvcli.data.registry import FORMATS
from curvcli.errors import DataError


def opened(form: str, folder: Path, name: str, **source: Any) -> Reader:
    one = FORMATS[form]
    return one.open(one.table.model_validate({"format": form, **source}), Wanted((name,), folder.joinpath))


@pytest.mark.parametrize("mode", [None, "L", "RGB"])
def test_images_of_more_than_256_values_are_refused(mode: str | None, tmp_path: Path) -> None:
    """Pillow converts them by cutting all above 255 off: a photograph of 16 bits would be white."""
    (tmp_path / "images").mkdir()
    Image.fromarray(np.array([[0, 1000], [40000, 65535]], np.uint16)).save(tmp_path / "images" / "1.png")
    with pytest.raises(DataError, match=r"1\.png: its pixels are of mode I.*cut off.\nStore the images as an array"):
        opened("imagefolder", tmp_path, "image", path="images", mode=mode)


@pytest.mark.parametrize("image", ["1", "LA", "P", "RGBA", "CMYK"])
def test_images_of_other_modes_are_converted_where_that_is_said(image: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    suffix = "jpg" if image == "CMYK" else "png"
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(image).save(tmp_path / "images" / f"1.{suffix}")
    values = opened("imagefolder", tmp_path, "image", path="images", mode="L").read(["image"], np.arange(1))["image"]
    assert values.shape == (1, 2, 3, 1) and (values >= 254).all()


def test_a_missing_entry_of_a_dictionary_is_a_missing_text(tmp_path: Path) -> None:
    """It would become a class called None."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1]), pa.array(["a", None]))
    with pa.ipc.new_file(tmp_path / "d.arrow", pa.schema([("y", column.type)])) as file:
        file.write_batch(pa.record_batch([column], ["y"]))
    reader = opened("arrow", tmp_path, "y", path="d.arrow")
    assert reader.read(["y"], np.arange(0))["y"].shape == (0,)
    with pytest.raises(DataError, match="column 'y', row 2: the value is missing"):
        reader.read(["y"], np.arange(3))


class Written(pickle.Pickler):
    """Writes tensors over one storage of 16 bytes, by whatever they declare."""

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", obj.count) if isinstance(obj, Storage) else None


class Storage:
    """Stands for a storage."""

    def __init__(self, count: int = 4) -> None:
        self.count = count


class Declared:
    """A tensor of any shape and strides."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], count: int = 4) -> None:
        self.arguments = (Storage(count), 0, shape, strides, False, {})

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.arguments


def tensors(path: Path, values: Any) -> None:
    with zipfile.ZipFile(path, "w") as archive, archive.open("a/data.pkl", "w") as stream:
        Written(stream, 2).dump(values)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", bytes(16))


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((1 << 40, 1 << 40), (0, 0)),
        ((1 << 61,), (0,)),
        ((0, 1 << 61), (1, 1)),
        ((1,) * 70, (1,) * 70),
        ((4, 1), (1, 1 << 61)),
    ],
    ids=["entries", "rows", "none", "axes", "step"],
)
def test_a_tensor_that_no_array_can_be_is_refused(
    shape: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path
) -> None:
    tensors(tmp_path / "d.pt", {"x": Declared(shape, strides)})
    with pytest.raises(DataError, match=r"column 'x': is no complete \.pt file"):
        opened("torch", tmp_path, "x", path="d.pt")


def test_a_storage_of_two_sizes_is_refused(tmp_path: Path) -> None:
    tensors(tmp_path / "d.pt", {"x": Declared((1,), (1,), 1), "y": Declared((4,), (1,))})
    one = FORMATS["torch"]
    wanted = Wanted(("x", "y"), tmp_path.joinpath)
    with pytest.raises(DataError, match=r"column 'y': is no complete \.pt file"):
        one.open(one.table.model_validate({"format": "torch", "path": "d.pt"}), wanted)


def test_a_number_as_a_tensors_name_may_be_too_long_to_be_printed(tmp_path: Path) -> None:
    tensors(tmp_path / "d.pt", {2**20_000: Declared((4,), (1,)), "x": Declared((4,), (1,))})
    values = opened("torch", tmp_path, "x", path="d.pt").read(["x"], np.arange(4))["x"]
    np.testing.assert_array_equal(values, np.zeros(4))


LARGE = 2**53 + 1


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("jsonl", f'{{"x": 1}}\n{{"x": {LARGE}}}\n{{"x": 0.5}}\n'),
        ("jsonl", f'{{"x": 0.5}}\n{{"x": {-LARGE}}}\n'),
        ("jsonl", f'{{"x": [1, 2]}}\n{{"x": [{LARGE}, 0.5]}}\n'),
        ("csv", f"x\n1\n{LARGE}\n0.5\n"),
        ("csv", f"x\n0.5\n{-LARGE}\n"),
    ],
)
def test_a_whole_number_that_fractions_beside_it_would_round_is_refused(form: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "d").write_text(text)
    with pytest.raises(DataError, match=rf"'x', row 1: -?{LARGE} would be rounded, because the column has fractions"):
        reader = opened(form, tmp_path, "x", path="d")
        reader.read(["x"], np.arange(reader.column("x").rows))


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_whole_numbers_in_one_file_are_not_rounded_by_fractions_in_another(form: str, tmp_path: Path) -> None:
    def write(name: str, number: object) -> None:
        (tmp_path / name).write_text(f"x\n{number}\n" if form == "csv" else f'{{"x": {number}}}\n')

    write("a", LARGE)
    write("b", 0.5)
    with pytest.raises(DataError, match=rf"^a: column 'x', row 0: {LARGE} would be rounded"):
        opened(form, tmp_path, "x", path="[ab]").read(["x"], np.arange(2))
    write("a", 2**60)  # float64 has this one
    values = opened(form, tmp_path, "x", path="[ab]").read(["x"], np.arange(2))["x"]
    np.testing.assert_array_equal(values, [2.0**60, 0.5])
    write("b", 1)
    write("a", LARGE)
    values = opened(form, tmp_path, "x", path="[ab]").read(["x"], np.arange(2))["x"]
    assert values.tolist() == [LARGE, 1]


def test_lists_made_of_nothing_are_refused_whatever_their_column_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row could have them all; a dot in a name is no way around it."""
    numbers = pa.array([np.zeros(1 << 22)] * 2)
    for name in ("x", "x.y", "x.y.z"):
        pa.parquet.write_table(pa.table({name: numbers}), tmp_path / "d", compression="zstd")
        with monkeypatch.context() as patched:
            patched.setattr("curvcli.files.available_memory", lambda: 1 << 22)
            with pytest.raises(DataError, match=rf"d: column '{name}\.list\.element': takes 64 MiB"):
                opened("parquet", tmp_path, name, path="d")


def test_a_long_text_that_is_not_wanted_is_no_reason_to_refuse(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [1, 2], "text": ["a" * (1 << 18), "b" * (1 << 18)]}), tmp_path / "d")
    assert opened("parquet", tmp_path, "x", path="d").column("x").rows == 2
