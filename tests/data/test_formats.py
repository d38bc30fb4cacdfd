"""What every format refuses, with the line that helps."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from curvcli.data.registry import FORMATS
from curvcli.errors import DataError, SpecError

from .reading import X, Y, read


def test_all_missing_columns_are_told_at_once_with_the_nearest_names(open_spec, save) -> None:
    save(images=X, labels=Y)
    with pytest.raises(DataError) as error:
        open_spec(x='column = "image"', target='[target]\ncolumn = "label"')
    assert str(error.value) == (
        "d.npz: there is no column 'image'. Did you mean 'images'?\n"
        "d.npz: there is no column 'label'. Did you mean 'labels'?\n"
        "Available: images, labels."
    )


def test_all_other_mistakes_of_columns_are_told_at_once(open_spec, save) -> None:
    save(x=np.array(["a"] * 6), y=np.array(["b"] * 6), w=Y[:3])
    with pytest.raises(DataError) as error:
        open_spec(loss='name = "mse"\nsample_weight = "w"')
    assert "'x' holds text; store it as numbers" in str(error.value)
    assert 'classes = ["b"]' in str(error.value)


def test_a_cut_or_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(b"x\n" + b"1\n" * 1000)
    (tmp_path / "d.csv.gz").write_bytes(data[:-10])
    with pytest.raises(DataError, match=r"d\.csv\.gz: can't be read to its end"):
        read("csv", tmp_path, ("x",), path="d.csv.gz")


def test_a_gzip_file_that_inflates_for_ever_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curvcli.data.files._ALWAYS_INFLATED", 1 << 16)
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 1_000_000))
    with pytest.raises(DataError, match="200 times its size"):
        read("csv", tmp_path, ("x",), path="d.csv.gz")


@pytest.mark.parametrize(
    "form", [name for name in FORMATS if name not in {"npy", "imagefolder", "huggingface", "random"}]
)
def test_files_of_other_formats_are_refused_with_how_to_convert_them(form: str, tmp_path: Path) -> None:
    for suffix, said in {
        "mat": r"scipy\.io\.loadmat", "xlsx": "save it as CSV", "safetensors": r"safetensors\.numpy\.load_file",
        "pkl": "a pickle runs code", "zip": "unpack it", "zst": "unzstd", "json": "JSON Lines",
    }.items():  # fmt: skip
        (tmp_path / f"d.{suffix}").write_bytes(b"something")
        with pytest.raises(DataError, match=said):
            read(form, tmp_path, ("x",), path=f"d.{suffix}")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("tsv", 'write format = "csv"'),
        (".feather", 'write format = "arrow"'),
        ("pt", 'write format = "torch"'),
        ("zarr", r"zarr\.open"),
        ("pickle", "a pickle runs code"),
        ("parqet", r"did you mean parquet\?"),
    ],
)
def test_a_format_by_another_name_is_answered_with_the_line_that_helps(written: str, said: str, open_spec) -> None:
    with pytest.raises(SpecError, match=said):
        open_spec(source=f'format = "{written}"\npath = "d"')


@pytest.mark.parametrize(
    ("form", "module", "package"),
    [
        ("parquet", "pyarrow.parquet", "pyarrow"),
        ("arrow", "pyarrow", "pyarrow"),
        ("tfrecord", "google_crc32c", "google-crc32c"),
        ("imagefolder", "PIL.Image", "Pillow"),
    ],
)
def test_a_missing_package_is_one_line_with_the_extra(
    form: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    (tmp_path / "d").write_bytes(b"")
    with pytest.raises(DataError, match=rf"needs {package}, which is not installed: pip install 'curvcli\[data\]'$"):
        read(form, tmp_path, ("x",), path="d")
