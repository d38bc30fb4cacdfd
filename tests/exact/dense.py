"""Whole Hessians and Gauss–Newton matrices of small eager networks, by torch alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dense:
    """A network's matrices over its parameters in the order of ``named_parameters``, float64."""

    def __init__(self, module: nn.Module, x: np.ndarray, y: np.ndarray) -> None:
        self._module = copy.deepcopy(module).double().eval()
        self._x, self._y = torch.from_numpy(x), torch.from_numpy(y)
        self._shapes = {name: p.shape for name, p in self._module.named_parameters()}
        self._flat = torch.cat([p.detach().reshape(-1) for _, p in self._module.named_parameters()])
        starts = np.cumsum([0, *(int(np.prod(s)) for s in self._shapes.values())])
        self._place = {n: np.arange(a, b) for n, a, b in zip(self._shapes, starts, starts[1:], strict=False)}

    def _outputs(self, flat: Tensor) -> Tensor:
        parts, start = {}, 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            parts[name] = flat[start : start + size].reshape(shape)
            start += size
        return torch.func.functional_call(self._module, parts, (self._x,))

    def hessian(self) -> np.ndarray:
        """Of the mean cross-entropy of logits."""
        return self._hessian

    @cached_property
    def _hessian(self) -> np.ndarray:
        def loss(flat: Tensor) -> Tensor:
            return F.cross_entropy(self._outputs(flat), self._y)

        return torch.autograd.functional.hessian(loss, self._flat).numpy()

    def gauss_newton(self) -> np.ndarray:
        """(1/N) Σ Jᵀ (diag p − p pᵀ) J."""
        return self._gauss_newton

    @cached_property
    def _gauss_newton(self) -> np.ndarray:
        jacobian = torch.autograd.functional.jacobian(self._outputs, self._flat).numpy()
        p = torch.softmax(self._outputs(self._flat), 1).detach().numpy()
        middle = np.einsum("nc,cd->ncd", p, np.eye(p.shape[1])) - np.einsum("nc,nd->ncd", p, p)
        return np.einsum("nci,ncd,ndj->ij", jacobian, middle, jacobian) / len(p)

    def layers(self) -> dict[str, np.ndarray]:
        """Per layer the places of its parameters."""
        found: dict[str, list[np.ndarray]] = {}
        for name, where in self._place.items():
            owner, _, label = name.rpartition(".")
            found.setdefault(owner or label, []).append(where)
        return {name: np.concatenate(parts) for name, parts in found.items()}


Build = Callable[[], nn.Module]
