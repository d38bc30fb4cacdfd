"""All that crosses between a device and this machine's memory, each way: nothing else in this folder moves numbers.

On the processor nothing is moved: arrays and tensors share memory where they can.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from curvcli.models.base import Array


def to_device(array: Array, device: torch.device, dtype: torch.dtype | None = None, *, copy: bool = False) -> Tensor:
    """An array where the work is done, in a dtype if one is given; ``copy`` if it may be changed there."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return tensor.to(device, dtype or tensor.dtype, copy=copy)


def seen(tensor: Tensor) -> Array:
    """A tensor's entries in its dtype, where they lie if that is this machine's memory; not to be written to."""
    array: Array = tensor.detach().cpu().numpy(force=True)
    return array


def to_host(tensor: Tensor) -> Array:
    """A copy of a tensor's entries, float64; moved as narrow as they are."""
    return np.array(seen(tensor), dtype=np.float64)


def number(tensor: Tensor) -> float:
    """The only entry of a tensor."""
    return float(tensor.detach())


def holds(tensor: Tensor) -> bool:
    """Whether the only entry of a tensor is true."""
    return bool(tensor)


def signs(octets: Array, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """±1 for the first bits of some bytes, the highest of each first: (size,); one bit of each is moved.

    Args:
        octets: (⌈size / 8⌉,), uint8.
        size: of the vector.
        device: where it is made.
        dtype: of its entries.
    """
    packed = to_device(octets, device)
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
    bits = torch.bitwise_and(torch.bitwise_right_shift(packed[:, None], shifts), 1)
    return bits.reshape(-1)[:size].to(dtype).mul_(2).sub_(1)
