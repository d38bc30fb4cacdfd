"""The readers: what they find, and what is wrong with files."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from curvcli.errors import DataError

X = np.arange(12.0).reshape(6, 2)
Y = np.arange(6)
NPY = 'format = "npy"\npath = "."'
CSV = 'format = "csv"\npath = "d.csv"'


def only(samples) -> np.ndarray:
    (batch,) = samples.batches(100)
    return batch.inputs["x"]


def test_npz_columns_are_arrays_of_the_archive(open_spec, save):
    save(x=X, y=Y)
    samples = open_spec()
    np.testing.assert_array_equal(only(samples), X)
    np.testing.assert_array_equal(samples.targets(), Y)


def test_npz_may_be_compressed(open_spec, tmp_path):
    np.savez_compressed(tmp_path / "d.npz", x=X, y=Y)
    np.testing.assert_array_equal(only(open_spec()), X)


def test_npy_columns_are_files_of_a_folder(open_spec, tmp_path):
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "x.npy", X)
    np.save(tmp_path / "data" / "y.npy", Y)
    np.testing.assert_array_equal(only(open_spec(source='format = "npy"\npath = "data"')), X)


def test_npy_columns_are_files_of_a_table(open_spec, tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", Y)
    samples = open_spec(source='format = "npy"\npaths = { x = "a.npy", y = "b.npy" }')
    np.testing.assert_array_equal(only(samples), X)


def test_one_npy_file_is_the_column_of_its_name(open_spec, tmp_path):
    np.save(tmp_path / "x.npy", X)
    samples = open_spec(source='format = "npy"\npath = "x.npy"', target="", loss='name = "output"')
    np.testing.assert_array_equal(only(samples), X)


def test_one_npy_file_has_no_column_of_another_name(open_spec, tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(DataError, match=r"x\.npy: there is no column 'y'\.[^\n]*\nAvailable: x\."):
        open_spec(source='format = "npy"\npath = "x.npy"')


def test_npy_in_fortran_order_and_foreign_byte_order_is_read(open_spec, tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(X.astype(">f4")))
    np.save(tmp_path / "y.npy", Y)
    x = only(open_spec(source=NPY))
    np.testing.assert_array_equal(x, X)
    assert x.dtype.isnative
    assert x.flags.c_contiguous


def test_csv_columns_have_the_names_of_the_header(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("x, y\n0.5,1\n-1e3,2\n")
    samples = open_spec(source=CSV)
    np.testing.assert_array_equal(only(samples), [0.5, -1000.0])
    np.testing.assert_array_equal(samples.targets(), [1, 2])


def test_csv_whole_numbers_are_integers(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("x,y\n1,1\n2,2.5\n")
    samples = open_spec(source=CSV)
    assert (only(samples).dtype, samples.targets().dtype) == (np.int64, np.float64)


def test_csv_without_header_has_columns_by_number(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("1,2\n3,4\n")
    samples = open_spec(source=f"{CSV}\nheader = false", x='columns = ["0", "1"]', target="", loss='name = "output"')
    np.testing.assert_array_equal(only(samples), [[1, 2], [3, 4]])


def test_csv_delimiter_quotes_blank_lines_and_byte_order_mark(open_spec, tmp_path):
    (tmp_path / "d.csv").write_bytes('\ufeff"x";y\r\n\r\n"1";2\r\n'.encode())
    np.testing.assert_array_equal(only(open_spec(source=f'{CSV}\ndelimiter = ";"')), [1])


def test_columns_without_use_need_not_be_numbers(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("id,x,y\nfirst,1,2\n")
    assert len(open_spec(source=CSV)) == 1


@pytest.mark.parametrize(
    "source", ['format = "npz"\npath = "none"', 'format = "npy"\npath = "none"', 'format = "csv"\npath = "none"']
)
def test_a_missing_file_is_named_with_the_place_it_was_looked_for(open_spec, tmp_path, source):
    with pytest.raises(DataError) as caught:
        open_spec(source=source)
    assert str(caught.value) == (
        f"none: no such file; looked for {tmp_path / 'none'}.\nRelative paths start from the spec's folder."
    )


def test_a_folder_is_no_npz_file(open_spec):
    with pytest.raises(DataError, match="is a folder"):
        open_spec(source='format = "npz"\npath = "."')


def test_a_truncated_npz_is_refused(open_spec, save, tmp_path):
    save(x=X, y=Y)
    path = tmp_path / "d.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"^d\.npz: is no complete \.npz file"):
        open_spec()


def test_a_damaged_npz_member_is_refused(open_spec, save, tmp_path):
    save(x=X, y=Y)
    path = tmp_path / "d.npz"
    content = bytearray(path.read_bytes())
    at = content.index(X.tobytes())
    content[at + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^d\.npz: column 'x': is no complete \.npz file.*\nReason: Bad CRC"):
        open_spec()


def test_a_file_that_is_no_archive_is_no_npz(open_spec, tmp_path):
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").rename(tmp_path / "d.npz")
    with pytest.raises(DataError, match=r"is no complete \.npz file"):
        open_spec()


def test_pickled_arrays_in_npz_are_never_loaded(open_spec, save):
    save(x=np.array([{}, []], dtype=object), y=Y)
    with pytest.raises(DataError, match=r"^d\.npz: column 'x': holds pickled Python objects, which are never loaded"):
        open_spec()


def test_pickled_arrays_in_npy_are_never_loaded(open_spec, tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(DataError, match=r"x\.npy: holds pickled Python objects"):
        open_spec(source=NPY)


def test_a_pickle_is_no_npy_file(open_spec, tmp_path):
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "x.npy").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match=r"x\.npy: is no \.npy file"):
        open_spec(source=NPY)


def test_a_member_that_is_no_array_is_refused(open_spec, tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, Y)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as file:
        file.writestr("x", "text")
        file.writestr("y.npy", buffer.getvalue())
    with pytest.raises(DataError, match=r"d\.npz: column 'x'.*\nReason: it is not a NumPy array"):
        open_spec()


def test_a_truncated_npy_is_refused(open_spec, tmp_path):
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "x.npy", X)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-8])
    with pytest.raises(DataError, match=r"x\.npy: is no complete \.npy file"):
        open_spec(source=NPY)


def test_an_npy_cut_off_in_its_header_is_refused(open_spec, tmp_path):
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:20])
    with pytest.raises(DataError, match=r"x\.npy: is no complete \.npy file"):
        open_spec(source=NPY)


def test_a_missing_column_is_answered_with_the_available_ones(open_spec, save):
    save(images=X, y=Y)
    with pytest.raises(DataError) as caught:
        open_spec(x='column = "image"')
    assert str(caught.value) == ("d.npz: there is no column 'image'. Did you mean 'images'?\nAvailable: images, y.")


def test_a_missing_csv_column_is_answered_with_the_available_ones(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("a,y\n1,2\n")
    with pytest.raises(DataError, match=r"^d\.csv: there is no column 'x'\.[^\n]*\nAvailable: a, y\.$"):
        open_spec(source=CSV)


def test_a_csv_cell_that_is_no_number_is_named_with_column_row_and_line(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("x,y\n1,2\n\nn/a,3\n")
    with pytest.raises(DataError, match=r"^d\.csv: column 'x', row 1 \(line 4\): 'n/a' is no number\."):
        open_spec(source=CSV)


def test_an_empty_csv_cell_is_named(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("x,y\n1,\n")
    with pytest.raises(DataError, match=r"column 'y', row 0 \(line 2\): the cell is empty"):
        open_spec(source=CSV)


def test_a_number_with_underscores_is_no_number(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("x,y\n1_000,1\n")
    with pytest.raises(DataError, match="'1_000' is no number"):
        open_spec(source=CSV)


def test_a_csv_row_with_too_few_cells_is_named(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("x,y\n1,2\n3\n")
    with pytest.raises(DataError, match=r"d\.csv, row 1 \(line 3\): 1 cells, expected 2"):
        open_spec(source=CSV)


def test_a_csv_column_name_used_twice_is_refused(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("x,x,y\n1,2,3\n")
    with pytest.raises(DataError, match="2 columns are called 'x'"):
        open_spec(source=CSV)


def test_an_unclosed_quote_is_no_csv(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text('x,y\n"1,2\n')
    with pytest.raises(DataError, match=r"d\.csv, line \d+: is no CSV"):
        open_spec(source=CSV)


def test_a_csv_that_is_no_text_is_refused(open_spec, tmp_path):
    (tmp_path / "d.csv").write_bytes(b"x,y\n\xff,1\n")
    with pytest.raises(DataError, match="not UTF-8 text"):
        open_spec(source=CSV)


def test_an_empty_csv_is_refused(open_spec, tmp_path):
    (tmp_path / "d.csv").write_text("")
    with pytest.raises(DataError, match="the file is empty"):
        open_spec(source=CSV)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        (np.array(["a", "b"]), "text"),
        (np.array([1j, 2]), "complex numbers"),
        (np.array(["2020-01-01"] * 2, dtype="datetime64[D]"), "dates"),
        (np.zeros(2, dtype=[("a", float)]), "records"),
    ],
)
def test_columns_that_hold_no_real_numbers_are_refused(open_spec, save, values, held):
    save(x=values, y=np.arange(2))
    with pytest.raises(DataError, match=f"d.npz: column 'x' holds {held}"):
        open_spec()


def test_a_single_value_is_no_column(open_spec, save):
    save(x=X, y=np.float64(3))
    with pytest.raises(DataError, match="column 'y' is a single value"):
        open_spec()


def test_columns_of_different_length_are_refused(open_spec, save):
    save(x=X, y=Y[:5])
    with pytest.raises(DataError, match="column 'y' has 5 rows, 'x' has 6"):
        open_spec()


@pytest.mark.parametrize("format_", ["npz", "npy", "csv"])
def test_an_empty_dataset_is_refused(open_spec, save, tmp_path, format_):
    save(x=X[:0], y=Y[:0])
    np.save(tmp_path / "x.npy", X[:0])
    np.save(tmp_path / "y.npy", Y[:0])
    (tmp_path / "d.csv").write_text("x,y\n")
    source = {"npz": 'format = "npz"\npath = "d.npz"', "npy": NPY, "csv": CSV}[format_]
    with pytest.raises(DataError, match=r"is empty \(0 rows\)"):
        open_spec(source=source)
