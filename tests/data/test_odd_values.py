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
