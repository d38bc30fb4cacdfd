"""Bags of embeddings in every form: PyTorch has no second derivative of them, so curvcli writes them out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.models.open import open_model

from .conftest import Outcome, assert_close
from .exported import exported

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
RNG = np.random.default_rng(14)
ROWS, WIDTH, SAMPLES, LENGTH, CLASSES, PADDING = 9, 3, 37, 4, 3, 4
TOKENS = RNG.integers(0, ROWS, (SAMPLES, LENGTH))
SHARES = RNG.standard_normal((SAMPLES, LENGTH)).astype(np.float32)
# Empty bags, among them all of a batch.
LENGTHS = np.where(np.arange(SAMPLES) < 32, RNG.integers(0, LENGTH + 1, SAMPLES), 0)
LABELS = RNG.integers(0, CLASSES, SAMPLES)


class Bags(nn.Module):
    """A bag for each sample, of all its tokens, or by offsets of the first few."""

    def __init__(self, mode: str, padding: int | None, form: str) -> None:
        super().__init__()
        last = form.endswith("last")
        self.table = nn.EmbeddingBag(ROWS, WIDTH, mode=mode, padding_idx=padding, include_last_offset=last)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.rows, self.shared, self.last = form.startswith("rows"), "shares" in form, last

    def forward(self, tokens: Tensor, shares: Tensor, lengths: Tensor) -> Tensor:
        if self.rows:
            bags = self.table(tokens, per_sample_weights=shares) if self.shared else self.table(tokens)
            return self.head(torch.tanh(bags))
        kept = torch.arange(tokens.shape[1]).unsqueeze(0) < lengths.unsqueeze(1)
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
        if not self.last:
            offsets = offsets[:-1]
        if self.shared:
            return self.head(torch.tanh(self.table(tokens[kept], offsets, per_sample_weights=shares[kept])))
        return self.head(torch.tanh(self.table(tokens[kept], offsets)))

    def written_out(self, table: Tensor) -> Tensor:
        """Every bag by the definition."""
        bags = []
        for n in range(SAMPLES):
            length = LENGTH if self.rows else int(LENGTHS[n])
            places = [i for i in range(length) if TOKENS[n, i] != self.table.padding_idx]
            rows = [table[int(TOKENS[n, i])] * (float(SHARES[n, i]) if self.shared else 1.0) for i in places]
            put_together = {"sum": sum, "mean": lambda r: sum(r) / len(r), "max": lambda r: torch.stack(r).amax(0)}
            bags.append(put_together[self.table.mode](rows) if rows else table.new_zeros(WIDTH))
        return self.head(torch.tanh(torch.stack(bags)))


FORMS = [
    (mode, padding, form)
    for mode, padding, form in product(
        ("sum", "mean", "max"), (None, PADDING), ("rows", "rows shares", "offsets", "offsets shares", "offsets last")
    )
    if mode == "sum" or "shares" not in form
]
FEW = [
    ("sum", PADDING, "rows shares"),
    ("mean", PADDING, "offsets last"),
    ("max", None, "offsets"),
    ("mean", None, "rows"),
]
ONE = ("sum", PADDING, "offsets shares")


@pytest.mark.parametrize(
    ("form", "way"),
    [
        pytest.param(
            form,
            way,
            marks=() if (form in FEW and way == "script") or (form == ONE and way == "export") else pytest.mark.slow,
        )
        for form, way in product(FORMS, ("script", "trace", "export"))
    ],
)
def test_bags_equal_their_definition(
    form: tuple[str, int | None, str], way: str, diag: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Gradient and diagonal are those of the rows put together by hand, in float64."""
    torch.manual_seed(0)
    module = Bags(*form).eval()
    inputs = {"tokens": TOKENS, "shares": SHARES, "lengths": LENGTHS}
    example = tuple(torch.from_numpy(array[:4]) for array in inputs.values())
    path = tmp_path / "model.pt"
    if way == "export":
        path = exported(module, example, tmp_path / "model.pt2")
    else:
        saved = torch.jit.script(module) if way == "script" else torch.jit.trace(module, example, check_trace=False)
        torch.jit.save(saved, path)
    taken = [port.name for port in open_model(path).inputs]
    found = diag(path, {n: inputs[n] for n in taken}, LABELS, 'name = "cross_entropy"\nfrom_logits = true')
    assert found.code == 0
    table = module.double().table.weight.detach()

    def value(rows: Tensor) -> Tensor:
        return F.cross_entropy(module.written_out(rows), torch.from_numpy(LABELS))

    rows = table.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(rows), rows)
    hessian = torch.autograd.functional.hessian(value, table).reshape(table.numel(), -1)
    assert_close({"w": found.gradient["table/weight"]}, {"w": gradient.numpy()}, 1e-12)
    assert_close({"w": found.diagonal["table/weight"]}, {"w": hessian.diagonal().reshape(table.shape).numpy()}, 1e-12)
