"""The tensors of a model that can be differentiated by, on one device, in one dtype."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from curvcli.models.base import Array
from curvcli.models.torch import bus


class Parameters(Mapping[str, Tensor]):
    """Leaves of autograd by full name, in model order.

    Attributes:
        device: where they are.
        dtype: of all of them.
    """

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
        self._tensors, self.device, self.dtype = dict(tensors), device, dtype

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def require(self, names: Sequence[str]) -> None:
        """Let only these be differentiated by: the graph of a forward pass then starts at the first of them."""
        wanted = set(names)
        for name, tensor in self._tensors.items():
            # Read from the tensor: objectives of other samples share it.
            if tensor.requires_grad != (name in wanted):
                tensor.requires_grad_(name in wanted)

    def tensor(self, array: Array) -> Tensor:
        """An array on their device, in their dtype."""
        return bus.to_device(array, self.device, self.dtype)

    @contextmanager
    def at(self, values: Mapping[str, Array]) -> Iterator[None]:
        """Within it, the parameters have these values, each in its parameter's shape."""
        # What the tensors hold is exchanged, not written over: graphs that were made before stay valid.
        kept = {name: self._tensors[name].data for name in values}
        try:
            for name, array in values.items():
                self._tensors[name].data = self.tensor(array).reshape(kept[name].shape)
            yield
        finally:
            for name, data in kept.items():
                self._tensors[name].data = data


def own_storage(module: Any) -> None:
    """Give every parameter memory of its own.

    Two parameters that were saved as views of one storage are two variables to autograd all the same; in shared memory
    a change of one would change the other.
    """
    addresses: set[int] = set()
    for tensor in [*module.parameters(), *module.buffers()]:
        address = tensor.untyped_storage().data_ptr()
        if address in addresses or not tensor.is_contiguous():
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
        addresses.add(address)
