"""A format of data is one file: a table of the spec and a reader, made known by one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from curvcli.data.interface import Array, Column, Format, Rows, Wanted
from curvcli.data.registry import FORMATS, TABLES
from curvcli.data.samples import open_samples
from curvcli.errors import SpecError
from curvcli.spec.dataset import parse_dataset_spec
from curvcli.spec.sources import SourceTable

SPEC = """version = 1
[source]
format = "counted"
rows = 5
[inputs.x]
column = "3"
[target]
column = "1"
[loss]
name = "mse"
"""


class CountedSource(SourceTable):
    """Numbers by a rule."""

    format: Literal["counted"]
    rows: int


class CountedReader:
    """Column ``"3"`` is 0, 3, 6, …"""

    def __init__(self, source: CountedSource, wanted: Wanted) -> None:
        self._rows = source.rows

    def column(self, name: str) -> Column:
        return Column(name, "counted", self._rows, (), np.dtype(np.float64))

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        return {name: float(name) * rows.astype(np.float64) for name in names}


FORMAT = Format(CountedSource, CountedReader)


def test_a_format_is_added_by_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The spec takes its table, and the samples are read by its reader."""
    monkeypatch.setitem(FORMATS, FORMAT.name, FORMAT)
    loaded = parse_dataset_spec(SPEC, (*TABLES, CountedSource), path=tmp_path / "spec.toml")
    (batch,) = open_samples(loaded).batches(10)
    np.testing.assert_array_equal(batch.inputs["x"], [0, 3, 6, 9, 12])
    np.testing.assert_array_equal(batch.target, [0, 1, 2, 3, 4])


def test_a_formats_mistakes_are_told_like_all_others(tmp_path: Path) -> None:
    """Unknown keys with what is known; unknown formats with what there is."""
    with pytest.raises(SpecError, match=r"source.row: unknown key; did you mean rows\?"):
        parse_dataset_spec(SPEC.replace("rows", "row"), (*TABLES, CountedSource), path=tmp_path / "spec.toml")
    with pytest.raises(SpecError, match="unknown format 'counted'; choose npz, npy, csv"):
        parse_dataset_spec(SPEC, TABLES, path=tmp_path / "spec.toml")


def test_every_format_is_named_once() -> None:
    assert {name: one.name for name, one in FORMATS.items()} == {name: name for name in FORMATS}


def test_a_reader_takes_its_own_table_only(tmp_path: Path) -> None:
    source = CountedSource(format="counted", rows=1)
    with pytest.raises(TypeError, match="counted is not npz"):
        FORMATS["npz"].open(source, Wanted(("a",), tmp_path.joinpath))
