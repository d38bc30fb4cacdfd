"""Tables of every rank and dtype, in every format, in one file or many: equal arrays in every way through the rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curvcli.data.interface import Reader, Wanted
from curvcli.data.registry import FORMATS as READERS
from curvcli.data.samples import FileSamples, chosen_rows

from .tables import FORMATS, Table, Written, cut, patterns, table


def store(way: Written, columns: Table, folder: Path, seed: int) -> str:
    """Write a table; returns the path or pattern."""
    pieces = cut(columns, seed)
    rng = random.Random(seed)
    for number, piece in enumerate(pieces):
        way.write(folder / f"part-{number:02}{way.suffix}", piece, rng)
    return f"part-*{way.suffix}" if len(pieces) > 1 or seed % 2 else f"part-00{way.suffix}"


def reader_of(way: Written, path: str, names: tuple[str, ...], folder: Path) -> Reader:
    form = READERS[way.format]
    return form.open(
        form.table.model_validate({"format": way.format, "path": path, **way.options}), Wanted(names, folder.joinpath)
    )


def check(way: Written, seed: int, folder: Path) -> None:
    """Store a table, and read it in all ways."""
    columns = {name: values for name, values in table(seed).items() if way.holds(values)}
    if not columns:
        return
    folder.mkdir()
    reader = reader_of(way, store(way, columns, folder, seed), tuple(columns), folder)
    expected = {name: way.stored(values) for name, values in columns.items()}
    for name, values in expected.items():
        column = reader.column(name)
        assert (column.rows, column.shape, column.dtype) == (len(values), values.shape[1:], values.dtype), (name, seed)
    for reads in patterns(len(next(iter(columns.values()))), seed):
        for rows in reads:
            for name, values in reader.read(list(columns), rows).items():
                assert values.dtype == expected[name].dtype
                np.testing.assert_array_equal(values, expected[name][rows], f"{name}, seed {seed}")


@pytest.mark.parametrize("way", FORMATS, ids=lambda way: way.name)
def test_a_table_comes_back_as_it_was_stored(way: Written, tmp_path: Path) -> None:
    for seed in range(6):
        check(way, seed, tmp_path / str(seed))


@pytest.mark.slow
@pytest.mark.parametrize("way", FORMATS, ids=lambda way: way.name)
def test_many_tables_come_back_as_they_were_stored(way: Written, tmp_path: Path) -> None:
    for seed in range(6, 200):
        check(way, seed, tmp_path / str(seed))


@pytest.mark.parametrize("kept", [True, False])
def test_samples_are_the_same_from_every_format(
    kept: bool, open_spec: Callable[..., FileSamples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of all sizes, limits and seeds, and the digest; whether decoded columns are kept or not."""
    if not kept:
        monkeypatch.setattr("curvcli.data.samples._KEPT", -1)
    generator = np.random.default_rng(1)
    columns = {"x": generator.integers(-50, 50, 300), "y": generator.integers(0, 9, 300)}
    for limit, seed, size in ((300, 0, 64), (100, 3, 7), (1, 5, 1)):
        rows = chosen_rows(300, limit, seed)
        digests = set()
        for way in FORMATS:
            folder = tmp_path / f"{way.name} {limit}"
            folder.mkdir()
            path = store(way, columns, folder, seed)
            options = "\n".join(f'{key} = "{value}"' for key, value in way.options.items())
            samples = open_spec(
                source=f'format = "{way.format}"\npath = "{folder.name}/{path}"\n{options}',
                loss='name = "cross_entropy"\nfrom_logits = true',
                sampling=f"limit = {limit}\nseed = {seed}",
            )
            np.testing.assert_array_equal(samples.rows, rows)
            for name, values in (("x", [b.inputs["x"] for b in samples.batches(size)]), ("y", [samples.targets()])):
                np.testing.assert_array_equal(np.concatenate(values), columns[name][rows], way.name)
            assert [len(batch) for batch in samples.batches(size, start=1)] == [
                len(rows[i : i + size]) for i in range(size, limit, size)
            ]
            digests.add(samples.digest)
        assert len(digests) == 1
