"""Random subsets that keep the classes' shares, and samples in a random order."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvcli.data.samples import FileSamples
from curvcli.data.selection import Strata, chosen_rows, shares, shuffled, stratified_rows
from curvcli.errors import DataError

Open = Callable[..., FileSamples]
Save = Callable[..., None]
CLASSES = 'name = "cross_entropy"\nfrom_logits = true'
BINARY = 'name = "bce"\nfrom_logits = true'


def sampling(limit: int, *also: str, batch_size: int = 4, seed: int = 0) -> str:
    """The table of a spec."""
    return "\n".join([f"limit = {limit}", f"batch_size = {batch_size}", f"seed = {seed}", *also])


def rounded_by_hand(sizes: list[int], limit: int) -> list[int]:
    """Largest remainders with exact fractions: one more to whoever is furthest below its share, one at a time."""
    exact = [Fraction(limit * size, sum(sizes)) for size in sizes]
    taken = [int(share) for share in exact]
    left = {place: exact[place] - taken[place] for place in range(len(sizes))}
    while sum(taken) < limit:
        place = max(left, key=lambda one: (left[one], -one))
        taken[place] += 1
        del left[place]
    return taken


@pytest.mark.parametrize("case", range(40))
def test_every_class_has_its_share(case: int) -> None:
    """Of random sizes and limits; and what is taken of a class are rows of it, each once."""
    rng = random.Random(case)
    sizes = [rng.randint(1, 10 ** rng.randint(0, 3)) for _ in range(rng.randint(1, 12))]
    limit = rng.randint(1, sum(sizes))
    taken = shares(np.array(sizes), limit)
    assert taken.tolist() == rounded_by_hand(sizes, limit)
    assert all(0 <= many <= size for many, size in zip(taken, sizes, strict=True))
    classes = np.repeat(np.arange(len(sizes)), sizes)[np.random.default_rng(case).permutation(sum(sizes))]
    rows = stratified_rows(Strata(classes, np.array(sizes)), limit, case)
    assert (np.diff(rows) > 0).all()
    assert np.bincount(classes[rows], minlength=len(sizes)).tolist() == taken.tolist()


def test_within_a_class_every_row_is_as_likely() -> None:
    """Over many seeds: three of eight, one of three."""
    classes = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0])
    strata = Strata(classes, np.bincount(classes))
    counts = np.bincount(np.concatenate([stratified_rows(strata, 4, seed) for seed in range(3000)]), minlength=11)
    expected = np.where(classes == 0, 3 / 8, 1 / 3) * 3000
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_a_smaller_limit_is_a_part_of_a_larger_one() -> None:
    """And the random order is that in which a limit would take them."""
    for seed in range(5):
        every = shuffled(np.arange(500), 500, seed)
        for limit in (1, 17, 250, 499):
            assert sorted(every[:limit]) == chosen_rows(500, limit, seed).tolist()
            np.testing.assert_array_equal(shuffled(chosen_rows(500, limit, seed), 500, seed), every[:limit])


def test_a_seed_means_the_same_rows_in_every_version() -> None:
    """What reports of today say of their samples holds tomorrow."""
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert stratified_rows(Strata(classes, np.bincount(classes)), 5, 0).tolist() == [0, 3, 5, 6, 8]
    assert shuffled(np.arange(10), 10, 0).tolist() == [0, 8, 9, 3, 7, 5, 1, 2, 6, 4]


def written(folder: Path, kind: str, x: np.ndarray, y: np.ndarray) -> str:
    """The same table in a format; returns the source's lines."""
    parts = [(x[:11], y[:11]), (x[11:11], y[11:11]), (x[11:], y[11:])]
    if kind == "csv":
        lines = [f"{a!r},{b!r},{int(c)}" for (a, b), c in zip(x.tolist(), y, strict=True)]
        (folder / "d.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
        return 'format = "csv"\npath = "d.csv"'
    if kind == "shards":
        for number, (some, labels) in enumerate(parts):
            np.savez(folder / f"p{number}.npz", x=some, y=labels)
        return 'format = "npz"\npath = "p*.npz"'
    np.savez(folder / "d.npz", x=x, y=y)
    return 'format = "npz"\npath = "d.npz"'


@pytest.mark.parametrize("also", [("stratify = true",), ("shuffle = true",), ("stratify = true", "shuffle = true")])
def test_neither_batches_nor_shards_nor_formats_change_what_is_taken(
    also: tuple[str, ...], tmp_path: Path, open_spec: Open
) -> None:
    """The same samples in the same order, with their own inputs and targets."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 2)), np.sort(rng.choice(3, 40, p=[0.6, 0.3, 0.1]))
    seen: list[tuple[list[int], str, np.ndarray]] = []
    for kind in ("npz", "csv", "shards"):
        source = written(tmp_path, kind, x, y)
        column = 'columns = ["a", "b"]' if kind == "csv" else 'column = "x"'
        for batch_size in (1, 7, 40):
            text = sampling(21, *also, batch_size=batch_size, seed=5)
            opened = open_spec(source=source, x=column, loss=CLASSES, sampling=text)
            batches = list(opened.batches())
            inputs = np.concatenate([batch.inputs["x"] for batch in batches])
            np.testing.assert_allclose(inputs, x[opened.rows], rtol=1e-12)
            np.testing.assert_array_equal(np.concatenate([batch.target for batch in batches]).ravel(), y[opened.rows])
            np.testing.assert_array_equal(opened.some(np.array([3, 9])).inputs["x"], inputs[[3, 9]])
            assert opened.available == 40
            seen.append((opened.rows.tolist(), opened.digest, inputs))
    assert all(rows == seen[0][0] and digest == seen[0][1] for rows, digest, _ in seen)
    if "stratify = true" in also:
        assert np.bincount(y[seen[0][0]], minlength=3).tolist() == shares(np.bincount(y), 21).tolist()
    assert (sorted(seen[0][0]) != seen[0][0]) == ("shuffle = true" in also)


def test_the_digest_is_that_of_the_samples_whatever_their_order(open_spec: Open, save: Save) -> None:
    """With weights too: the same samples make the same objective."""
    rng = np.random.default_rng(0)
    save(x=rng.standard_normal((30, 2)), y=rng.integers(0, 3, 30), w=rng.random(30))
    loss = f'{CLASSES}\nsample_weight = "w"'
    plain, mixed = (open_spec(loss=loss, sampling=sampling(12, one)) for one in ("", "shuffle = true"))
    assert plain.rows.tolist() == sorted(mixed.rows.tolist()) != mixed.rows.tolist()
    assert plain.digest == mixed.digest
    order = np.argsort(mixed.rows)
    (before,), (after,) = plain.batches(12), mixed.batches(12)
    np.testing.assert_array_equal(before.weight, after.weight[order])
    np.testing.assert_array_equal(before.target, after.target[order])


@pytest.mark.parametrize(
    ("loss", "targets", "counts"),
    [
        (f"{CLASSES}\nignore_index = -1", [-1] * 6 + [0] * 12 + [1] * 6, {-1: 2, 0: 4, 1: 2}),
        (f"{BINARY}\nignore_nan = true", [np.nan] * 3 + [0.0] * 18 + [1.0] * 3, {0.0: 6, 1.0: 1}),
        ('name = "hinge"', [-1] * 18 + [1] * 6, {-1: 6, 1: 2}),
    ],
)
def test_what_does_not_count_is_a_class_of_its_own(
    loss: str, targets: list[float], counts: dict[float, int], open_spec: Open, save: Save
) -> None:
    """So that the share of what counts stays."""
    save(x=np.zeros((24, 2)), y=np.array(targets))
    opened = open_spec(loss=loss, sampling=sampling(8, "stratify = true"))
    labels = opened.targets()
    assert labels is not None
    for label, count in counts.items():
        assert int((labels == label).sum()) == count
    assert len(labels) == 8


def test_classes_by_name_have_their_shares(tmp_path: Path, open_spec: Open) -> None:
    """In a CSV file of words."""
    rows = ["x,y"] + [f"{n},{'cat' if n < 15 else 'dog'}" for n in range(20)]
    (tmp_path / "d.csv").write_text("\n".join(rows) + "\n")
    target = '[target]\ncolumn = "y"\nclasses = ["dog", "cat", "cow"]'
    opened = open_spec(
        source='format = "csv"\npath = "d.csv"', target=target, loss=CLASSES, sampling=sampling(8, "stratify = true")
    )
    labels = opened.targets()
    assert labels is not None
    assert np.bincount(labels.ravel()).tolist() == [2, 6]


@pytest.mark.parametrize(
    ("loss", "targets", "said"),
    [
        ('name = "mse"', np.arange(10), "the loss mse has none"),
        (CLASSES, np.zeros((10, 3), dtype=np.int64), r"shape \(3,\) per sample"),
        (BINARY, np.linspace(0, 1, 10), "holds fractions"),
    ],
)
def test_what_is_no_class_for_each_sample_is_refused(
    loss: str, targets: np.ndarray, said: str, open_spec: Open, save: Save
) -> None:
    """Whatever the limit; fractions where there is something to choose."""
    save(x=np.zeros((10, 2)), y=targets)
    with pytest.raises(DataError, match=said) as error:
        open_spec(loss=loss, sampling=sampling(4, "stratify = true"))
    assert "--stratify" in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_a_random_order_of_what_is_decoded_forward_needs_it_in_memory(
    tmp_path: Path, open_spec: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line names the file, the figures and what to do; mapped files are read anywhere."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 2)), np.zeros(40, dtype=np.int64)
    monkeypatch.setattr("curvcli.data.samples._KEPT", 100)
    also = "shuffle = true"
    arguments: dict[str, Any] = {"loss": CLASSES, "sampling": sampling(21, also)}
    mapped = open_spec(source=written(tmp_path, "npz", x, y), **arguments)
    np.testing.assert_array_equal(next(mapped.batches()).inputs["x"], x[mapped.rows[:4]])
    source = written(tmp_path, "csv", x, y)
    with pytest.raises(DataError, match=r"d\.csv: columns 'a' … 'b'|d\.csv: column 'a'") as error:
        open_spec(source=source, x='columns = ["a", "b"]', **arguments)
    assert "of the 21 samples" in str(error.value)
    assert "--limit" in str(error.value)
    arguments["sampling"] = sampling(21)
    assert len(open_spec(source=source, x='columns = ["a", "b"]', **arguments)) == 21
