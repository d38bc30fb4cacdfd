"""Tables of which few rows are looked up: the others are zeros by structure, and cost no passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sessions import session_of
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.curvature.diagonal.planner import plan_diagonal
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.models.base import Array

from .batchwise import scripted
from .conftest import write_spec
from .counting import CountedObjective
from .tf_modules import float32_values, save

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS, WIDTH, STEPS, CLASSES, SAMPLES = 16_385, 8, 3, 3, 5
RNG = np.random.default_rng(13)
# Five of the rows, the first and the last among them, in batches of which each looks up some.
TOKENS = np.array([0, 16_384, 77, 4711, 9000])[np.array([[0, 1, 0], [2, 1, 2], [0, 0, 0], [3, 4, 3], [4, 4, 2]])]
LABELS = RNG.integers(0, CLASSES, (SAMPLES, STEPS))
LOSS = 'name = "cross_entropy"\nfrom_logits = true\nclass_axis = -1'


class Twice(nn.Module):
    """Reads its table for two ends, so that there is no z."""

    def __init__(self, kind: str, padding: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, WIDTH, padding_idx=padding)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "index":
            again = self.table.weight[x.flip(1)] + self.table.weight[4711]
        elif self.kind == "select":
            again = self.table.weight.index_select(0, x.flip(1).reshape(-1)).reshape(x.shape[0], x.shape[1], -1)
        else:
            again = self.table(x.flip(1))
        return self.head(torch.tanh(self.table(x) * again))


def planned(model: Path, data: Path, batch_size: int, rows: int = ROWS) -> tuple[Array, str, int, int]:
    """The diagonal of the table, why it was had so, the passes that took, and those that were told before."""
    session = session_of(model, data, batch_size=batch_size)
    (table,) = [p for one in session.model.layers for p in one.parameters if p.shape[0] == rows]
    plan = plan_diagonal([table], session.objective.sites([table.name]), STEPS * CLASSES)
    counted = CountedObjective(session.objective)
    (work,) = plan.work
    found = computed(work, SerialEngine(counted))
    told = work.passes_per_batch * session.objective.batch_count()
    return found.values[table.name], plan.choices[table.name].reason, counted.backward_passes, told


def expected(module: nn.Module, rows: list[int]) -> np.ndarray:
    """The diagonal over these rows of the table, from a dense Hessian by them alone."""
    exact = module.double().eval()
    table = exact.table.weight.detach()

    def value(some: Tensor) -> Tensor:
        whole = table.index_put((torch.tensor(rows),), some)
        logits = torch.func.functional_call(exact, {"table.weight": whole}, (torch.from_numpy(TOKENS),))
        return F.cross_entropy(logits.reshape(-1, CLASSES), torch.from_numpy(LABELS).reshape(-1), reduction="mean")

    hessian = torch.autograd.functional.hessian(value, table[rows])
    size = len(rows) * WIDTH
    return hessian.reshape(size, size).diagonal().reshape(len(rows), WIDTH).numpy()


@pytest.mark.parametrize("kind", ["embedding", "index", "select"])
def test_rows_that_no_sample_looks_up_are_zeros_and_cost_nothing(kind: str, tmp_path: Path) -> None:
    """The diagonal of 16,385 × 8 entries in a few dozen passes, equal to a dense Hessian's."""
    torch.manual_seed(0)
    module = Twice(kind)
    model, data = scripted(module, tmp_path / "model.pt"), write_spec(tmp_path, "data", {"x": TOKENS}, LABELS, LOSS)
    found, reason, passes, told = planned(model, data, 2)
    rows = sorted(set(TOKENS.reshape(-1).tolist()))
    assert f"no sample looks up {ROWS - 5} of its {ROWS} rows" in reason
    truth = expected(module, rows)
    assert np.abs(found[rows] - truth).max() <= 1e-12 * np.abs(truth).max()
    assert not np.delete(found, rows, axis=0).any()
    # Of each batch's own rows, the gradient that shows the others to be zero, and nothing for any other row.
    by_hand = sum(
        len({*TOKENS[i : i + 2].reshape(-1).tolist(), *([4711] if kind == "index" else [])}) for i in (0, 2, 4)
    )
    assert passes == by_hand * WIDTH + 3
    assert passes <= told == 3 * (5 * WIDTH + 2)


def test_the_row_of_padding_counts_as_not_looked_up(tmp_path: Path) -> None:
    """Torch gives it no derivative, and neither is any product spent on it."""
    torch.manual_seed(0)
    module = Twice("embedding", padding=77)
    model, data = scripted(module, tmp_path / "model.pt"), write_spec(tmp_path, "data", {"x": TOKENS}, LABELS, LOSS)
    found, reason, _, _ = planned(model, data, 2)
    rows = sorted(set(TOKENS.reshape(-1).tolist()) - {77})
    assert f"no sample looks up {ROWS - 4} of its {ROWS} rows" in reason
    assert np.abs(found[rows] - expected(module, rows)).max() <= 1e-12 * np.abs(found).max()
    assert not np.delete(found, rows, axis=0).any()


def test_every_row_of_a_tied_table_counts(tmp_path: Path) -> None:
    """A table that is the last layer's weight too has no row that the loss does not depend on."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(20, 2)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(torch.tanh(self.table(x)), self.table.weight)

    torch.manual_seed(0)
    tokens, data = TOKENS % 20, {"x": TOKENS % 20}
    model, spec = scripted(Tied(), tmp_path / "model.pt"), write_spec(tmp_path, "data", data, tokens, LOSS)
    found, reason, _, _ = planned(model, spec, 5, rows=20)
    assert "looks up" not in reason
    assert (found != 0).all()


def test_a_table_that_is_used_twice_in_tensorflow(tmp_path: Path) -> None:
    """The same structure is read off a SavedModel's graph."""
    weights = {"table": float32_values(RNG, ROWS, 2), "head": float32_values(RNG, 2, CLASSES)}

    def network(tf: Any, w: Any, given: Any) -> Any:
        x = tf.nn.embedding_lookup(w["table"], given["x"]) * tf.gather(w["table"], tf.reverse(given["x"], [1]))
        return tf.tanh(x) @ w["head"]

    save(network, weights, {"x": TOKENS}, tmp_path / "model")
    data = write_spec(tmp_path, "data", {"x": TOKENS}, LABELS, LOSS)
    found, reason, passes, _ = planned(tmp_path / "model", data, 5)
    rows = sorted(set(TOKENS.reshape(-1).tolist()))
    assert f"no sample looks up {ROWS - 5} of its {ROWS} rows" in reason
    assert passes == 5 * 2 + 1
    table, head = (torch.from_numpy(weights[k].astype(np.float32).astype(np.float64)) for k in ("table", "head"))
    tokens, labels = torch.from_numpy(TOKENS), torch.from_numpy(LABELS)

    def value(some: Tensor) -> Tensor:
        whole = table.index_put((torch.tensor(rows),), some)
        return F.cross_entropy((torch.tanh(whole[tokens] * whole[tokens.flip(1)]) @ head).movedim(-1, 1), labels)

    truth = torch.autograd.functional.hessian(value, table[rows]).reshape(10, 10).diagonal().reshape(5, 2).numpy()
    assert np.abs(found[rows] - truth).max() <= 1e-12 * np.abs(truth).max()
    assert not np.delete(found, rows, axis=0).any()
