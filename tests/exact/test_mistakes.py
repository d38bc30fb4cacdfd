"""Mistakes that other tools have made, each held off: what is not tested where it belongs stands here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sessions import session_of
from torch import nn
from torch.nn import functional as F

from curvcli.curvature.first_order import FirstOrder
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block, MatrixProducts
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord

from .conftest import ROOT, write_spec
from .dense import Dense
from .test_torchscript import LOGITS, NETWORKS, data, save

Compute = Callable[..., tuple[int, Path]]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


def products_against_differences(path: Path, spec: Path | None, shift: Callable[..., None]) -> None:
    """Four products in a row, bit by bit the same, and equal to a central difference of the gradient."""
    session = session_of(path, spec)
    parameters = tuple(p for layer in session.model.layers for p in layer.parameters)
    block = Block("all", parameters)
    vector = np.random.default_rng(0).standard_normal(block.size)
    engine = SerialEngine(session.objective)
    found = [computed(MatrixProducts(block, vector[None]), engine)[0] for _ in range(4)]
    for again in found[1:]:
        np.testing.assert_allclose(again, found[0], rtol=1e-13, atol=1e-15)
    step = 1e-5
    gradients = []
    for sign in (1, -2):
        shift(session.objective, parameters, sign * step * vector)
        gradient = computed(FirstOrder(block.names), engine).gradients
        gradients.append(np.concatenate([gradient[n].ravel() for n in block.names]))
    difference = (gradients[0] - gradients[1]) / (2 * step)
    assert np.abs(found[0] - difference).max() <= 1e-6 * np.abs(difference).max()


def shift_torch(objective: object, parameters: tuple, by: np.ndarray) -> None:
    start = 0
    for p in parameters:
        tensor = objective.parameters[p.name]  # type: ignore[attr-defined]
        part = torch.from_numpy(by[start : start + p.size]).reshape(p.shape)
        tensor.data.add_(part)
        start += p.size


@pytest.mark.parametrize("name", ["smooth", "attention", "recurrent"])
def test_four_products_in_a_row_and_a_finite_difference(name: str, tmp_path: Path) -> None:
    """One that succeeds proves nothing: the fourth is the first, and the gradient agrees."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module = build().eval()
    x, y = data(shape)
    products_against_differences(
        save(module, x, tmp_path / "m.pt"), write_spec(tmp_path, "d", {"x": x}, y, LOGITS), shift_torch
    )


class Fused(nn.Module):
    """Attention by the fused kernel, which has no second derivative of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Linear(3, 4), nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.mix(self.embed(x)).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v).mean(1))


def test_fused_attention_has_all_its_second_derivatives(compute: Compute, tmp_path: Path) -> None:
    """Not silently zero or missing: the whole block is the dense one."""
    torch.manual_seed(0)
    module, rng = Fused().eval(), np.random.default_rng(0)
    x, y = rng.standard_normal((37, 5, 3)), rng.integers(0, 3, 37)
    code, path = compute("hessian", save(module, x, tmp_path / "m.pt"), {"x": x}, y, LOGITS, "--whole-model")
    assert code == 0
    found = read_report(path).record("(whole model)", BlockRecord)
    assert found is not None
    dense = Dense(module, x, y).hessian()
    assert np.abs(found.entries - dense).max() <= 1e-9 * np.abs(dense).max()


class Temperature(nn.Module):
    """A layer of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.temperature = nn.Parameter(torch.tensor(1.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x) / self.temperature


def test_a_layer_of_one_number(compute: Compute, tmp_path: Path) -> None:
    """Trace, eigenvalue, density and block of a scalar parameter are its second derivative."""
    torch.manual_seed(0)
    module, rng = Temperature().eval(), np.random.default_rng(0)
    x, y = rng.standard_normal((37, 4)), rng.integers(0, 3, 37)
    saved = save(module, x, tmp_path / "m.pt")
    dense = Dense(module, x, y)
    (place,) = dense.layers()["temperature"]
    truth = dense.hessian()[place, place]

    def record(command: str, kind: type, *options: str) -> object:
        code, path = compute(command, saved, {"x": x}, y, LOGITS, "--layer", "temperature", *options)
        assert code == 0
        return read_report(path).record("temperature", kind)

    for method in ("auto", "xtrace", "hutch++", "hutchinson"):
        assert record("trace", TraceRecord, "--method", method).value == pytest.approx(truth, rel=1e-9)
    for method in ("auto", "lanczos"):
        assert record("eigs", EigenRecord, "--method", method).values == pytest.approx([truth], rel=1e-9)
    assert record("density", DensityRecord).nodes == pytest.approx(np.array([[truth]]), rel=1e-9)
    assert record("hessian", BlockRecord).entries == pytest.approx(np.array([[truth]]), rel=1e-9)


def test_every_products_share_of_a_short_batch_is_its_own(tmp_path: Path) -> None:
    """37 samples in batches of 16: products are those of one batch, not an average of three."""
    torch.manual_seed(0)
    build, shape = NETWORKS["smooth"]
    module = build().eval()
    x, y = data(shape)
    saved, spec = save(module, x, tmp_path / "m.pt"), write_spec(tmp_path, "d", {"x": x}, y, LOGITS)
    found = []
    for size in (16, 37, 5):
        session = session_of(saved, spec, batch_size=size)
        block = Block("all", tuple(p for layer in session.model.layers for p in layer.parameters))
        vector = np.random.default_rng(0).standard_normal((2, block.size))
        engine = SerialEngine(session.objective)
        found += [computed(MatrixProducts(block, vector, matrix), engine) for matrix in (HESSIAN, GAUSS_NEWTON)]
    for i in (2, 4):
        np.testing.assert_allclose(found[i], found[0], rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(found[i + 1], found[1], rtol=1e-11, atol=1e-14)


def test_a_sample_savedmodel_too() -> None:
    """Four products in a row from a SavedModel are the same, and symmetric: uᵀHv = vᵀHu."""
    session = session_of(ROOT / "sample_models" / "attention_digits", limit=37, batch_size=16)
    block = Block("all", tuple(p for layer in session.model.layers for p in layer.parameters))
    u, v = np.random.default_rng(0).standard_normal((2, block.size))
    engine = SerialEngine(session.objective)
    found = [computed(MatrixProducts(block, v[None]), engine)[0] for _ in range(4)]
    for again in found[1:]:
        np.testing.assert_allclose(again, found[0], rtol=1e-12, atol=1e-14)
    assert u @ found[0] == pytest.approx(v @ computed(MatrixProducts(block, u[None]), engine)[0], rel=1e-10)
