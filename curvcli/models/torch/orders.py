"""How the rows of what some uses make belong to samples, as the samples' outputs tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.models.samples import halves, tags
from curvcli.models.torch import bus
from curvcli.models.torch.graph import Entry
from curvcli.models.torch.layout import TorchLayout
from curvcli.models.torch.rules import linear_use

# (edges, cotangent of the output) → the derivative by each edge, None where there is no path.
Pull = Callable[[Sequence[Any], Tensor], Sequence[Tensor | None]]
_SEED = 20_000


def row_orders(uses: Sequence[tuple[Entry, Tensor]], samples: int, output: Tensor, pull: Pull) -> list[bool | None]:
    """For each use whether its output's rows are time-major; None where samples influence each other after it.

    Args:
        uses: where a parameter joins the data, and the parameter.
        samples: of the batch.
        output: of the model.
        pull: derivatives of the loss's input, which has the output's shape.
    """
    layouts = [_layouts(entry, tensor, samples) for entry, tensor in uses]
    if samples == 1 or not uses:
        return [min(one, default=None) for one in layouts]
    edges, signs = [GradientEdge(entry.node, 0) for entry, _ in uses], random_signs(output)
    plain = pull(edges, signs)
    by_tags = [dict(one) for one in layouts]
    for tag in tags(samples):
        weights = bus.to_device(tag, signs.device, signs.dtype)
        tagged = pull(edges, signs * per_sample(weights, signs.ndim))
        for number, one in enumerate(by_tags):
            for interleaved, layout in list(one.items()):
                if not same_when_tagged(plain[number], tagged[number], weights, layout):
                    del one[interleaved]
    if all(by_tags):
        return [min(one) for one in by_tags]
    # Where the arithmetic of a kernel depends on the other samples, or numbers are too large, zeros still tell.
    for half in halves(samples):
        selected = bus.to_device(half, output.device)
        pulled = pull(edges, signs * per_sample(selected, signs.ndim))
        for delta, one in zip(pulled, layouts, strict=True):
            for interleaved, layout in list(one.items()):
                if delta is not None and bus.holds((layout.canonical(delta)[~selected] != 0).any()):
                    del one[interleaved]
    return [min(one or other, default=None) for one, other in zip(by_tags, layouts, strict=True)]


def _layouts(entry: Entry, tensor: Tensor, samples: int) -> dict[bool, TorchLayout]:
    """Those that the output of a use may have, by whether its rows are time-major."""
    both = {order: linear_use(entry, tensor, samples, interleaved=order) for order in (False, True)}
    return {order: use.layout for order, use in both.items() if not isinstance(use, str)}


def random_signs(output: Tensor) -> Tensor:
    """±1 at random, like the output, always the same."""
    random = torch.Generator().manual_seed(_SEED)
    signs = torch.randint(0, 2, output.shape, generator=random, dtype=torch.int8)
    return (2 * signs - 1).to(output.device, output.dtype)


def per_sample(values: Tensor, ndim: int) -> Tensor:
    """A number for every sample, (samples,), as it multiplies an output of so many axes."""
    return values.reshape(-1, *(1,) * (ndim - 1))


def same_when_tagged(plain: Tensor | None, tagged: Tensor | None, weights: Tensor, layout: TorchLayout) -> bool:
    """Whether a derivative was multiplied by each sample's weight, (samples,), in all of that sample's rows."""
    if plain is None or tagged is None:
        return plain is tagged
    return bus.holds((layout.canonical(tagged) == layout.canonical(plain) * weights[:, None, None]).all())
