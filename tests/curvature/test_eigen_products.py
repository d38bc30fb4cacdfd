"""Every product that eigenvalues cost is made within the work, and is what the record says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import curvcli
from curvcli.curvature.dense import UnitProducts
from curvcli.curvature.gram import GramSpectrum
from curvcli.curvature.gram_pairs import GramPairs
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.pairs import Eigenpairs
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work
from curvcli.models.base import Array
from curvcli.models.torch.batch import TorchBatch

from .conftest import Quadratic, StopError, found, one_block, stop, with_spectrum

MODEL = Path(__file__).parents[2] / "sample_models" / "mlp_tanh.pt"
SAMPLES, BATCH = 48, 16


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many vectors each call of ``hessian_products`` multiplied."""
    calls: list[int] = []
    original = TorchBatch.hessian_products

    def counted(self: TorchBatch, block: Sequence[str], vectors: Array) -> Array:
        calls.append(len(vectors))
        return original(self, block, vectors)

    monkeypatch.setattr(TorchBatch, "hessian_products", counted)
    return calls


@pytest.mark.parametrize("which", ["largest", "both"])
@pytest.mark.parametrize(
    ("layer", "method", "backward"),
    # Where the block is Gauss–Newton, a backward pass per class and batch makes the columns.
    [("fc2", "lanczos", 0), ("fc2", "lobpcg", 0), ("fc3", "dense", 0), ("fc3", "gram", 10)],
)
def test_a_record_reports_as_many_products_as_were_made(
    layer: str, method: str, backward: int, which: str, made: list[int]
) -> None:
    """Those for residuals among them, by every method."""
    found = curvcli.eigenvalues(
        MODEL, layer=layer, method=method, which=which, k=3, limit=SAMPLES, batch_size=BATCH, dtype="float64"
    )
    record = found[layer]
    assert record.converged.all()
    assert sum(made) > 0
    assert record.products == sum(made) + backward * SAMPLES // BATCH


def test_a_dense_block_has_the_products_for_its_residuals() -> None:
    """No further pass: its rows are products, and what is not symmetric in them shows."""
    matrix = with_spectrum(np.linspace(-1, 2, 40))
    matrix[3, 7] += 1e-3
    block = one_block(40)
    rows = found(UnitProducts(block, HESSIAN, 0.0), Quadratic(matrix, block.parameters))
    vectors = np.random.default_rng(0).standard_normal((3, 40))
    np.testing.assert_allclose(rows.times(vectors), vectors @ matrix, atol=1e-12)


def test_products_that_check_a_gram_matrix_are_not_made_twice() -> None:
    """An interruption after them costs nothing, and a block that is not the Gram matrix's does not converge."""
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((6, 50))
    block = one_block(50)

    gram = GramSpectrum(columns, 1.0)

    def work() -> Work[Eigenpairs]:
        options: dict[str, Any] = {"k": 3, "which": "both", "tolerance": 1e-8, "seed": 0}
        return Work(GramPairs(block, lambda: gram, **options, matrix=HESSIAN, weight_decay=0.0))

    first, second = work(), work()
    objective = Quadratic(columns.T @ columns, block.parameters)
    with pytest.raises(StopError):
        first.run(SerialEngine(objective), stop)  # type: ignore[arg-type]
    first.run(SerialEngine(objective))  # type: ignore[arg-type]
    assert second.restore(first.state()) == 2 * second.algorithm.passes_per_batch == 12
    passes = objective.passes
    second.run(SerialEngine(objective), stop)  # type: ignore[arg-type]
    assert objective.passes == passes
    assert second.result.converged.all()
    np.testing.assert_allclose(second.result.values[3:], 0, atol=1e-10)
    third = work()
    third.run(SerialEngine(Quadratic(columns.T @ columns + np.eye(50), block.parameters)))  # type: ignore[arg-type]
    assert not third.result.converged.any()
