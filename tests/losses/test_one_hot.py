"""Integer one-hot labels mean what class numbers mean; whole numbers of any other content are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from curvcli.cli.main import run
from curvcli.errors import DataError
from curvcli.losses.interface import End, RawTargets, Targets
from curvcli.losses.one_hot import flags_of
from curvcli.losses.registry import settle
from curvcli.spec.loss import LossSpec

LABELS = np.array([2, 0, 1, 2, 2, 0, 1])


class Reader:
    """The targets of a cross-entropy."""

    def __init__(self, axis: int = 1, **changes: object) -> None:
        spec = LossSpec(name="cross_entropy", from_logits=True, **changes)  # type: ignore[arg-type]
        self._loss = settle(spec, End(None, axis, "y", "model.pt"))

    def batch(self, target: np.ndarray, shape: tuple[int, ...], rows: list[int]) -> Targets:
        return self._loss.targets(RawTargets(target, None, shape, rows))


def one_hot(labels: np.ndarray, axis: int, dtype: type) -> np.ndarray:
    return np.moveaxis(np.eye(3, dtype=dtype)[labels], -1, axis)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32, np.bool_])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5)])
def test_they_are_read_as_class_numbers_are(dtype: type, weights: tuple[float, ...] | None) -> None:
    """Class weights count too."""
    how = Reader(class_weights=weights)
    rows = list(range(len(LABELS)))
    wanted = how.batch(LABELS, (7, 3), rows)
    found = how.batch(one_hot(LABELS, 1, dtype), (7, 3), rows)
    for name in ("truth", "weight", "scale", "total"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_they_are_read_as_soft_labels_are() -> None:
    """The same numbers as floats."""
    rows = list(range(7))
    soft = Reader().batch(one_hot(LABELS, 1, np.float64), (7, 3), rows)
    hard = Reader().batch(one_hot(LABELS, 1, np.int64), (7, 3), rows)
    np.testing.assert_array_equal(hard.truth, soft.truth)
    np.testing.assert_array_equal(hard.weight, soft.weight)


@pytest.mark.parametrize("axis", [1, 2])
def test_the_class_axis_is_the_models(axis: int) -> None:
    """Of outputs with positions, wherever their classes are; here both axes are of three."""
    labels = np.array([[0, 1, 2], [2, 2, 0]])
    found = Reader(axis).batch(one_hot(labels, axis, np.int64), (2, 3, 3), [0, 1])
    np.testing.assert_array_equal(found.truth, Reader(axis).batch(labels, (2, 3, 3), [0, 1]).truth)


def test_one_class_has_labels_as_before() -> None:
    """Of (samples, 1) a zero is the only class's number."""
    assert Reader().batch(np.zeros((4, 1), np.int64), (4, 1), [0, 1, 2, 3]).truth.all()


@pytest.mark.parametrize(
    ("row", "shown"),
    [([0, 0, 0], "0 0 0"), ([1, 1, 0], "1 1 0"), ([0, 2, 0], "0 2 0"), ([-1, 1, 1], "-1 1 1"), ([2, -1, 0], "2 -1 0")],
)
def test_whole_numbers_that_are_not_one_hot_are_refused(row: list[int], shown: str) -> None:
    """With the row in the data, and what is there."""
    target = one_hot(LABELS, 1, np.int64)
    target[4] = row
    with pytest.raises(DataError, match=f"column 'y', row 104: .* must be one-hot.*; found {shown}"):
        Reader().batch(target, (7, 3), [100 + i for i in range(7)])


SPEC = """version = 1
[source]
format = "npz"
path = "{data}"
[inputs.input]
column = "x"
dtype = "float32"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
"""


@pytest.fixture
def diagonal(tmp_path: Path) -> Callable[[str, np.ndarray], int]:
    """``diagonal(name, targets)``: the exit code of ``curvcli diag`` on a small scripted model."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    torch.jit.save(torch.jit.script(model), tmp_path / "model.pt")
    x = np.random.default_rng(0).standard_normal((7, 4))

    def call(name: str, targets: np.ndarray) -> int:
        np.savez(tmp_path / f"{name}.npz", x=x, y=targets)
        (tmp_path / f"{name}.toml").write_text(SPEC.format(data=f"{name}.npz"))
        words = ["diag", str(tmp_path / "model.pt"), "--data", str(tmp_path / f"{name}.toml"), "--dtype", "float64"]
        return run([*words, "--format", "json", "-o", str(tmp_path / f"{name}.h5")])

    return call


def test_the_command_gives_the_diagonal_of_class_numbers(
    diagonal: Callable[[str, np.ndarray], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Class numbers, soft labels and one-hot integers: one loss, one diagonal."""
    found = {}
    targets = {"labels": LABELS, "soft": np.eye(3)[LABELS], "one_hot": np.eye(3, dtype=np.int64)[LABELS]}
    for name, array in targets.items():
        assert diagonal(name, array) == 0
        document = json.loads(capsys.readouterr().out)
        rows = [(row["trace"], row["diagonal_max"], row["gradient_norm"]) for row in document["layers"]]
        found[name] = np.array([(document["provenance"]["loss_value"],) * 3, *rows])
    np.testing.assert_array_equal(found["one_hot"], found["labels"])
    np.testing.assert_allclose(found["one_hot"], found["soft"], rtol=1e-14)


def test_the_command_refuses_other_whole_numbers(
    diagonal: Callable[[str, np.ndarray], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code of wrong data, and the row."""
    counts = np.eye(3, dtype=np.int64)[LABELS]
    counts[5] = [4, 2, 1]
    assert diagonal("counts", counts) == 2
    assert "row 5: whole numbers shaped like the model's output must be one-hot" in capsys.readouterr().err


def test_flags_take_the_memory_of_the_vectors_alone() -> None:
    """A square of as many classes would take 2 TB."""
    classes = 1 << 19
    flags = flags_of(np.array([[3], [classes - 1]]), classes, axis=1)
    assert flags.shape == (2, classes, 1)
    assert np.argwhere(flags).tolist() == [[0, 3, 0], [1, classes - 1, 0]]
