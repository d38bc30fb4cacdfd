"""Samples drawn at random: the same in every batch and every run, and of the distribution that is stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from curvcli.data.interface import Wanted
from curvcli.data.random import FORMAT, RandomSource
from curvcli.data.registry import TABLES
from curvcli.errors import DataError, SpecError
from curvcli.spec.dataset import parse_dataset_spec

COLUMNS = {
    "n": {"values": "normal", "shape": [3, 2]},
    "u": {"values": "uniform", "low": -2.0, "high": 5.0},
    "i": {"values": "integers", "shape": [4], "low": 3, "high": 9},
}
FIRST_UNIFORM = [-0.11320915049718483, -1.1890635109653322]
FIRST_INTEGERS = [[8, 4, 5, 3], [4, 3, 5, 4]]
SPEC = """version = 1
[source]
format = "random"
samples = 5
[source.columns.x]
{column}
[inputs.x]
column = "x"
[loss]
name = "output"
"""


def read(rows: np.ndarray, names: tuple[str, ...] = ("n", "u", "i"), seed: int = 0) -> dict[str, np.ndarray]:
    source = RandomSource.model_validate(
        {"format": "random", "samples": 4000, "seed": seed, "columns": COLUMNS}, strict=False
    )
    return FORMAT.open(source, Wanted(names, Path)).read(names, rows)


def test_a_row_is_the_same_in_whichever_batch() -> None:
    """Alone, among others, and beside other columns."""
    whole = read(np.arange(4000))
    for rows in (np.array([17]), np.array([0, 17, 3999])):
        for name, values in read(rows).items():
            np.testing.assert_array_equal(values, whole[name][rows])
    np.testing.assert_array_equal(read(np.arange(50), ("u",))["u"], whole["u"][:50])
    assert (read(np.arange(50), seed=1)["n"] != whole["n"][:50]).all()


def test_the_numbers_never_change() -> None:
    """A seed means the same samples in every version."""
    first = read(np.arange(2))
    np.testing.assert_allclose(first["u"], FIRST_UNIFORM, rtol=1e-15)
    assert first["i"].tolist() == FIRST_INTEGERS


def test_the_numbers_are_distributed_as_stated() -> None:
    whole = read(np.arange(4000))
    assert stats.kstest(whole["n"].ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(whole["u"], stats.uniform(-2, 7).cdf).pvalue > 1e-3
    assert stats.chisquare(np.bincount(whole["i"].ravel() - 3, minlength=6)).pvalue > 1e-3
    assert abs(np.corrcoef(whole["n"].reshape(4000, 6).T) - np.eye(6)).max() < 0.08
    assert {name: values.dtype for name, values in whole.items()} == {"n": float, "u": float, "i": np.int64}


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ('values = "normal"\nlow = 0.0', "low and high go with"),
        ('values = "integers"\nhigh = 1.5', "whole numbers"),
        ('values = "uniform"\nlow = 3.0\nhigh = 3.0', "must be above low"),
        ('values = "cauchy"', "choose normal"),
        ('values = "normal"\nshape = [0]', "1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(column: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        parse_dataset_spec(SPEC.format(column=column), TABLES, path=Path("s.toml"))


def test_rows_that_memory_has_no_room_for_are_refused() -> None:
    text = SPEC.format(column='values = "normal"\nshape = [1000000, 1000000]')
    source = parse_dataset_spec(text, TABLES, path=Path("s.toml")).spec.source
    with pytest.raises(DataError, match="memory"):
        FORMAT.open(source, Wanted(("x",), Path))
