"""Second derivatives of convolutions in groups, by one operation each.

PyTorch's own derivative of a convolution's gradient goes through the groups one by one, for the weight's part even
where nobody asks for it: a depthwise convolution of 1,152 channels takes 1,152 convolutions. While a gradient is made
that will be differentiated again, ``by_operations`` puts a function in its place whose derivative is written in
convolutions of all groups at once. What is linear in a convolution's gradient (gO), its input (I) and its weight (W)
stays such: Ī = conv_backward_input(gO, W) and W̄ = conv_backward_weight(gO, I) have the derivatives conv(·, W) and
conv(I, ·) by gO, conv_backward_input(gO, ·) by I, and conv_backward_weight(gO, ·) by W.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

_ATEN = torch.ops.aten
_KEYS = ("AutogradCPU", "AutogradCUDA")
# From PyTorch 2.8 on a kernel is replaced in silence only where that is asked for.
_OVER_ITS_OWN = {"allow_override": True} if "allow_override" in signature(torch.library.Library.impl).parameters else {}


class _ConvolutionGradient(torch.autograd.Function):
    """``aten::convolution_backward``."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, image: Tensor, weight: Tensor, bias: Any, *geometry: Any) -> tuple[Any, ...]:
        ctx.save_for_backward(slope, image, weight)
        ctx.geometry = geometry[:-1]
        # Below autograd, where this function does not stand in for itself.
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(_ATEN.convolution_backward.default(slope, image, weight, bias, *geometry))

    @staticmethod
    def backward(ctx: Any, by_image: Any, by_weight: Any, by_bias: Any) -> tuple[Any, ...]:
        slope, image, weight = ctx.saved_tensors
        wanted, geometry = ctx.needs_input_grad, ctx.geometry
        slopes = []
        if wanted[0] and by_image is not None:
            slopes.append(_ATEN.convolution.default(by_image, weight, None, *geometry))
        if wanted[0] and by_weight is not None:
            slopes.append(_ATEN.convolution.default(image, by_weight, None, *geometry))
        if wanted[0] and by_bias is not None:
            slopes.append(by_bias.reshape(-1, *(1,) * (slope.dim() - 2)).expand_as(slope))
        of_slope = sum(slopes[1:], slopes[0]) if slopes else None
        of_image = of_weight = None
        if wanted[1] and by_weight is not None:
            mask = [True, False, False]
            of_image = _ATEN.convolution_backward.default(slope, image, by_weight, None, *geometry, mask)[0]
        if wanted[2] and by_image is not None:
            mask = [False, True, False]
            of_weight = _ATEN.convolution_backward.default(slope, by_image, weight, None, *geometry, mask)[1]
        return of_slope, of_image, of_weight, *(None,) * (len(geometry) + 2)


def _convolution_backward(*arguments: Any) -> Any:
    return _ConvolutionGradient.apply(*arguments)  # type: ignore[no-untyped-call]


@contextmanager
def by_operations(outputs: Sequence[Any]) -> Iterator[None]:
    """Within it, gradients of convolutions are recorded as above, if what is behind these outputs has any in groups.

    Args:
        outputs: tensors, or edges of the graph.
    """
    if not _has_groups(outputs):
        yield
        return
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    try:
        for key in _KEYS:
            library.impl("convolution_backward", _convolution_backward, key, **_OVER_ITS_OWN)
        yield
    finally:
        library._destroy()


def _has_groups(outputs: Sequence[Any]) -> bool:
    nodes: list[Any] = [one.node if isinstance(one, GradientEdge) else one.grad_fn for one in outputs]
    waiting, visited = [node for node in nodes if node is not None], set(nodes)
    while waiting:
        node = waiting.pop()
        if node.name() == "ConvolutionBackward0" and node._saved_groups > 1:
            return True
        for source, _ in node.next_functions:
            if source is not None and source not in visited:
                visited.add(source)
                waiting.append(source)
    return False
