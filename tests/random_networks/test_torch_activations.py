"""Random torch networks: what rounding activations does equals what eager modules say with their outputs replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvcli.report.hdf5.read import read_report

from .comparison import run_command
from .harness import save
from .torch_networks import random_network
from .torch_reference import Reference, UnfitError, float64

# What returns one tensor, which is what its parameters enter last.
_SIMPLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)
_BITS = 4


class Moved:
    """The eager loss, with what a module makes moved by t times a change of each call's."""

    def __init__(self, reference: Reference, module: nn.Module) -> None:
        self._reference, self._module = reference, module
        self.made: list[Tensor] = []

    @contextlib.contextmanager
    def _hooked(self, change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
        calls = [0]

        def put(_: Any, __: Any, made: Tensor) -> Tensor:
            calls[0] += 1
            return change(calls[0] - 1, made)

        handle = self._module.register_forward_hook(put)
        try:
            yield
        finally:
            handle.remove()

    def keep(self) -> int:
        """See what it makes; returns how often it is called per batch."""
        self.made = []

        def kept(_: int, made: Tensor) -> Tensor:
            self.made.append(made.detach().clone())
            return made

        with self._hooked(kept):
            self._reference.objective()
        return len(self.made) // len(self._reference.batches())

    def along(self, deltas: list[Tensor]) -> tuple[float, float, float]:
        """The rise of L, and its first and second derivative along the change where it begins."""
        t = torch.zeros((), requires_grad=True)
        with self._hooked(lambda call, made: made + t * deltas[call]):
            value = self._reference.objective()
            (slope,) = torch.autograd.grad(value, t, create_graph=True)
            (bend,) = torch.autograd.grad(slope, t) if slope.requires_grad else (torch.zeros(()),)
        with self._hooked(lambda call, made: made + deltas[call]):
            rise = float(self._reference.objective().detach()) - float(value.detach())
        return rise, float(slope), float(bend)


def rounded(values: np.ndarray) -> np.ndarray:
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    step = (high - low) / (2**_BITS - 1)
    if not step:
        return np.zeros_like(values)
    zero = np.round(-low / step)
    return (np.clip(np.round(values / step) + zero, 0, 2**_BITS - 1) - zero) * step


def compared(seed: int, folder: Path, *, exported: bool = False) -> int:
    """Compare all simple modules of the first network of a seed that torch can save; returns how many there were."""
    attempt = 0
    while True:
        case = random_network(seed, first=attempt)
        attempt = case.attempt + 1
        with contextlib.suppress(UnfitError):
            path, spec = save(case, folder, exported=exported)
            break
    words = ["activations", str(path), "--data", str(spec), "--dtype", "float64", "--bits", str(_BITS), "-q"]
    code, said = run_command([*words, "--method", "exact", "--force", "-o", str(folder / "r.h5")])
    assert code in (0, 3, 4), said
    if code == 3:
        assert "activation" in said or "output" in said or "influence" in said, said
        return 0
    study = read_report(folder / "r.h5").study("activations")
    figures = {row.z_layer: row for row in study.tables["quantized_activations"]}
    about = {row.name: row for row in study.tables["activations"]}
    count = 0
    with float64():
        reference = Reference(case)
        whole = float(reference.objective().detach())
        for name, module in case.module.named_modules():
            moved = Moved(reference, module)
            if name not in figures or not isinstance(module, _SIMPLE) or moved.keep() != 1:
                continue
            every = np.concatenate([made.numpy().ravel() for made in moved.made])
            row, z = figures[name], about[name]
            close = {"rel": 1e-7, "abs": 1e-12 * max(1.0, abs(whole))}
            assert (z.z_low, z.z_high) == pytest.approx((every.min(), every.max()), **close), name
            parts = np.split(rounded(every) - every, np.cumsum([made.numel() for made in moved.made])[:-1])
            deltas = [torch.from_numpy(d).reshape(m.shape) for d, m in zip(parts, moved.made, strict=True)]
            rise, slope, bend = moved.along(deltas)
            if np.isnan(bend):
                continue  # the reference's own loss has no second derivative where it is saturated
            assert row.z_slope == pytest.approx(slope, **close), name
            assert row.z_quadratic == pytest.approx(slope + bend / 2, **close), name
            assert row.z_measured == pytest.approx(rise, **close), name
            assert z.exact, (name, study.reason)
            count += 1
    return count


@pytest.mark.parametrize("seed", [s if s in (0, 1) else pytest.param(s, marks=pytest.mark.slow) for s in range(120)])
def test_rounded_activations_equal_those_of_eager_modules(seed: int, tmp_path: Path) -> None:
    """As scripts, and every third one as torch exports it as well."""
    compared(seed, tmp_path)
    if seed % 3 == 1:
        compared(seed, tmp_path, exported=True)
