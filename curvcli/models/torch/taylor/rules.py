"""How Taylor coefficients pass through torch's operations: one entry of a table each.

An operation without an entry ends the attempt: derivatives are then had by products. What the entries say is never
taken on trust: see ``curvature.pointwise.trial``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.models.taylor.elementary import COEFFICIENTS, power
from curvcli.models.taylor.series import Coefficients, composed, product, quotient
from curvcli.models.torch.taylor import piecewise
from curvcli.models.torch.taylor.call import Call, Jet, NoRuleError, Rule, fitted, jets_of, lifted, substituted


class _Elementwise:
    """See ``elementary.Elementwise``."""

    exp = staticmethod(torch.exp)
    sin = staticmethod(torch.sin)
    cos = staticmethod(torch.cos)
    sinh = staticmethod(torch.sinh)
    cosh = staticmethod(torch.cosh)
    sigmoid = staticmethod(torch.sigmoid)
    sign = staticmethod(torch.sign)

    def where(self, condition: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        return torch.where(condition, chosen, other)

    def like(self, condition: Tensor, x: Tensor) -> Tensor:
        return condition.to(x.dtype)


_OPS: Final = _Elementwise()


def _linear(*operands: int) -> Rule:
    """Of an operation that is linear in these operands together: it is applied to the coefficients."""

    def rule(call: Call) -> Sequence[Coefficients | None]:
        call.only(*operands)
        jets = [jet for place in operands if place < len(call.arguments) for jet in jets_of(call.arguments[place])]
        outputs: list[Coefficients] = [[] for _ in call.values]
        for k in range(1, call.order + 1):
            present = next((jet.series[k] for jet in jets if jet.series[k] is not None), None)
            if present is None:
                for output in outputs:
                    output.append(None)
                continue
            count = len(present)
            tensors: list[Any] = [
                jet.value.new_zeros(1).expand(count, *jet.value.shape) if jet.series[k] is None else jet.series[k]
                for jet in jets
            ]

            def applied(*inner: Tensor) -> Any:
                by_jet = {id(jet): one for jet, one in zip(jets, inner, strict=True)}
                arguments = [
                    substituted(one, by_jet, linear=place in operands) for place, one in enumerate(call.arguments)
                ]
                return call.node.function(*arguments, **call.node.keywords)

            returned = torch.vmap(applied)(*tensors)
            parts = returned if call.node.several else [returned]
            for output, part in zip(outputs, parts, strict=True):
                output.append(part)
        return outputs

    return rule


def _bent(name: str) -> Rule:
    """Of an elementary function, entry by entry."""

    def rule(call: Call) -> Sequence[Coefficients | None]:
        call.only(0)
        (value,) = call.values
        table = COEFFICIENTS[name](_OPS, call.arguments[0].value, value, call.order)
        return [composed(table, call.series(0), call.contract)]

    return rule


def _sum(call: Call) -> Sequence[Coefficients | None]:
    return _added(call, 1.0)


def _difference(call: Call) -> Sequence[Coefficients | None]:
    return _added(call, -1.0)


def _added(call: Call, sign: float) -> Sequence[Coefficients | None]:
    (value,) = call.values
    factor = sign * call.argument("alpha", 1)
    coefficients: Coefficients = []
    for left, right in zip(call.series(0)[1:], call.series(1)[1:], strict=True):
        first, second = fitted(left, value), fitted(right, value)
        if second is not None and factor != 1:
            second = second * factor
        coefficients.append(second if first is None else first if second is None else first + second)
    return [coefficients]


def _times(call: Call) -> Sequence[Coefficients | None]:
    (value,) = call.values
    axes = value.dim()
    made = product(torch.mul, lifted(call.series(0), axes), lifted(call.series(1), axes))
    return [[fitted(c, value) for c in made]]


def _divided(call: Call) -> Sequence[Coefficients | None]:
    if call.argument("rounding_mode") is not None:
        raise NoRuleError("div with rounding")
    (value,) = call.values
    axes = value.dim()
    made = quotient(value, lifted(call.series(0), axes), lifted(call.series(1), axes))
    return [[fitted(c, value) for c in made]]


def _matrices(call: Call) -> Sequence[Coefficients | None]:
    call.only(0, 1)
    return [product(_matmul, call.series(0), call.series(1))]


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    if left.dim() == 4 and right.dim() == 3:
        # One matrix per right operand, not a copy of it per direction.
        directions, count, rows, inner = left.shape
        folded = torch.bmm(left.transpose(0, 1).reshape(count, directions * rows, inner), right)
        return folded.reshape(count, directions, rows, -1).transpose(0, 1)
    if left.dim() == 3 and right.dim() == 2:
        one = _one_for_all(left)
        return torch.matmul(one, right).expand(*left.shape[:2], right.shape[1])
    if left.dim() == 3 and right.dim() == 4:
        return _matmul(right.transpose(-1, -2), left.transpose(-1, -2)).transpose(-1, -2)
    return torch.matmul(left, right)


def _one_for_all(c: Tensor) -> Tensor:
    """A coefficient that is the same for all rows or samples (axis 1), as the inputs' own are, for one of them."""
    return c[:, :1] if c.stride(1) == 0 else c


def _convolution(call: Call) -> Sequence[Coefficients | None]:
    call.only(0)
    weight = call.arguments[1]
    options = call.arguments[3:]
    coefficients: Coefficients = []
    for c in call.series(0)[1:]:
        if c is None:
            coefficients.append(None)
            continue
        one = _one_for_all(c)
        images = one.reshape(-1, *c.shape[2:])
        made = call.node.function(images, weight, None, *options, **call.node.keywords)
        made = made.reshape(*one.shape[:2], *made.shape[1:])
        coefficients.append(made.expand(*c.shape[:2], *made.shape[2:]))
    return [coefficients]


def _power(call: Call) -> Sequence[Coefficients | None]:
    exponent = call.arguments[1]
    if isinstance(exponent, Jet) or (isinstance(exponent, Tensor) and exponent.numel() != 1):
        raise NoRuleError("pow by a tensor")
    if not isinstance(call.arguments[0], Jet):
        raise NoRuleError("pow of a number")
    table = power(call.arguments[0].value, float(exponent), call.order)
    return [composed(table, call.series(0), call.contract)]


def _elu(call: Call) -> Sequence[Coefficients | None]:
    alpha, scale, inner = (float(call.argument(name)) for name in ("alpha", "scale", "input_scale"))
    x = call.arguments[0].value
    positive = (x > 0).to(x.dtype)
    below = alpha * scale * torch.exp(inner * torch.clamp(x, max=0.0)) * (1 - positive)
    table: list[Tensor | None] = [below * (inner**m / math.factorial(m)) for m in range(1, call.order + 1)]
    table[0] = below * inner + scale * positive
    return [composed(table, call.series(0), call.contract)]


def _copied(call: Call) -> Sequence[Coefficients | None]:
    """``copy(x, source)`` has the shape of x and the numbers of the source."""
    if not isinstance(call.arguments[1], Jet):
        return [None]
    return [[fitted(c, call.values[0]) for c in call.series(1)[1:]]]


def _product_of_all(call: Call) -> Sequence[Coefficients | None]:
    """Along one axis: factor by factor."""
    call.only(0)
    if call.argument("dim") is None:
        raise NoRuleError("prod over all axes")
    series, axis, keep = call.series(0), int(call.argument("dim")), bool(call.argument("keepdim", False))
    axis %= call.arguments[0].value.dim()
    made: list[Any] | None = None
    for place in range(call.arguments[0].value.shape[axis]):
        factor = [None if c is None else c.select(axis + (i > 0), place) for i, c in enumerate(series)]
        made = factor if made is None else [made[0] * factor[0], *product(torch.mul, made, factor)]
    if made is None:
        return [None]
    return [[None if c is None else c.unsqueeze(axis + 1) if keep else c for c in made[1:]]]


def _nothing(call: Call) -> Sequence[Coefficients | None]:
    """Nothing is differentiated through it."""
    return [None] * len(call.values)


_LINEAR_IN_ONE = """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _to_copy _unsafe_index alias avg_pool1d avg_pool2d
    avg_pool3d cat channel_shuffle clone col2im cumsum diag diag_embed diagonal expand flip gather index index_select
    lift_fresh_copy mean movedim narrow neg permute pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d
    reflection_pad3d repeat replication_pad1d replication_pad2d replication_pad3d reshape roll rot90 select slice split
    split_with_sizes squeeze stack sum t take transpose tril triu unbind unfold unsafe_chunk unsafe_split
    unsafe_split_with_sizes unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_trilinear3d
    """.split()
_WITHOUT_DERIVATIVE = """
    argmax argmin bernoulli bucketize ceil detach empty_like floor full_like new_empty new_full new_ones new_zeros
    ones_like rand_like round sign sgn trunc zeros_like heaviside
    """.split()
_SAME_NAME = """
    abs acos acosh asin asinh atan atanh cos cosh erf erfc exp exp2 expm1 log log10 log1p log2 reciprocal relu rsqrt
    sigmoid sin sinh sqrt tan tanh
    """.split()

RULES: Final[dict[str, Rule]] = {
    **{name: _linear(0) for name in _LINEAR_IN_ONE},
    **dict.fromkeys(_WITHOUT_DERIVATIVE, _nothing),
    **{name: _bent(name) for name in _SAME_NAME},
    "adaptive_max_pool2d": piecewise.pooled(2),
    "adaptive_max_pool3d": piecewise.pooled(3),
    "add": _sum,
    "amax": piecewise.extreme,
    "amin": piecewise.extreme,
    "bmm": _matrices,
    "clamp": piecewise.clamped,
    "clamp_max": piecewise.clamped,
    "clamp_min": piecewise.clamped,
    "constant_pad_nd": _linear(0, 2),
    "convolution": _convolution,
    "copy": _copied,
    "cummax": piecewise.chosen,
    "cummin": piecewise.chosen,
    "div": _divided,
    "elu": _elu,
    "hardtanh": piecewise.hard_tanh,
    "index_add": _linear(0, 3),
    "index_copy": _linear(0, 3),
    "index_put": _linear(0, 2),
    "kthvalue": piecewise.chosen,
    "leaky_relu": piecewise.leaky,
    "masked_fill": _linear(0, 2),
    "max": piecewise.chosen,
    "max_pool2d_with_indices": piecewise.pooled(2),
    "max_pool3d_with_indices": piecewise.pooled(3),
    "maximum": piecewise.larger,
    "median": piecewise.chosen,
    "min": piecewise.chosen,
    "minimum": piecewise.smaller,
    "mm": _matrices,
    "mul": _times,
    "pow": _power,
    "prod": _product_of_all,
    "scatter": _linear(0, 3),
    "scatter_add": _linear(0, 3),
    "select_scatter": _linear(0, 1),
    "slice_scatter": _linear(0, 1),
    "sort": piecewise.chosen,
    "sub": _difference,
    "topk": piecewise.chosen,
    "where": _linear(1, 2),
}
