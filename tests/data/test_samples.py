"""Selection, batches and digest."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.data.samples import chosen_rows
from curvcli.errors import DataError

X = np.linspace(-1, 1, 20).reshape(10, 2)
Y = np.arange(10)
NPY = 'format = "npy"\npath = "."'
CSV = 'format = "csv"\npath = "d.csv"'


@pytest.fixture
def samples(open_spec, save):
    save(x=X, y=Y)
    return open_spec


def test_the_last_batch_is_short(samples):
    assert [(batch.start, len(batch)) for batch in samples().batches()] == [(0, 4), (4, 4), (8, 2)]


def test_batches_hold_all_samples_in_file_order(samples):
    batches = list(samples().batches())
    np.testing.assert_array_equal(np.concatenate([b.inputs["x"] for b in batches]), X)
    np.testing.assert_array_equal(np.concatenate([b.target for b in batches]), Y)


def test_the_batch_size_can_be_chosen_per_iteration(samples):
    assert [len(batch) for batch in samples().batches(7)] == [7, 3]


def test_a_second_iteration_gives_the_same_even_if_the_first_was_written_to(samples):
    opened = samples()
    for batch in opened.batches():
        batch.inputs["x"][:] = 0
        batch.target[:] = 0
    again = list(opened.batches())
    np.testing.assert_array_equal(np.concatenate([b.inputs["x"] for b in again]), X)
    np.testing.assert_array_equal(np.concatenate([b.target for b in again]), Y)


def test_two_iterations_at_once_do_not_disturb_each_other(samples):
    opened = samples()
    for one, other in zip(opened.batches(), opened.batches(), strict=True):
        np.testing.assert_array_equal(one.inputs["x"], other.inputs["x"])


def test_iteration_can_start_at_a_later_batch(samples):
    (last,) = samples().batches(start=2)
    assert (last.start, len(last)) == (8, 2)


def test_a_batch_size_below_one_is_a_programming_error(samples):
    with pytest.raises(ValueError, match="batch_size 0"):
        samples().batches(0)


def test_without_a_limit_all_rows_are_taken(samples):
    np.testing.assert_array_equal(samples().rows, np.arange(10))


def test_a_limit_above_the_rows_takes_all(samples):
    assert len(samples(sampling="limit = 11")) == 10


def test_a_limit_takes_so_many_different_rows_in_file_order(samples):
    rows = samples(sampling="limit = 6").rows
    assert len(rows) == 6
    assert (np.diff(rows) > 0).all()


def test_the_limit_applies_to_inputs_and_targets_alike(samples):
    opened = samples(sampling="limit = 6")
    (batch,) = opened.batches(6)
    np.testing.assert_array_equal(batch.inputs["x"], X[opened.rows])
    np.testing.assert_array_equal(batch.target, Y[opened.rows])
    np.testing.assert_array_equal(opened.targets(), Y[opened.rows])


def test_the_same_seed_takes_the_same_rows():
    np.testing.assert_array_equal(chosen_rows(1000, 100, 3), chosen_rows(1000, 100, 3))


def test_another_seed_takes_other_rows():
    assert (chosen_rows(1000, 100, 3) != chosen_rows(1000, 100, 4)).any()


def test_a_seed_means_these_rows_in_every_version():
    assert chosen_rows(10, 4, 0).tolist() == [0, 3, 8, 9]


def test_every_row_is_equally_likely():
    counts = np.bincount(np.concatenate([chosen_rows(10, 4, seed) for seed in range(2000)]), minlength=10)
    # Each count is binomial(2000, 0.4): standard deviation 22; 110 is five of them.
    assert (np.abs(counts - 800) < 110).all()


def test_a_loss_without_target_has_no_targets(open_spec, save):
    save(x=X)
    opened = open_spec(target="", loss='name = "output"')
    assert opened.targets() is None
    assert opened.target_column is None
    assert next(opened.batches()).target is None


def test_the_target_column_is_named(samples):
    assert samples().target_column == "y"


def test_stored_float32_targets_become_float64(open_spec, save):
    save(x=X, y=Y.astype(np.float32))
    assert open_spec().targets().dtype == np.float64


def test_target_columns_are_joined(open_spec, save):
    save(x=X, a=Y, b=Y + 1)
    opened = open_spec(target='[target]\ncolumns = ["a", "b"]')
    np.testing.assert_array_equal(opened.targets(), np.stack([Y, Y + 1], axis=1))


def test_the_digest_does_not_depend_on_the_batch_size(samples):
    sizes = ("batch_size = 3", "batch_size = 10", "batch_size = 64")
    assert len({samples(sampling=size).digest for size in sizes}) == 1


def test_the_digest_does_not_depend_on_the_format(open_spec, save, tmp_path):
    save(x=X, y=Y.astype(np.uint8))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y.astype(">i4"))
    lines = ["a,b,y", *(f"{float(a)!r},{float(b)!r},{y}" for (a, b), y in zip(X, Y, strict=True))]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    digests = {open_spec().digest, open_spec(source=NPY).digest, open_spec(source=CSV, x='columns = ["a", "b"]').digest}
    assert len(digests) == 1


def test_the_digest_is_a_sha256_in_hexadecimal(samples):
    assert len(bytes.fromhex(samples().digest)) == 32


def test_the_digest_does_not_depend_on_rows_outside_the_selection(open_spec, save):
    save(x=X, y=Y)
    before = open_spec(sampling="limit = 6")
    changed = X.copy()
    changed[np.setdiff1d(np.arange(10), before.rows)] += 1
    digest = before.digest
    save(x=changed, y=Y)
    assert open_spec(sampling="limit = 6").digest == digest


@pytest.mark.parametrize(
    "change",
    [
        {"x": 'column = "x"\nscale = 2'},
        {"x": 'column = "x"\nshape = [2, 1]'},
        {"target": '[target]\ncolumn = "other"'},
        {"sampling": "limit = 9"},
    ],
)
def test_the_digest_depends_on_every_value_and_shape_that_enters(open_spec, save, change):
    save(x=X, y=Y, other=Y[::-1])
    assert open_spec(**change).digest != open_spec().digest


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "an infinite value")])
def test_a_value_that_is_not_finite_is_found_when_its_batch_is_reached(open_spec, save, value, word):
    bad = X.copy()
    bad[6, 1] = value
    save(x=bad, y=Y)
    batches = open_spec().batches()
    next(batches)
    with pytest.raises(DataError, match=f"^d.npz: column 'x', row 6: {word}\\.\n"):
        next(batches)


def test_rows_in_messages_are_those_of_the_file(open_spec, save):
    save(x=np.where(np.arange(20).reshape(10, 2) >= 0, np.nan, 0), y=Y)
    opened = open_spec(sampling="limit = 3")
    with pytest.raises(DataError, match=f"row {opened.rows[0]}: NaN"):
        list(opened.batches())


def test_a_bad_row_outside_the_selection_does_not_matter(open_spec, save):
    rows = chosen_rows(10, 3, 0)
    bad = np.full_like(X, np.nan)
    bad[rows] = X[rows]
    save(x=bad, y=Y)
    assert len(list(open_spec(sampling="limit = 3").batches())) == 1


def test_a_target_that_is_not_finite_is_found_at_once(open_spec, save):
    bad = Y.astype(float)
    bad[7] = np.nan
    save(x=X, y=bad)
    with pytest.raises(DataError, match="column 'y', row 7: NaN"):
        open_spec()


def test_the_digest_finds_bad_inputs_too(open_spec, save):
    bad = X.copy()
    bad[9, 0] = np.nan
    save(x=bad, y=Y)
    with pytest.raises(DataError, match="row 9: NaN"):
        _ = open_spec().digest


def test_some_samples_are_those_of_the_batches(open_spec, save):
    """By their positions among the selected ones, with their weights; writing to them changes nothing."""
    save(x=X, y=Y, w=np.linspace(1, 2, 10))
    opened = open_spec(loss='name = "mse"\nsample_weight = "w"')
    (whole,) = opened.batches(10)
    places = np.array([1, 4, 5, 9])
    some = opened.some(places)
    assert (len(some), some.start) == (4, 1)
    np.testing.assert_array_equal(some.places, places)
    np.testing.assert_array_equal(some.inputs["x"], whole.inputs["x"][places])
    np.testing.assert_array_equal(some.target, whole.target[places])
    np.testing.assert_array_equal(some.weight, whole.weight[places])
    some.inputs["x"][:] = 0
    some.target[:] = 0
    np.testing.assert_array_equal(opened.some(places).inputs["x"], whole.inputs["x"][places])
    np.testing.assert_array_equal(opened.some(places).target, whole.target[places])
