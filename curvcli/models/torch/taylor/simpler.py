"""Operations of torch written out in simpler ones, for which there are rules.

What torch itself can write out is taken from its own table. Here stands what it writes out with detours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch._decomp import get_decompositions

_ATEN: Final = torch.ops.aten
# Those of torch's own table; what has rules of its own is not here.
_BY_TORCH: Final = """
    _adaptive_avg_pool2d _fused_rms_norm _prelu_kernel _weight_norm_interface addbmm addcdiv addcmul addmv baddbmm
    celu dot frac gelu glu hardshrink hardsigmoid hardswish im2col lerp linalg_cross log_sigmoid_forward logaddexp
    logaddexp2 logit mish mse_loss mv native_group_norm norm pad pixel_shuffle pixel_unshuffle rms_norm rsub
    select_scatter sigmoid_backward silu silu_backward sinc slice_scatter smooth_l1_loss softplus softshrink
    tanh_backward threshold threshold_backward trace upsample_bilinear2d upsample_nearest1d upsample_nearest2d xlogy
    """.split()
Decomposition = Callable[..., Any]


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + eps)
    return _scaled(centred * inverse, weight, bias), mean, inverse


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """With stored statistics; or with those of each channel, where nothing is stored."""
    del momentum
    channels = [1, -1, *[1] * (x.dim() - 2)]
    weight, bias = (None if one is None else one.reshape(channels) for one in (weight, bias))
    if not training:
        if running_mean is None or running_var is None:
            return NotImplemented
        factor = torch.rsqrt(running_var.reshape(channels) + eps)
        shift = -running_mean.reshape(channels) * factor
        y = _scaled(x * factor + shift, weight, bias)
        return y, x.new_zeros(0), x.new_zeros(0)
    if running_mean is not None or running_var is not None:
        return NotImplemented
    axes = [axis for axis in range(x.dim()) if axis != 1]
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + eps)
    return _scaled(centred * inverse, weight, bias), mean.reshape(-1), inverse.reshape(-1)


def _batch_norm_inference(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, momentum: float, eps: float
) -> Any:
    return _batch_norm(x, weight, bias, mean, var, training=False, momentum=momentum, eps=eps)


def _exponentials(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Up to a factor that does not matter: the largest is 1."""
    shift = x.detach().amax(axis, keepdim=True)
    shift = torch.where(shift.abs() == float("inf"), torch.zeros_like(shift), shift)
    return torch.exp(x - shift), shift


def _softmax(x: Tensor, axis: int, half_to_float: bool = False) -> Any:
    if half_to_float or not x.dim():
        return NotImplemented
    exponentials, _ = _exponentials(x, axis)
    return exponentials / exponentials.sum(axis, keepdim=True)


def _safe_softmax(x: Tensor, axis: int, dtype: torch.dtype | None = None) -> Any:
    return NotImplemented if dtype not in (None, x.dtype) else _softmax(x, axis)


def _log_softmax(x: Tensor, axis: int, half_to_float: bool = False) -> Any:
    if half_to_float or not x.dim():
        return NotImplemented
    exponentials, shift = _exponentials(x, axis)
    return x - shift - torch.log(exponentials.sum(axis, keepdim=True))


def _logsumexp(x: Tensor, axes: Sequence[int], keepdim: bool = False) -> Any:
    if len(axes) != 1:
        return NotImplemented
    exponentials, shift = _exponentials(x, axes[0])
    y = torch.log(exponentials.sum(axes[0], keepdim=True)) + shift
    return y if keepdim else y.squeeze(axes[0])


def _vector_norm(
    x: Tensor,
    order: float = 2,
    axes: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    if order not in (1, 2) or dtype not in (None, x.dtype) or not x.is_floating_point():
        return NotImplemented
    every = list(range(x.dim())) if axes is None else list(axes)
    summed = (x.abs() if order == 1 else x * x).sum(every, keepdim=keepdim)
    return summed if order == 1 else torch.sqrt(summed)


def _addmm(bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    y = torch.mm(left, right)
    y = y if alpha == 1 else y * alpha
    return y + (bias if beta == 1 else bias * beta)


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    del non_blocking
    return source.to(target.dtype).expand(target.shape).clone()


def _variance(
    x: Tensor, axes: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    return _variance_and_mean(x, axes, correction=correction, keepdim=keepdim)[0]


def _variance_and_mean(
    x: Tensor, axes: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    every = list(axes) if axes else list(range(x.dim()))
    count = 1
    for axis in every:
        count *= x.shape[axis]
    mean = x.mean(every, keepdim=True)
    centred = x - mean
    left = max(count - (1 if correction is None else correction), 0)
    return (centred * centred).sum(every, keepdim=keepdim) / left, mean if keepdim else x.mean(every)


def _deviation(
    x: Tensor, axes: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> Tensor:
    return torch.sqrt(_variance(x, axes, correction=correction, keepdim=keepdim))


def _convolution(*arguments: Any) -> Tensor:
    convolved: Tensor = _ATEN.convolution.default(*arguments[:9])
    return convolved


def _clamp(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _clamp_max(x: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(x, high)


def _square(x: Tensor) -> Tensor:
    return x * x


OWN: Final[Mapping[str, Decomposition]] = {
    "_convolution": _convolution,
    "_log_softmax": _log_softmax,
    "_native_batch_norm_legit_no_training": _batch_norm_inference,
    "_safe_softmax": _safe_softmax,
    "_softmax": _softmax,
    "addmm": _addmm,
    "copy": _copy,
    "cudnn_batch_norm": _batch_norm,
    "linalg_vector_norm": _vector_norm,
    "logsumexp": _logsumexp,
    "native_batch_norm": _batch_norm,
    "native_layer_norm": _layer_norm,
    "square": _square,
}


def _table() -> dict[Any, Decomposition]:
    packets = [getattr(_ATEN, name) for name in _BY_TORCH if hasattr(_ATEN, name)]
    table: dict[Any, Decomposition] = {
        one: function
        for one, function in get_decompositions(packets).items()
        if isinstance(one, torch._ops.OpOverload) and not one._schema.is_mutable
    }
    table |= {getattr(_ATEN, name).default: function for name, function in OWN.items() if hasattr(_ATEN, name)}
    moments = {"var": _variance, "std": _deviation, "var_mean": _variance_and_mean}
    clamps = {"clamp": _clamp, "clamp_min": _clamp, "clamp_max": _clamp_max}
    table |= {getattr(_ATEN, name).Tensor: function for name, function in clamps.items()}
    return table | {getattr(_ATEN, name).correction: function for name, function in moments.items()}


SIMPLER: Final = _table()
