"""Rules for operations that are linear near almost every point: which operand, or which entry, decides."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from curvcli.models.taylor.series import Coefficients
from curvcli.models.torch.taylor.call import Call, Jet, NoRuleError, Rule, fitted, lifted


def masked(call: Call, mask: Tensor) -> Sequence[Coefficients | None]:
    """Of a function that is linear near every entry, with these slopes."""
    call.only(0)
    return [[None if c is None else c * mask for c in call.series(0)[1:]]]


def chosen(call: Call) -> Sequence[Coefficients | None]:
    """Along an axis, the entries at the places that the operation returned beside them."""
    call.only(0)
    if len(call.values) == 1:
        return extreme(call)  # of all axes
    values, places = call.values[:2]
    axis = int(call.argument("dim", -1))
    axes = call.arguments[0].value.dim()
    if not axes:
        return [list(call.series(0)[1:]), None]
    axis %= axes
    kept = values.dim() == axes
    index = places if kept else places.unsqueeze(axis)
    coefficients: Coefficients = []
    for c in call.series(0)[1:]:
        if c is not None:
            c = c.gather(axis + 1, index.expand(c.shape[0], *index.shape))  # noqa: PLW2901 - the same, gathered
            c = c if kept else c.squeeze(axis + 1)  # noqa: PLW2901 - the same
        coefficients.append(c)
    return [coefficients, None]


def pooled(axes: int) -> Rule:
    """Of max pooling over so many axes, by the places that it returned."""

    def rule(call: Call) -> Sequence[Coefficients | None]:
        call.only(0)
        places = call.values[1]
        index = places.flatten(-axes)
        coefficients: Coefficients = []
        for c in call.series(0)[1:]:
            if c is not None:
                made = c.flatten(-axes).gather(-1, index.expand(c.shape[0], *index.shape))
                c = made.reshape(c.shape[0], *places.shape)  # noqa: PLW2901 - the same, gathered
            coefficients.append(c)
        return [coefficients, None]

    return rule


def extreme(call: Call) -> Sequence[Coefficients | None]:
    """Of ``amax`` and ``amin``: as autograd has it, the mean of those that are equal."""
    call.only(0)
    (value,), x = call.values, call.arguments[0].value
    axes = call.argument("dim") or list(range(x.dim()))
    axes = sorted(axis % x.dim() for axis in ([axes] if isinstance(axes, int) else axes))
    if not call.argument("keepdim", False):
        for axis in axes:
            value = value.unsqueeze(axis)
    mask = (x == value).to(x.dtype)
    mask = mask / mask.sum(axes, keepdim=True)
    behind = [axis + 1 for axis in axes]
    keep = bool(call.argument("keepdim", False))
    return [[None if c is None else (c * mask).sum(behind, keepdim=keep) for c in call.series(0)[1:]]]


def larger(call: Call) -> Sequence[Coefficients | None]:
    """Of ``maximum``."""
    return _of_two(call, 1.0)


def smaller(call: Call) -> Sequence[Coefficients | None]:
    """Of ``minimum``."""
    return _of_two(call, -1.0)


def _of_two(call: Call, sign: float) -> Sequence[Coefficients | None]:
    """Of ``maximum`` and ``minimum``: half of each where they are equal."""
    (value,) = call.values
    left, right = lifted(call.series(0), value.dim()), lifted(call.series(1), value.dim())
    share = (torch.sign((left[0] - right[0]) * sign) + 1) / 2
    coefficients: Coefficients = []
    for first, second in zip(left[1:], right[1:], strict=True):
        terms = [None if first is None else first * share, None if second is None else second * (1 - share)]
        present = [term for term in terms if term is not None]
        coefficients.append(fitted(sum(present[1:], present[0]), value) if present else None)
    return [coefficients]


def clamped(call: Call) -> Sequence[Coefficients | None]:
    """Between bounds, these included."""
    x = call.arguments[0].value
    mask = torch.ones_like(x)
    for bound, inside in ((call.argument("min"), torch.ge), (call.argument("max"), torch.le)):
        if isinstance(bound, Jet | Tensor):
            raise NoRuleError("clamp by a tensor")
        if bound is not None:
            mask = mask * inside(x, bound)
    return masked(call, mask)


def hard_tanh(call: Call) -> Sequence[Coefficients | None]:
    """Between bounds, these not included."""
    x = call.arguments[0].value
    low, high = call.argument("min_val"), call.argument("max_val")
    return masked(call, ((x > low) & (x < high)).to(x.dtype))


def leaky(call: Call) -> Sequence[Coefficients | None]:
    """Of ``leaky_relu``."""
    x = call.arguments[0].value
    positive = (x > 0).to(x.dtype)
    return masked(call, positive + (1 - positive) * call.argument("negative_slope"))
