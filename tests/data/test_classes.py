"""Names of classes, in every format that holds text: numbered as the spec states them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from curvcli.data.examples import example_class
from curvcli.errors import DataError, SpecError

from .reading import X, Y
from .tables import framed

TEXTS = ["cat", "dog", "cat", "bird", "cat", "dog"]
CLASSES = '[target]\ncolumn = "y"\nclasses = ["cat", "dog", "bird"]'
NUMBERS = [0, 1, 0, 2, 0, 1]


def write_texts(form: str, folder: Path) -> str:
    """Store X and TEXTS; returns the source."""
    match form:
        case "csv":
            (folder / "d.csv").write_text("x,y\n" + "".join(f"{a},{t}\n" for (a, _), t in zip(X, TEXTS, strict=True)))
        case "jsonl":
            lines = [json.dumps({"x": list(a), "y": t}) for a, t in zip(X, TEXTS, strict=True)]
            (folder / "d.jsonl").write_text("\n".join(lines))
        case "npz":
            np.savez(folder / "d.npz", x=X, y=np.array(TEXTS))
        case "parquet":
            pa.parquet.write_table(pa.table({"x": X.tolist(), "y": TEXTS}), folder / "d.parquet")
        case "arrow":
            table = pa.table({"x": X.tolist(), "y": pa.array(TEXTS).dictionary_encode()})
            with pa.ipc.new_file(folder / "d.arrow", table.schema) as file:
                file.write_table(table)
        case "hdf5":
            with h5py.File(folder / "d.hdf5", "w") as file:
                file["x"], file["y"] = X, TEXTS
        case _:
            examples = []
            for values, text in zip(X, TEXTS, strict=True):
                example = example_class()()
                example.features.feature["x"].FloatList.value.extend(values)
                example.features.feature["y"].BytesList.value.append(text.encode())
                examples.append(framed(example.SerializeToString()))
            (folder / "d.tfrecord").write_bytes(b"".join(examples))
    return f'format = "{form}"\npath = "d.{form}"'


WITH_TEXT = ["csv", "jsonl", "npz", "parquet", "arrow", "hdf5", "tfrecord"]


@pytest.mark.parametrize("form", WITH_TEXT)
def test_names_of_classes_are_numbered_as_stated(form: str, open_spec, tmp_path: Path) -> None:
    samples = open_spec(source=write_texts(form, tmp_path), target=CLASSES)
    np.testing.assert_array_equal(samples.targets(), NUMBERS)
    assert samples.targets().dtype == np.int64


@pytest.mark.parametrize("form", WITH_TEXT)
def test_text_without_stated_classes_is_refused_with_the_line_to_write(form: str, open_spec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape('classes = ["bird", "cat", "dog"].')):
        open_spec(source=write_texts(form, tmp_path))


@pytest.mark.parametrize("form", WITH_TEXT)
def test_a_name_that_is_no_class_is_told_with_its_row(form: str, open_spec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 3: 'bird' is none of target\.classes; there are 2\."):
        open_spec(source=write_texts(form, tmp_path), target='[target]\ncolumn = "y"\nclasses = ["cat", "dog"]')


def test_numbers_have_no_names_of_classes(open_spec, save) -> None:
    save(x=X, y=Y)
    with pytest.raises(DataError, match=r"'y' holds numbers, not the names of classes; remove target\.classes"):
        open_spec(target=CLASSES)


def test_a_class_is_named_once(open_spec, save) -> None:
    save(x=X, y=Y)
    with pytest.raises(SpecError, match=r"target\.classes: names 'a' twice"):
        open_spec(target='[target]\ncolumn = "y"\nclasses = ["a", "b", "a"]')


def test_texts_of_megabytes_are_no_names_of_classes(open_spec, tmp_path: Path) -> None:
    """Whether each row declares so much, or has it."""
    np.savez_compressed(tmp_path / "d.npz", x=X, y=np.array(["a" * (1 << 18)] * 6))
    with pytest.raises(DataError, match="texts too long for a class"):
        open_spec()
    texts = pa.table({"x": np.zeros(50), "y": [f"{row}" * (1 << 18) for row in range(50)]})
    pa.parquet.write_table(texts, tmp_path / "d.parquet")
    with pytest.raises(DataError, match="texts too long for a class"):
        open_spec(source='format = "parquet"\npath = "d.parquet"', target=CLASSES)


def test_a_text_that_all_rows_share_is_there_once(open_spec, tmp_path: Path) -> None:
    table = pa.table({"x": np.zeros(2000), "y": pa.array(["cat" * 20_000] * 2000).dictionary_encode()})
    pa.parquet.write_table(table, tmp_path / "d.parquet")
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="is none of target"):
        open_spec(source='format = "parquet"\npath = "d.parquet"', target=CLASSES)
    assert pa.total_allocated_bytes() - before < 1 << 23  # of 114 MiB
