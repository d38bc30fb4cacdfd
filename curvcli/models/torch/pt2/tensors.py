"""Makes the tensors of an archive out of its plain bytes, which are held against what is declared of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.models.torch.pt2.fields import MisfitError, natural, only, shown, taken

_STRIDED: Final = 7
_NAMES: Final = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    34: "uint32",
    35: "uint64",
}
# By the numbers that archives have for them.
DTYPES: Final = {number: getattr(torch, name) for number, name in _NAMES.items() if hasattr(torch, name)}
_LONGEST_NAME: Final = 1000


@dataclass(frozen=True)
class Declared:
    """A tensor as an archive declares it.

    Attributes:
        member: with its bytes.
        dtype: of its numbers.
        shape: of it.
        strides: in numbers.
        offset: likewise.
        trained: whether it requires gradients.
    """

    member: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    trained: bool

    @property
    def nbytes(self) -> int:
        """Of a tensor with memory of its own."""
        return prod(self.shape) * self.dtype.itemsize

    def made(self, data: bytes) -> Tensor:
        """The tensor, in memory of its own.

        Raises:
            MisfitError: there are fewer bytes than are declared.
        """
        count = len(data) // self.dtype.itemsize
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if not prod(self.shape):
            return torch.empty(self.shape, dtype=self.dtype)
        if last >= count:
            raise MisfitError(
                f"a tensor of shape {'×'.join(map(str, self.shape))[:60]} is declared over data of {count:,} numbers"
            )
        numbers = torch.frombuffer(bytearray(data), dtype=self.dtype, count=count)
        return numbers.as_strided(self.shape, self.strides, self.offset).clone(memory_format=torch.contiguous_format)


def declared(config: Any, prefix: str) -> dict[str, Declared]:
    """The tensors that a ``…_config.json`` lists, by name.

    Args:
        config: its text, parsed.
        prefix: of the members' names, ``weight_`` or ``tensor_``.

    Raises:
        MisfitError: it lists something else than plain tensors.
    """
    entries = {}
    for name, entry in taken(config, "config", dict).items():
        entries[_name(name)] = _declared(name, entry, prefix)
    return entries


def tensors(entries: Mapping[str, Declared], read: Callable[[str], bytes]) -> dict[str, Tensor]:
    """All of them by name; entries that are the same place in the file are one tensor."""
    made: dict[tuple[Any, ...], Tensor] = {}
    by_name = {}
    for name, one in entries.items():
        place = (one.member, one.dtype, one.shape, one.strides, one.offset)
        if place not in made:
            made[place] = one.made(read(one.member))
        by_name[name] = made[place]
    return by_name


def dtype_of(number: Any) -> torch.dtype:
    """A dtype by its number in archives."""
    if not isinstance(number, int) or number not in DTYPES:
        raise MisfitError(f"it has numbers of a kind that this torch does not know ({shown(number)})")
    dtype: torch.dtype = DTYPES[number]
    return dtype


def _name(name: str) -> str:
    if not name.isprintable() or not 0 < len(name) < _LONGEST_NAME:
        raise MisfitError(f"a parameter has a name that can't be printed ({shown(name)})")
    return name


def _declared(name: str, entry: Any, prefix: str) -> Declared:
    if taken(entry, "use_pickle", bool):
        raise MisfitError(f"{shown(name)} is pickled (a subclass of torch.Tensor, such as a quantised one)")
    member = taken(entry, "path_name", str)
    if not re.fullmatch(rf"{prefix}\d{{1,9}}", member):
        raise MisfitError(f"{shown(name)} is no plain tensor but {shown(member)}: a pickled object")
    meta = taken(entry, "tensor_meta", dict)
    if taken(meta, "layout", int) != _STRIDED:
        raise MisfitError(f"{shown(name)} is no dense tensor")
    shape, strides = (tuple(_size(one) for one in taken(meta, key, list)) for key in ("sizes", "strides"))
    if len(shape) != len(strides):
        raise MisfitError("it declares a tensor with a shape that no tensor has")
    offset = _size(taken(meta, "storage_offset", dict))
    dtype = dtype_of(taken(meta, "dtype", int))
    return Declared(member, dtype, shape, strides, offset, taken(meta, "requires_grad", bool))


def _size(value: Any) -> int:
    return natural(only(value)[1])


LITTLE: Final = sys.byteorder == "little"
