"""One table out of many files, by a pattern."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from curvcli.errors import DataError, SpecError

from .reading import X, Y, read


def test_files_that_disagree_are_told_by_name(open_spec, tmp_path: Path) -> None:
    np.savez(tmp_path / "p-0.npz", x=X, y=Y)
    np.savez(tmp_path / "p-1.npz", x=X[:, :1], y=Y)
    source = 'format = "npz"\npath = "p-*.npz"'
    with pytest.raises(DataError, match=r"p-1\.npz: column 'x' holds float64 of shape \(1,\).*in p-0\.npz it is"):
        open_spec(source=source)
    np.savez(tmp_path / "p-1.npz", x=X.astype("f4"), y=Y)
    with pytest.raises(DataError, match=r"p-1\.npz: column 'x' holds float32"):
        open_spec(source=source)
    np.savez(tmp_path / "p-1.npz", x=X)
    with pytest.raises(DataError, match=r"p-1\.npz: there is no column 'y'"):
        open_spec(source=source)
    np.savez(tmp_path / "p-1.npz", x=X, y=Y[:3])
    with pytest.raises(DataError, match=r"p-1\.npz: column 'y' has 3 rows, others have 6"):
        open_spec(source=source)


def test_files_without_rows_agree_with_all(open_spec, tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": X.tolist(), "y": Y}), tmp_path / "p-1.parquet")
    whole = pa.parquet.read_table(tmp_path / "p-1.parquet")
    pa.parquet.write_table(whole.slice(0, 0), tmp_path / "p-0.parquet")
    assert len(open_spec(source='format = "parquet"\npath = "p-*.parquet"')) == 6


def test_a_pattern_that_fits_no_file_says_where_it_looked(open_spec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^p-\*\.npz: no file has such a name; looked in {tmp_path}"):
        open_spec(source='format = "npz"\npath = "p-*.npz"')


def test_columns_may_come_from_many_npy_files_each(open_spec, tmp_path: Path) -> None:
    np.save(tmp_path / "x-0.npy", X[:2])
    np.save(tmp_path / "x-1.npy", X[2:])
    np.save(tmp_path / "y.npy", Y)
    samples = open_spec(source='format = "npy"\npaths = { x = "x-*.npy", y = "y.npy" }')
    np.testing.assert_array_equal(next(samples.batches(6)).inputs["x"], X)
    with pytest.raises(DataError, match=r'say which column these files are: paths = \{ x = "x-\*\.npy" \}'):
        open_spec(source='format = "npy"\npath = "x-*.npy"')


def test_csv_numbers_become_fractions_where_one_file_has_some(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (tmp_path / "b.csv").write_text("x\n0.5\n")
    np.testing.assert_array_equal(read("csv", tmp_path, ("x",), path="*.csv")["x"], [1, 2, 0.5])


def test_a_pattern_in_a_model_stays_beside_it(tmp_path: Path) -> None:
    """A spec that came with the model names no file elsewhere, by a pattern or by a link that fits one."""
    from curvcli.data.registry import TABLES
    from curvcli.data.samples import open_samples
    from curvcli.spec.dataset import parse_dataset_spec

    (tmp_path / "here" / "below").mkdir(parents=True)
    for place in ("here/p-0.npz", "p-0.npz", "here/below/p-0.npz"):
        np.savez(tmp_path / place, x=X, y=Y)

    def rows(path: str) -> int:
        text = f'version = 1\n[source]\nformat = "npz"\npath = "{path}"\n[inputs.x]\ncolumn = "x"\n[target]\n'
        text += 'column = "y"\n[loss]\nname = "mse"\n'
        model = tmp_path / "here" / "model.pt"
        return len(open_samples(parse_dataset_spec(text, TABLES, path=model, model=model)))

    assert rows("p-*.npz") == 6
    for path in ("../p-*.npz", f"{tmp_path}/p-*.npz", "below/p-*.npz", "b*/p-*.npz", "*/../../p-0.npz"):
        with pytest.raises(SpecError, match="may name only files in and beside the model"):
            rows(path)
    (tmp_path / "here" / "p-1.npz").symlink_to(tmp_path / "p-0.npz")
    with pytest.raises(SpecError, match="may name only files in and beside the model"):
        rows("p-*.npz")
