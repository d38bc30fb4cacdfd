"""Activations that are parts of others, and batches of which the shape of one sample's part can't be told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import curvcli

# How half of an activation is had; what else reads the activation must keep its numbers.
HALVES = {
    "chunk": lambda h: h.chunk(2, 1)[0],
    "split": lambda h: h.split([3, 3], 1)[0],
    "unbind": lambda h: h.reshape(-1, 2, 3).unbind(1)[1],
    "slice": lambda h: h[:, :3],
    "narrow": lambda h: h.narrow(1, 2, 3),
    "select": lambda h: h.view(-1, 2, 3)[:, 1],
}


class Half(nn.Module):
    """Linear in a half of an activation of which another layer reads the whole."""

    def __init__(self, half: str) -> None:
        super().__init__()
        self.half = HALVES[half]
        self.first, self.part, self.all = nn.Linear(3, 6), nn.Linear(3, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return self.part(self.half(h)) + self.all(h)


@pytest.mark.parametrize("half", HALVES)
def test_what_reads_more_than_a_part_keeps_its_numbers(half: str, tmp_path: Path) -> None:
    """Squared errors are quadratic in the part, so that what is measured is what the quadratic model says."""
    torch.manual_seed(1)
    x, y, model = torch.randn(9, 3), torch.randn(9, 4), Half(half)
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), path)
    study = curvcli.activations(
        path, data=(x, y), loss="mse", of="input", layer="part", bits=(2, 3), dtype="float64", batch_size=4
    )
    for row in study.table("quantized_activations").values():
        assert row.z_quadratic == pytest.approx(row.z_measured, rel=1e-9)


class TimeMajor(nn.Module):
    """Steps come before samples."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.two(torch.tanh(self.one(x.transpose(0, 1)))))
        return self.out(h.mean(0))


@pytest.mark.parametrize("samples", [5, 9])
def test_a_last_batch_of_one_sample_is_as_the_others(samples: int, tmp_path: Path) -> None:
    """Where its own shape could be that of several orders; in every command that splits at an activation."""
    torch.manual_seed(2)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((samples, 5, 4)), rng.integers(0, 2, samples)
    torch.jit.trace(TimeMajor(), torch.randn(2, 5, 4)).save(tmp_path / "m.pt")
    given = {"data": (x, y), "loss": "cross_entropy", "dtype": "float64"}
    apart, whole = (
        curvcli.activations(tmp_path / "m.pt", **given, layer="two", batch_size=size) for size in (4, samples)
    )
    assert apart.table("activations")["two"].z_trace == pytest.approx(
        whole.table("activations")["two"].z_trace, rel=1e-9
    )
    np.testing.assert_allclose(apart.array("diagonal/two"), whole.array("diagonal/two"), rtol=1e-9, atol=1e-15)
    halves = [curvcli.split(tmp_path / "m.pt", **given, at="two", batch_size=size)["two"] for size in (4, samples)]
    np.testing.assert_allclose(halves[0].output_gradient, halves[1].output_gradient, rtol=1e-9, atol=1e-15)
