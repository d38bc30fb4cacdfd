"""Columns of lists, as tokens are stored: one length, nothing missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from curvcli.data.examples import example_class
from curvcli.errors import DataError

from .reading import read
from .tables import framed


@pytest.mark.parametrize("form", ["parquet", "jsonl", "tfrecord"])
def test_lists_of_different_lengths_are_told_with_the_row_and_how_to_pad(form: str, tmp_path: Path) -> None:
    lists = [[1, 2, 3], [4, 5, 6], [7, 8]]
    match form:
        case "parquet":
            pa.parquet.write_table(pa.table({"x": lists}), tmp_path / "d")
        case "jsonl":
            (tmp_path / "d").write_text("".join(json.dumps({"x": one}) + "\n" for one in lists))
        case _:
            records = []
            for one in lists:
                example = example_class()()
                example.features.feature["x"].Int64List.value.extend(one)
                records.append(framed(example.SerializeToString()))
            (tmp_path / "d").write_bytes(b"".join(records))
    with pytest.raises(DataError, match=r"(?s)row 2: 2 values, row 0 has 3; .*[Pp]ad.*attention mask"):
        read(form, tmp_path, ("x",), path="d")


def test_a_missing_whole_number_is_told_with_its_row(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [1, 2, None], "y": [[1], None, [2]]}), tmp_path / "d")
    with pytest.raises(DataError, match="column 'x', row 2: the value is missing"):
        read("parquet", tmp_path, ("x",), path="d")
    with pytest.raises(DataError, match="column 'y', row 1: the value is missing"):
        read("parquet", tmp_path, ("y",), path="d")


def test_tokens_masks_and_labels_pass_through_unchanged(open_spec, tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 30000, (5, 7))
    mask = (tokens > 9000).astype("i1")
    labels = np.where(mask, tokens, -100)
    table = {name: pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), 7) for name, v in
             (("tokens", tokens), ("mask", mask), ("labels", labels))}  # fmt: skip
    pa.parquet.write_table(pa.table(table), tmp_path / "d.parquet")
    samples = open_spec(
        source='format = "parquet"\npath = "d.parquet"',
        x='column = "tokens"\n[inputs.mask]\ncolumn = "mask"',
        target='[target]\ncolumn = "labels"',
        loss='name = "cross_entropy"\nfrom_logits = true\nignore_index = -100\nclass_axis = -1',
    )
    batch = next(samples.batches(5))
    for values, expected in ((batch.inputs["x"], tokens), (batch.inputs["mask"], mask), (batch.target, labels)):
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)
