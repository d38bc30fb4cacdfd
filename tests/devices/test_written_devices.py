"""Devices written in a file give way to the one that is computed on: factories, constants, moves, attributes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from exact.conftest import write_spec
from torch import Tensor, nn

from curvcli.cli.main import run
from curvcli.models.torch.placed import put_on

from .simulated import second_device


class Network(nn.Module):
    """What it makes on the way is on the processor unless it is told otherwise."""

    def __init__(self, made: nn.Module) -> None:
        super().__init__()
        self.first, self.made, self.last = nn.Linear(4, 4), made, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.made(self.first(x))))


class Factories(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        mask = torch.triu(torch.ones(4, 4), diagonal=1) + torch.eye(4)
        steps = torch.arange(4).to(x.dtype) + torch.linspace(0, 1, 4) + torch.full((4,), 2.0)
        return (x + torch.zeros(x.shape[0], 4)) @ mask * steps


class Constants(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("buffer", torch.linspace(0, 1, 4))
        self.plain = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor([1.0, 0.5, 2.0, 1.5]) + self.buffer * self.plain


class Moves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.cpu() * torch.ones(4, device=x.device)
        return y.to("cpu") + torch.zeros(4, device=torch.device("cpu"))


KINDS = {"factories": Factories, "constants": Constants, "moves": Moves}


def saved(module: nn.Module, how: str, folder: Path) -> Path:
    """Scripted, traced or exported."""
    x = torch.randn(5, 4)
    path = folder / ("net.pt2" if how == "export" else "net.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "export":
            torch.export.save(torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), path)
        else:
            make: Callable[..., Any] = torch.jit.script if how == "script" else torch.jit.trace
            make(*((module,) if how == "script" else (module, x))).save(str(path))
    return path


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["script", "trace", "export"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_makes_is_on_the_device(
    kind: str, how: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the program, and in the function as saved that it is compared with."""
    torch.manual_seed(0)
    path = saved(Network(KINDS[kind]()).eval(), how, tmp_path)
    inputs = {"x": np.random.default_rng(0).standard_normal((9, 4))}
    spec = write_spec(tmp_path, "s", inputs, np.arange(9) % 3, 'name = "cross_entropy"\nfrom_logits = true', batch=5)

    def hessians(device: str) -> list[np.ndarray]:
        report = tmp_path / f"{device}.h5"
        words = ["--data", str(spec), "-o", str(report), "-q", "--dtype", dtype, "--device", device, "--no-verify"]
        assert run(["hessian", str(path), "--layer", "last", *words]) == 0
        with h5py.File(report) as file:
            return [file["layers/last/hessian"][name][()] for name in file["layers/last/hessian"]]

    expected = hessians("cpu")
    with second_device(monkeypatch):
        found = hessians("meta")
    assert expected
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_trace_of_another_device_runs_on_the_processor() -> None:
    """As of a file that was saved on a GPU."""

    def made(x: Tensor) -> Tensor:
        return x + torch.ones(4, device=x.device)

    graph = torch.jit.trace(made, torch.ones(4)).graph.copy()
    for node in graph.nodes():
        if node.kind() == "prim::Constant" and node.output().type().kind() == "DeviceObjType":
            node.s_("value", "cuda:0")
    with pytest.raises((RuntimeError, AssertionError)):
        torch._C._create_function_from_graph("forward", graph.copy())(torch.ones(4))
    put_on(graph, torch.device("cpu"))
    np.testing.assert_array_equal(torch._C._create_function_from_graph("forward", graph)(torch.ones(4)), np.full(4, 2))
