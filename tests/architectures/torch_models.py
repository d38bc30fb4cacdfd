"""PyTorch modules saved in both formats, and as the eager reference."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from exact.exported import AUTO, exported
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from .case import EXPORT, SCRIPTED, Architecture, Arrays

LOSSES: dict[str, Callable[..., Tensor]] = {
    "classes": F.cross_entropy,
    "probabilities": lambda o, y: F.nll_loss(o.log(), y),
    "places": F.cross_entropy,
    "tokens": lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()),
    "squares": F.mse_loss,
    "bits": F.binary_cross_entropy_with_logits,
    "own": lambda o: o.mean(),
}


def tensors(arrays: Arrays, dtype: torch.dtype, count: int | None = None) -> dict[str, Tensor]:
    """Of the inputs, floats in a precision, whole numbers as they are."""
    made = {name: torch.from_numpy(values[:count]) for name, values in arrays.items()}
    return {name: one.to(dtype) if one.is_floating_point() else one for name, one in made.items()}


def made(architecture: Architecture) -> nn.Module:
    """The module, with statistics and norms that are no identities."""
    torch.manual_seed(0)
    module: nn.Module = architecture.build()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.running_var is not None:
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.running_mean, std=0.3)
        if isinstance(part, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm) and part.weight is not None:
            nn.init.uniform_(part.weight, 0.5, 1.5)
    return module.eval()


def key(name: str) -> str:
    """``layer/label`` of a parameter; one of a parametrised layer stands with its parent."""
    parent, dot, rest = name.partition(".parametrizations.")
    if dot:
        return f"{parent}/{rest}"
    if name.startswith("parametrizations."):
        return f"{name.removeprefix('parametrizations.').partition('.')[0]}/{name}"
    owner, _, label = name.rpartition(".")
    return f"{owner or label}/{label}"


def norm_times_direction(direction: Tensor, size: Tensor, axis: int = 0) -> Tensor:
    """Weight norm by hand: PyTorch's own takes the norm for a constant in the second derivative."""
    others = [i for i in range(direction.ndim) if i != axis]
    return direction * (size / direction.square().sum(others, keepdim=True).sqrt())


def summed_rows(entries: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
    """A bag's sum by hand: PyTorch's own has no second derivative."""
    return F.embedding(entries, weight).sum(1)


def hard_sigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    """By hand: PyTorch's own has no second derivative."""
    return F.relu6(x + 3) / 6


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Operations in a form that PyTorch differentiates twice, and rightly."""
    with (
        sdpa_kernel(SDPBackend.MATH),
        mock.patch.object(torch, "_weight_norm", norm_times_direction),
        mock.patch.object(F, "embedding_bag", summed_rows),
        mock.patch.object(F, "hardsigmoid", hard_sigmoid),
    ):
        yield


class Saved:
    """An architecture's module, saved, and differentiated by torch alone in float64."""

    def __init__(self, architecture: Architecture, folder: Path) -> None:
        self.architecture, self.folder = architecture, folder
        self.reference = TorchReference(architecture)
        self.count = len(self.reference.keys)

    def path(self, format_: str) -> Path:
        """Write the file of a format."""
        module = made(self.architecture)
        arrays, _ = self.architecture.data()
        examples = tensors(arrays, torch.float32, 4)
        if format_ == EXPORT:
            free = {name: {0: AUTO} for name in examples}
            return exported(module, (), self.folder / "model.pt2", examples, free=free)
        path = self.folder / "model.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if format_ == SCRIPTED:
                scripted = torch.jit.script(module)
            else:
                scripted = torch.jit.trace(module, example_kwarg_inputs=examples, strict=False, check_trace=False)
            torch.jit.save(scripted, str(path))
        return path


class TorchReference:
    """Double backward through the eager module, in float64, all samples at once."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.module = made(architecture).double()
        self.parameters = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        names: dict[int, set[str]] = {}
        for name, parameter in self.module.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), set()).add(key(name))
        self.keys = {name: names[id(parameter)] for name, parameter in self.parameters.items()}
        self._slopes = self._differentiated()
        self.gradient = {name: slope.detach().numpy() for name, slope in self._slopes.items()}

    def _differentiated(self) -> dict[str, Tensor]:
        arrays, target = self.architecture.data()
        output = self.architecture.output
        with twice_differentiable():
            o = self.module(**tensors(arrays, torch.float64))
            if output is not None:
                o = o[int(output)] if output.isdigit() else o[output]
            elif hasattr(o, "logits"):
                o = o.logits
            targets = () if target is None else (torch.from_numpy(target),)
            loss = LOSSES[self.architecture.loss](o, *targets)
            slopes = torch.autograd.grad(
                loss, list(self.parameters.values()), create_graph=True, allow_unused=True, materialize_grads=True
            )
        return dict(zip(self.parameters, slopes, strict=True))

    def diagonal(self, name: str, entries: Sequence[int]) -> np.ndarray:
        """By one backward pass of the gradient per entry."""
        slope, parameter = self._slopes[name].reshape(-1), self.parameters[name]
        values = np.zeros(len(entries))
        for k, i in enumerate(entries):
            if slope.requires_grad:
                (row,) = torch.autograd.grad(
                    slope[i], parameter, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                values[k] = row.reshape(-1)[i]
        return values
