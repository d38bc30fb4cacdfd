"""Holds the tensors that a TorchScript file declares against the bytes it has for them, which torch does not.

A tensor that is declared larger than its bytes would be filled with whatever lies behind them in memory: wrong numbers
at best, this process's secrets in a report at worst.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

_ITEM_SIZES = {
    f"{name}Storage": size
    for size, names in (
        (1, "Byte Char Bool QInt8 QUInt8 QUInt4x2 QUInt2x4"),
        (2, "Short Half BFloat16"),
        (4, "Int Float QInt32"),
        (8, "Long Double ComplexFloat"),
        (16, "ComplexDouble"),
    )
    for name in names.split()
}


def misfit(data: bytes, sizes: Mapping[str, int]) -> str | None:
    """What does not fit in the description of an archive's tensors; None if all of it does.

    Args:
        data: of ``data.pkl`` or ``constants.pkl``; read without running anything in it.
        sizes: bytes of each member that holds tensors, by its key.
    """
    try:
        _Reader(data, sizes).load()
    except _MisfitError as error:
        return str(error)
    except Exception as error:  # torch will say more of a pickle that can't be read, and does not compute with it
        return None if isinstance(error, EOFError) else f"the description of its tensors is damaged ({str(error)[:80]})"
    return None


class _MisfitError(Exception):
    pass


class _Storage:
    """So many numbers of so many bytes."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size


class _Inert:
    """In the place of every class: takes any arguments and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


class _Reader(pickle.Unpickler):
    """Reads a pickle with nothing of it but plain values, storages and the bounds of tensors."""

    def __init__(self, data: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(data))
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module == "torch" and name.endswith("Storage"):
            return name
        if module == "torch._utils" and name.startswith("_rebuild_tensor"):
            return _tensor
        if module == "torch.jit._pickle":
            return lambda value=None, *_: value
        return _Inert

    def persistent_load(self, pid: Any) -> _Storage:
        try:
            kind, storage, key, _, count = pid
            size = _ITEM_SIZES[storage]
            is_storage = kind == "storage" and isinstance(count, int) and count >= 0
        except (TypeError, ValueError, KeyError):
            is_storage = False
        if not is_storage:
            raise _MisfitError("it declares a storage of no kind that is known")
        if self._sizes.get(str(key), -1) < count * size:
            have = self._sizes.get(str(key))
            raise _MisfitError(
                f"tensor data {str(key)[:40]} is declared with {count * size:,} bytes and "
                + ("is not there" if have is None else f"has {have:,}")
            )
        return _Storage(count, size)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: object) -> _Inert:
    """The check of what torch's function of that name would build."""
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or not all(_natural(n) for n in numbers):
        raise _MisfitError("it declares a tensor with a shape that no tensor has")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if all(shape) and last >= storage.count:
        raise _MisfitError(
            f"a tensor of shape {'×'.join(map(str, shape))[:60]} is declared over data of {storage.count:,} numbers"
        )
    return _Inert()


def _natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
