"""What may be done to a whole module once it is built: weights shared, frozen, reparametrised, stored side by side."""

from __future__ import annotations

from itertools import combinations
from random import Random

import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

# What makes tensors of the default dtype, or converts to it: broken in torch itself where weights are float64.
_ONLY_FLOAT32 = ("create:", "tokens:float", "tokens:counted")


def apply_tricks(rng: Random, module: nn.Module, why: list[str]) -> bool:
    """Change ``module`` in place, and say in ``why`` what was done; whether it can only be traced from then on."""
    trace_only = False
    if rng.random() < 0.12:
        module.spare = nn.Linear(2, 2)
        why.append("trick:unreached")
    if rng.random() < 0.15:
        trace_only = _reparametrise(rng, module, why)
    if rng.random() < 0.12 and not trace_only:
        _tie(rng, module, why)
    # A dtype is drawn before storage is shared: a conversion would part it.
    if rng.random() < 0.5 and not any(w.startswith(_ONLY_FLOAT32) for w in why):
        module.double()
        why.append("saved:float64")
    else:
        why.append("saved:float32")
    if rng.random() < 0.2:
        _share_storage(rng, module, why)
    if rng.random() < 0.12:
        rng.choice(list(module.parameters())).requires_grad_(False)
        why.append("trick:frozen")
    return trace_only


def _reparametrise(rng: Random, module: nn.Module, why: list[str]) -> bool:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    found = [m for m in module.modules() if isinstance(m, kinds) and type(m) in kinds and min(m.weight.shape[:2]) > 1]
    if not found:
        return False
    chosen = rng.choice(found)
    kind = rng.choice("weight_norm spectral_norm old_weight_norm old_spectral_norm orthogonal".split())
    if kind == "weight_norm":
        parametrizations.weight_norm(chosen, dim=rng.choice((0, 1)))
    elif kind == "spectral_norm":
        parametrizations.spectral_norm(chosen)
    elif kind == "old_weight_norm":
        weight_norm(chosen)
    elif kind == "old_spectral_norm":
        spectral_norm(chosen)
    elif isinstance(chosen, nn.Linear):
        parametrizations.orthogonal(chosen, orthogonal_map="cayley")
    else:
        return False
    module.eval()
    why.append(f"trick:{kind}")
    return True


def _owners(module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    return [(m, name, p) for m in module.modules() for name, p in m.named_parameters(recurse=False)]


def _tie(rng: Random, module: nn.Module, why: list[str]) -> None:
    """Two modules with one parameter."""
    pairs = [(a, b) for a, b in combinations(_owners(module), 2) if a[2].shape == b[2].shape and a[2] is not b[2]]
    pairs = [(a, b) for a, b in pairs if not any(isinstance(o[0], (nn.RNNBase, nn.Embedding)) for o in (a, b))]
    if pairs:
        (_, _, shared), (owner, name, _) = rng.choice(pairs)
        setattr(owner, name, shared)
        why.append("trick:tied")


def _share_storage(rng: Random, module: nn.Module, why: list[str]) -> None:
    """Two parameters with the same numbers, or all of them in one flat buffer."""
    parameters = list(module.parameters())
    if rng.random() < 0.5:
        flat = torch.cat([p.detach().reshape(-1) for p in parameters])
        start = 0
        for p in parameters:
            p.data = flat[start : start + p.numel()].view(p.shape)
            start += p.numel()
        why.append("trick:flat_buffer")
        return
    pairs = [(a, b) for a, b in combinations(parameters, 2) if a.numel() == b.numel()]
    if not pairs:
        return
    one, two = rng.choice(pairs)
    turned = one.ndim == two.ndim == 2 and one.shape == two.shape[::-1] and rng.random() < 0.5
    two.data = one.data.t() if turned else one.data.view(two.shape) if one.is_contiguous() else two.data
    why.append("trick:one_storage")
