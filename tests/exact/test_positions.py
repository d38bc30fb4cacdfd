"""Columns contracted through the Gram matrices of positions: the dense Hessian's diagonal, and what each column gives.

Networks of layers whose weight is used at several places, with more classes than places, from a seeded generator.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sessions import session_of
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.models.contraction import Contraction, through_positions
from curvcli.models.torch.layout import TorchLayout
from curvcli.models.torch.linear import PatchUse
from curvcli.models.torch.positions import PositionGram

from .conftest import SAMPLES, assert_close, write_spec
from .test_torchscript import LOGITS, Diag, dense, save

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
CLASSES = 80


class Places(nn.Module):
    """A convolution or a dense layer over tokens, bent, and a head of many classes."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        super().__init__()
        groups, into = int(rng.choice([1, 2])), 8
        stride, padding, dilation = (int(rng.integers(*ends)) for ends in ((1, 3), (0, 3), (1, 3)))
        self.shape = {"tokens": (5, 20), "one": (into, 13)}.get(kind, (into, 7, 6))
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        make = {"tokens": lambda: nn.Linear(20, 6), "one": lambda: nn.Conv1d(into, 6, 3, **options)}
        self.layer = make.get(kind, lambda: nn.Conv2d(into, 6, (3, 2), **options))()
        places = self.layer(torch.zeros(1, *self.shape)).numel()
        self.register_buffer("head", torch.randn(places, CLASSES) / places**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.layer(x)).flatten(1) @ self.head


def case(kind: str, seed: int) -> tuple[Places, np.ndarray, np.ndarray]:
    """A network and its data."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    module = Places(kind, rng).eval()
    return module, rng.standard_normal((SAMPLES, *module.shape)), rng.integers(0, CLASSES, SAMPLES)


def through(module: Places, samples: int) -> bool:
    """Whether the layer is contracted through positions."""
    z = module.layer(torch.zeros(1, *module.shape))
    units = z.shape[-1 if isinstance(module.layer, nn.Linear) else 1]
    size = Contraction(samples, units, module.layer.weight.numel() // units, z.numel() // units)
    return through_positions([size], CLASSES, 8)[0]


@pytest.mark.parametrize(("kind", "seed"), [("tokens", 0), ("one", 1), ("two", 1), ("two", 5)])
def test_the_diagonal_is_the_dense_hessians(kind: str, seed: int, diag: Diag, tmp_path: Path) -> None:
    """In float64 to 1e-9, over uneven batches, whatever stride, padding, dilation and groups."""
    module, x, y = case(kind, seed)
    assert through(module, SAMPLES)
    outcome = diag(save(module, x, tmp_path / "m.pt"), {"x": x}, y, LOGITS, "--method", "gauss_newton")
    assert set(outcome.method.values()) == {"gauss_newton"}
    assert_close(outcome.diagonal, dense(module, x, torch.from_numpy(y), F.cross_entropy), 1e-9)


@pytest.mark.parametrize("positions", [2, 5, 130, 259])
def test_gram_matrices_give_what_the_columns_give(positions: int) -> None:
    """Cut into blocks or not, of several groups, however many columns come."""
    rng = np.random.default_rng(positions)
    samples, groups, inputs, outputs = 3, 2, 4, 3
    a = torch.from_numpy(rng.standard_normal((samples, groups, inputs, positions)))
    layout = TorchLayout((samples, groups * outputs, positions), 1, (1,), interleaved=False, samples=samples)
    use = PatchUse(layout, (groups, inputs, outputs), lambda: a, lambda gkq: gkq)
    columns = list(torch.from_numpy(rng.standard_normal((70, *layout.shape))))
    gram = PositionGram(use)
    assert gram.squares() is None
    for column in columns:
        gram.add(column)
    squares, expected = gram.squares(), use.products(columns)
    assert squares is not None
    assert torch.allclose(squares, expected, rtol=1e-12)


def test_columns_added_bit_by_bit_give_their_sum_once(tmp_path: Path) -> None:
    """Of a whole batch: as many columns at a time as one likes, and the same as column by column."""
    module, x, y = case("two", 5)
    spec = write_spec(tmp_path, "data", {"x": x}, y, LOGITS)
    session = session_of(save(module, x, tmp_path / "m.pt"), spec)
    names = ["layer.weight", "layer.bias"]
    batch = next(session.objective.batches(names))
    columns = batch.output.columns(0, CLASSES).vectors
    singly = [batch.squared_columns(names, column[None]) for column in columns]
    squares = batch.column_squares(names, CLASSES, anew=True)
    assert squares is not None
    squares.add(columns[:3])
    again = batch.column_squares(names, CLASSES, anew=False)
    assert again is squares
    assert again.added == 3
    again.add(columns[3:])
    sums = again.sums()
    for name in names:
        assert np.allclose(sums[name], np.sum([each[name] for each in singly], axis=0), rtol=1e-12)
    assert batch.column_squares(names, CLASSES, anew=False) is not squares
    assert batch.column_squares(names[1:], CLASSES, anew=False) is None


class StopError(Exception):
    """Stands for a signal."""


def test_stopped_within_a_batch_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Restored in another process, where the batch's matrices are gone: its columns are added once more."""
    module, x, y = case("two", 5)
    spec = write_spec(tmp_path, "data", {"x": x}, y, LOGITS)
    method = GaussNewton(("layer.weight", "layer.bias"), CLASSES)
    path = save(module, x, tmp_path / "m.pt")
    whole = computed(method, SerialEngine(session_of(path, spec).objective))

    def stop(passes: int) -> None:
        steps.append(passes)
        if len(steps) == 5:
            raise StopError

    work, steps = Work(method), list[int]()
    with pytest.raises(StopError):
        work.run(SerialEngine(session_of(path, spec).objective), stop)
    resumed = Work(method)
    resumed.restore(work.state())
    resumed.run(SerialEngine(session_of(path, spec).objective), steps.append)
    assert len(steps) == 9  # three for each of three batches
    for name, values in whole.values.items():
        assert np.array_equal(resumed.result.values[name], values)


def test_the_count_decides() -> None:
    """Few classes or many places: column by column; and never more than the matrices' share of memory."""
    dense, late = Contraction(8, 512, 512, 64), Contraction(8, 512, 4608, 196)
    assert through_positions([dense, late, None], 1000, 4) == [True, True, False]
    assert through_positions([dense, late], 10, 4) == [False, False]
    assert through_positions([Contraction(8, 512, 4608, 784)], 100_000, 4) == [False]
