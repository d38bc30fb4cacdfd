"""A second device without one: tensors that say they are on ``meta`` and compute on the processor, copies counted.

An operation on tensors of both devices fails as it does with CUDA (numbers without axes may stay on the processor), and
whatever comes back to this machine's memory, by a copy or as a Python number, is noted with its size. What can't be
seen here are the device's own kernels, and their rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

AWAY = torch.device("meta")
HERE = torch.device("cpu")
_ATEN = torch.ops.aten
# What says nothing of numbers, and may be asked of any tensor.
_EITHER = frozenset({"is_same_size", "_assert_tensor_metadata"})
# Their indices may stand on the processor.
_INDEXED = frozenset({"index", "index_put", "index_put_", "_unsafe_index"})


class Bus:
    """What crossed so far, in bytes each."""

    def __init__(self) -> None:
        self.back: list[int] = []
        self.there: list[int] = []

    def clear(self) -> None:
        self.back.clear()
        self.there.clear()


class AwayTensor(torch.Tensor):
    """On the other device; its numbers are in ``inner``."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> AwayTensor:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=AWAY,
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @property
    def data(self) -> torch.Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, other: AwayTensor) -> None:
        self.inner = other.inner

    def __repr__(self) -> str:  # type: ignore[override]
        return f"AwayTensor({self.inner})"

    def __deepcopy__(self, memo: dict[int, Any]) -> AwayTensor:
        return self.detach().clone().requires_grad_(self.requires_grad)  # type: ignore[return-value]

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {}, Bus())


class _Mode(TorchDispatchMode):
    """Sees every operation below autograd, those that make tensors as well."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {}, self._bus)


def _inner(value: Any) -> Any:
    if isinstance(value, AwayTensor):
        return value.inner
    return HERE if isinstance(value, torch.device) and value == AWAY else value


def _solid(value: Any) -> Any:
    """Zeros that take no memory are unpacked before this place: what is made here would meet kernels as it is."""
    hollow = isinstance(value, torch.Tensor) and not isinstance(value, AwayTensor) and value._is_zerotensor()
    return torch.zeros(value.shape, dtype=value.dtype) if hollow else value


def _away(value: Any) -> Any:
    return AwayTensor(value) if isinstance(value, torch.Tensor) else value


def _run(operation: Any, args: Any, kwargs: dict[str, Any], bus: Bus) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    away = [tensor for tensor in tensors if isinstance(tensor, AwayTensor)]
    inner_args, inner_kwargs = tree_map(_inner, args), tree_map(_inner, kwargs)
    wanted = kwargs.get("device")
    packet = operation.overloadpacket
    if packet is _ATEN._to_copy:
        copy = operation(*inner_args, **inner_kwargs)
        return _copied(copy, args[0], AWAY if wanted is None and away else wanted, bus)
    if packet is _ATEN.copy_ and len({isinstance(tensor, AwayTensor) for tensor in tensors}) == 2:
        (bus.there if isinstance(args[0], AwayTensor) else bus.back).append(tensors[1].nbytes)
        operation(*inner_args, **inner_kwargs)
        return args[0]
    if packet in (_ATEN._local_scalar_dense, _ATEN.equal):
        bus.back.extend([tensors[0].element_size()] if away else [])
        return operation(*inner_args, **inner_kwargs)
    here = [tensor for tensor in tensors if not isinstance(tensor, AwayTensor) and tensor.ndim]
    name = packet.__name__
    if name in _INDEXED and isinstance(args[0], AwayTensor):
        here = [tensor for tensor in here if tensor.dtype not in (torch.int64, torch.bool)]
    if away and here and name not in _EITHER:
        raise RuntimeError(f"Expected all tensors to be on the same device, but {operation} got two devices")
    returned = tree_map(_solid, operation(*inner_args, **inner_kwargs))
    if not away and wanted != AWAY:
        return returned
    wrapped = tree_map(_away, returned)
    return return_and_correct_aliasing(operation, args, kwargs, wrapped) if away else wrapped


def _copied(copy: torch.Tensor, source: Any, wanted: Any, bus: Bus) -> Any:
    if wanted == AWAY:
        bus.there.extend([] if isinstance(source, AwayTensor) else [copy.nbytes])
        return AwayTensor(copy)
    bus.back.extend([copy.nbytes] if isinstance(source, AwayTensor) else [])
    return copy


def _moved(module: Any, convert: Any, recurse: bool = True) -> Any:
    """``Module._apply`` of a scripted module, which puts other tensors in the place of its parameters.

    PyTorch itself writes into the old ones, which it can't where one of them has no memory.
    """
    del recurse
    made: dict[int, tuple[Any, Any]] = {}
    for child in module.modules():
        for name, tensor in [*child._parameters.items(), *child._buffers.items()]:
            if tensor is not None:
                kept = made.setdefault(id(tensor), (tensor, convert(tensor.detach())))
                child._c.setattr(name, kept[1])
    return module


@contextmanager
def second_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """Within it models can be opened on ``meta``; gives what crosses."""
    from curvcli.models.torch import device, grouped

    bus = Bus()
    monkeypatch.setattr(torch.jit.RecursiveScriptModule, "_apply", _moved)
    monkeypatch.setattr(grouped, "_KEYS", tuple(dict.fromkeys((*grouped._KEYS, "AutogradMeta"))))
    found = device.device_of
    for name in ("torchscript", "exported"):
        module = __import__(f"curvcli.models.torch.{name}", fromlist=["device_of"])
        monkeypatch.setattr(module, "device_of", lambda text: AWAY if text == "meta" else found(text))
    with _Mode(bus):
        yield bus
