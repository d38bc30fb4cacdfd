"""What Hugging Face's datasets saved to disk, read without that package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from curvcli.errors import DataError

from .reading import X, Y, read


def hugging_face(folder: Path, **state: Any) -> None:
    """As ``save_to_disk`` of ``datasets`` 2 to 4 lays them out."""
    folder.mkdir(parents=True)
    for number, part in enumerate((slice(0, 4), slice(4, 6))):
        table = pa.table({"x": X[part].tolist(), "y": Y[part]})
        with pa.ipc.new_stream(folder / f"data-{number:05}-of-00002.arrow", table.schema) as file:
            file.write_table(table, max_chunksize=3)
    files = [{"filename": f"data-{number:05}-of-00002.arrow"} for number in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": None, **state}))
    (folder / "dataset_info.json").write_text("{}")


def test_hugging_face_data_sets_are_read_without_their_package(tmp_path: Path) -> None:
    hugging_face(tmp_path / "one")
    found = read("huggingface", tmp_path, ("x", "y"), path="one")
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], Y)


def test_a_split_is_named(tmp_path: Path) -> None:
    hugging_face(tmp_path / "many" / "train")
    (tmp_path / "many" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    np.testing.assert_array_equal(read("huggingface", tmp_path, ("y",), path="many", split="train")["y"], Y)
    with pytest.raises(DataError, match=r"say which: source\.split; there are train, test"):
        read("huggingface", tmp_path, ("y",), path="many")
    with pytest.raises(DataError, match=r"there is no split 'trian'; did you mean train\?"):
        read("huggingface", tmp_path, ("y",), path="many", split="trian")


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "..", "a\0b", "link.arrow"])
def test_a_data_set_names_no_file_outside_its_folder(name: str, tmp_path: Path) -> None:
    hugging_face(tmp_path / "one", _data_files=[{"filename": name}])
    hugging_face(tmp_path / "two")
    (tmp_path / "secret.arrow").write_bytes((tmp_path / "two" / "data-00000-of-00002.arrow").read_bytes())
    (tmp_path / "one" / "link.arrow").symlink_to(tmp_path / "secret.arrow")
    with pytest.raises(DataError, match=r"not in the folder|leads out of the folder"):
        read("huggingface", tmp_path, ("y",), path="one")


def test_a_selection_and_a_folder_of_something_else_are_told(tmp_path: Path) -> None:
    hugging_face(tmp_path / "one", _indices_data_files=[{"filename": "indices.arrow"}])
    with pytest.raises(DataError, match=r"save it again after flatten_indices\(\)"):
        read("huggingface", tmp_path, ("y",), path="one")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"has no state\.json.*save_to_disk"):
        read("huggingface", tmp_path, ("y",), path="none")
