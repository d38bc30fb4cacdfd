"""Loss, gradient and dense Hessian of an eager torch module in float64, written from the definition."""

from __future__ import annotations

import contextlib
import tomllib
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from .torch_ends import Ending
from .torch_networks import Case

_STEP = 2e-5


class UnfitError(Exception):
    """The case can't be judged: torch itself can't save it, or its derivatives disagree with differences."""


class Reference:
    """Loss, gradient and Hessian over all parameters of an eager module, in float64, written from the definition."""

    def __init__(self, case: Case) -> None:
        self.module = case.module.double().eval()
        self.trainable = {name for name, p in self.module.named_parameters() if p.requires_grad}
        self.parameters = dict(self.module.named_parameters())
        for p in self.parameters.values():
            p.data = p.data.clone()  # one storage each
            p.requires_grad_(True)
        self.case = case
        self.loss_spec = tomllib.loads("\n".join(case.loss))
        if "saturated" in case.why:
            self._from_logits()
        sizes = [p.numel() for p in self.parameters.values()]
        ends = np.cumsum([0, *sizes])
        self.place = {n: np.arange(a, b) for n, a, b in zip(self.parameters, ends, ends[1:], strict=False)}
        self.size = int(ends[-1])
        self.by_differences = False
        self._free = self._not_padding()

    def _from_logits(self) -> None:
        """Take the final softmax or sigmoid into the loss, where it does not round to zero or one."""
        for m in self.module.modules():
            if isinstance(m, Ending):
                m.kind = "none"
        self.loss_spec["from_logits"] = True

    def _not_padding(self) -> np.ndarray:
        """Zeros at the rows of embeddings that torch holds constant, whatever the network does with them."""
        free = np.ones(self.size)
        names = {p: n for n, p in self.parameters.items()}
        for m in self.module.modules():
            if isinstance(m, (nn.Embedding, nn.EmbeddingBag)) and m.padding_idx is not None:
                width = m.weight.shape[1]
                free[self.place[names[m.weight]][m.padding_idx * width : (m.padding_idx + 1) * width]] = 0
        return free

    def _output(self, arguments: list[Tensor]) -> Tensor:
        # In every call its buffers are as they were, whatever it does to them.
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        result: Any = torch.func.functional_call(self.module, buffers, tuple(arguments))
        name = self.loss_spec.get("output")
        if isinstance(result, dict):
            return result[name]
        if hasattr(result, "_fields"):
            return getattr(result, name)
        return result[int(name)] if isinstance(result, tuple) else result

    def batches(self) -> list[tuple[list[Tensor], Tensor | None]]:
        """Inputs and targets, batched as the spec says; one batch where the model returns one number per batch."""
        case = self.case
        samples = len(next(iter(case.inputs.values())))
        size = samples if any(w.startswith("end:batch_") for w in case.why) else case.batch_size
        found = []
        for start in range(0, samples, size):
            rows = slice(start, start + size)
            inputs = [torch.from_numpy(a[rows].copy()) for a in case.inputs.values()]
            found.append((inputs, None if case.target is None else torch.from_numpy(case.target[rows].copy())))
        return found

    def objective(self) -> Tensor:
        """L(θ), with weight decay over what is trainable."""
        total, weight = torch.zeros(()), 0.0
        for inputs, target in self.batches():
            part, counted = self._loss([t.clone() for t in inputs], target)
            total, weight = total + part, weight + counted
        scalar = any(w.startswith("end:batch_") for w in self.case.why)
        if self.loss_spec.get("reduction", "mean") == "mean" and not scalar:
            total = total / weight
        decay = self.loss_spec.get("weight_decay", 0.0)
        if decay:
            for name in self.trainable:
                total = total + decay / 2 * (self.parameters[name] ** 2).sum()
        return total

    def _loss(self, inputs: list[Tensor], target: Tensor | None) -> tuple[Tensor, float]:
        """Σ weight_n ℓ_n of a batch, and Σ weight_n."""
        o, spec = self._output(inputs), self.loss_spec
        if target is None:
            return o.sum(), float(len(inputs[0]))
        per_sample = max(1, o[0].numel())
        if spec["name"] == "mse":
            return ((o - target.reshape(o.shape)) ** 2).sum() / per_sample, float(len(o))
        if spec["name"] == "bce":
            y = target.reshape(o.shape)
            if spec["from_logits"] is True:
                element = torch.logaddexp(torch.zeros_like(o), o) - y * o
            else:
                element = -(torch.xlogy(y, o) + torch.xlogy(1 - y, 1 - o))
            return element.sum() / per_sample, float(len(o))
        if "classes:last" in self.case.why:
            o = o.movedim(-1, 1)
        logits = spec["from_logits"] is True
        if spec["from_logits"] == "auto":
            logits = not any(w == "end:softmax" for w in self.case.why)
        log_p = o - o.logsumexp(1, keepdim=True) if logits else o.log()
        if target.shape == o.shape:
            target = target.to(o.dtype)
            return -(target * log_p).sum(), float(target.sum())
        used = target != spec.get("ignore_index", -1)
        safe = torch.where(used, target, 0)
        weight = torch.tensor(spec.get("class_weights", [1.0] * o.shape[1]))[safe] * used
        return -(weight * log_p.gather(1, safe.unsqueeze(1)).squeeze(1)).sum(), float(weight.sum())

    def gradient(self, create_graph: bool = False) -> Tensor:
        """∇L, joined in the order of the parameters."""
        loss = self.objective()
        if not loss.requires_grad:
            return torch.zeros(self.size)
        leaves = list(self.parameters.values())
        parts = torch.autograd.grad(loss, leaves, create_graph=create_graph, allow_unused=True)
        return torch.cat(
            [(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(parts, leaves, strict=True)]
        )

    def hessian(self) -> np.ndarray:
        """The whole Hessian, checked against differences of the gradient in two random directions.

        Where torch's own double backward is missing or wrong it is made of such differences altogether.
        """
        if "detached" in self.case.why:
            # Differences see what changes behind a detach too.
            return self._double_backward()
        rng = np.random.default_rng(0)
        directions = rng.standard_normal((2, self.size)) * self._free
        expected = np.stack([self._differences(v) for v in directions])
        with contextlib.suppress(RuntimeError):
            matrix = self._double_backward()
            if np.abs(directions @ matrix - expected).max() <= 1e-5 * max(1.0, np.abs(matrix).max()):
                return matrix
        matrix = np.stack([self._differences(row) for row in np.diag(self._free)])
        error = np.abs(directions @ matrix - expected).max()
        if error > 1e-6 * np.abs(matrix).max() * self.size + 1e-8:
            raise UnfitError(f"the reference's differences disagree with themselves by {error:.3g}")
        self.by_differences = True
        return (matrix + matrix.T) / 2

    def _double_backward(self) -> np.ndarray:
        gradient = self.gradient(create_graph=True)
        leaves = list(self.parameters.values())
        rows = np.zeros((self.size, self.size))
        if not gradient.requires_grad:
            return rows
        for i in range(self.size):
            parts = torch.autograd.grad(gradient[i], leaves, retain_graph=True, allow_unused=True)
            rows[i] = torch.cat(
                [(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(parts, leaves, strict=True)]
            ).numpy()
        return rows

    def _differences(self, direction: np.ndarray) -> np.ndarray:
        """H·v by the fourth-order central formula."""
        kept = [p.detach().clone() for p in self.parameters.values()]
        step = _STEP / max(1.0, float(np.abs(direction).max()))

        def at(t: float) -> np.ndarray:
            with torch.no_grad():
                for p, old, where in zip(self.parameters.values(), kept, self.place.values(), strict=True):
                    p.copy_(old + t * step * torch.from_numpy(direction[where]).reshape(p.shape))
            return self.gradient().numpy().copy()

        found = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
        at(0)
        return found


# What has no right double backward in torch is written out.


def _bag(module: nn.EmbeddingBag, tokens: Tensor) -> Tensor:
    rows = F.embedding(tokens, module.weight)
    return rows.amax(1) if module.mode == "max" else rows.sum(1) if module.mode == "sum" else rows.mean(1)


def _hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    y = torch.clamp(x + 3, 0, 6) / 6
    return x.copy_(y) if inplace else y


def _layer_norm(
    x: Tensor, shape: tuple[int, ...], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Torch's own is right up to its second derivative."""
    axes = tuple(range(-len(shape), 0))
    centred = x - x.mean(axes, keepdim=True)
    y = centred / torch.sqrt(centred.square().mean(axes, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / v.pow(2).sum([i for i in range(v.ndim) if i != dim], keepdim=True).sqrt())


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Tensors without a dtype are float64, what says float means it, and every operation has derivatives."""
    changes: list[tuple[Any, str, Any]] = [
        (Tensor, "float", Tensor.double),
        (nn.EmbeddingBag, "forward", _bag),
        (F, "hardsigmoid", _hardsigmoid),
        (F, "layer_norm", _layer_norm),
        (torch, "_weight_norm", _weight_norm),
        (import_module("torch.nn.utils.weight_norm"), "_weight_norm", _weight_norm),
    ]
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")
        for owner, name, replacement in changes:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, replacement)
        stack.callback(torch.set_default_dtype, torch.float32)
        torch.set_default_dtype(torch.float64)
        yield
