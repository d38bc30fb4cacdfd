"""Dense float64 diagonals of an eager network, made batch by batch as a run does it, by torch alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conftest import BATCH, Arrays

# The sum over a batch's samples of the loss of (output, target).
SumLoss = Callable[[Tensor, Tensor], Tensor]


def squares(output: Tensor, target: Tensor) -> Tensor:
    """The squared error: the mean over outputs, the sum over samples."""
    return (output - target).square().reshape(len(output), -1).mean(1).sum()


def cross_entropies(output: Tensor, target: Tensor) -> Tensor:
    """Of logits, the sum over samples."""
    return F.cross_entropy(output, target, reduction="sum")


def places(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Full name of every parameter, and the name that ``Outcome`` has for it."""
    for name, _ in module.named_parameters():
        owner, _, label = name.rpartition(".")
        yield name, f"{owner or label}/{label}"


def parts(x: np.ndarray, y: np.ndarray, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The data in batches."""
    for start in range(0, len(x), size):
        yield torch.from_numpy(x[start : start + size]), torch.from_numpy(y[start : start + size])


def batchwise(
    module: nn.Module,
    x: np.ndarray,
    y: np.ndarray,
    loss: SumLoss = squares,
    size: int = BATCH,
    *,
    tied: bool = False,
    only: Collection[str] | None = None,
) -> Arrays:
    """The diagonal of the Hessian of Σ_batches loss / N, parameter by parameter.

    Where some are ``tied``, modules that share a parameter all read it; ``only`` these, where not all are wanted.
    """
    exact = copy.deepcopy(module).double().eval()
    found: Arrays = {}
    for full, short in places(exact):
        if only is not None and short not in only:
            continue
        parameter = exact.get_parameter(full)

        def value(p: Tensor, full: str = full) -> Tensor:
            total = torch.zeros((), dtype=torch.float64)
            for inputs, target in parts(x, y, size):
                total = total + loss(torch.func.functional_call(exact, {full: p}, (inputs,), tie_weights=tied), target)
            return total / len(x)

        count = parameter.numel()
        hessian = torch.autograd.functional.hessian(value, parameter.detach())
        found[short] = hessian.reshape(count, count).diagonal().reshape(parameter.shape).numpy()
    return found


def scripted(module: nn.Module, path: Path) -> Path:
    """Saved as a script, in inference mode."""
    torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def traced(module: nn.Module, x: np.ndarray, path: Path, *, training: bool = False, count: int = 5) -> Path:
    """Saved as a trace of the first few samples."""
    example = torch.from_numpy(x[:count])
    example = example.float() if example.is_floating_point() else example
    torch.jit.save(torch.jit.trace(module.train(training), example, check_trace=False), path)
    return path
