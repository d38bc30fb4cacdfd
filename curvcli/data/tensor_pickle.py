"""Which tensors a ``.pt`` file describes: its pickle's operations are followed as data, and no pickle is ever loaded.

A pickle is a program. Of its operations only those that build plain values are followed here; a function that it calls
is taken for a name, and of these only the one by which torch rebuilds a tensor means anything.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

# Bytes of a number, and NumPy's name, by the name that torch's storages and dtypes have.
_NAMES: Final = {
    "ByteStorage": "u1", "CharStorage": "i1", "BoolStorage": "?", "ShortStorage": "i2", "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16", "IntStorage": "i4", "FloatStorage": "f4", "LongStorage": "i8", "DoubleStorage": "f8",
    "uint8": "u1", "int8": "i1", "bool": "?", "int16": "i2", "uint16": "u2", "float16": "f2", "bfloat16": "bfloat16",
    "int32": "i4", "uint32": "u4", "float32": "f4", "int64": "i8", "uint64": "u8", "float64": "f8",
}  # fmt: skip
_BYTES: Final = {"bfloat16": 2}
_MOST_STEPS: Final = 5_000_000


class BadDescriptionError(ValueError):
    """The description of tensors is damaged, or not of tensors; the message says why in a few words."""


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Other:
    """What a call of an unknown function would have made."""

    of: str


@dataclass(frozen=True)
class Storage:
    """Numbers of one kind in a member of the archive.

    Attributes:
        key: of the member.
        kind: ``f4``, ``bfloat16``; None for bytes whose kind the tensor says.
        count: of numbers, or of bytes.
    """

    key: str
    kind: str | None
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: offset, shape and strides count numbers, and lie within it."""

    storage: Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def described(data: bytes) -> Any:
    """What a pickle describes: tensors, dicts, lists, tuples, plain values, and `Other` for everything else.

    Raises:
        BadDescriptionError: it is damaged, or declares a tensor outside its storage.
    """
    try:
        return _followed(data)
    except BadDescriptionError:
        raise
    except Exception as error:  # whatever a damaged pickle leads to
        raise BadDescriptionError(f"the description of its tensors is damaged ({str(error)[:80]})") from None


def _followed(data: bytes) -> Any:
    machine = _Machine()
    for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if number > _MOST_STEPS:
            raise BadDescriptionError("the description is too long for a few tensors")
        if operation.name == "STOP":
            return machine.stack.pop()
        machine.follow(operation.name, argument)
    raise BadDescriptionError("the description of its tensors is cut off")


class _Machine:
    """Pickle's stack, marks and memory, with values alone on them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memory: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _MADE:
            self.stack.append(_MADE[name]())
        elif name in {"PROTO", "FRAME"}:
            pass
        elif name in {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}:
            self._memory[len(self._memory) if argument is None else int(argument)] = self.stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self.stack.append(self._memory[int(argument)])
        else:
            self._combine(name, argument)

    def _combine(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "MARK":
                self._marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._marked()
            case "TUPLE":
                stack.append(tuple(self._marked()))
            case "LIST":
                stack.append(self._marked())
            case "DICT":
                stack.append(_pairs({}, self._marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND":
                value = stack.pop()
                _extended(stack[-1], [value])
            case "APPENDS":
                values = self._marked()
                _extended(stack[-1], values)
            case "SETITEM":
                pair = stack[-2:]
                del stack[-2:]
                _pairs(stack[-1], pair)
            case "SETITEMS":
                pairs = self._marked()
                _pairs(stack[-1], pairs)
            case "GLOBAL":
                module, _, of = str(argument).partition(" ")
                stack.append(Name(module, of))
            case "STACK_GLOBAL":
                module, of = stack[-2:]
                # Never made text of: lists within lists may be endless in text, and take a few bytes in the pickle.
                stack[-2:] = [Name(module, of) if isinstance(module, str) and isinstance(of, str) else Other("a name")]
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(_called(stack.pop(), arguments))
            case "NEWOBJ_EX":
                del stack[-2:]
                stack.append(_called(stack.pop(), ()))
            case "BUILD":
                stack.pop()
            case _:
                raise BadDescriptionError(f"torch.save writes no {name.lower()} into a pickle")

    def _marked(self) -> list[Any]:
        mark = self._marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values


_VALUES: Final = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 FLOAT BINFLOAT BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_MADE: Final[Mapping[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Other("a set"),
}


def _extended(target: Any, values: list[Any]) -> None:
    if isinstance(target, list):
        target += values


def _pairs(target: Any, values: list[Any]) -> Any:
    if isinstance(target, dict):
        for key, value in zip(values[::2], values[1::2], strict=True):
            plain = isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 63)
            target[key if plain else str(type(key))] = value
    return target


def _called(function: Any, arguments: Any) -> Any:
    match function, arguments:
        case Name("torch._utils", "_rebuild_tensor_v2"), (storage, offset, shape, strides, _, _, *rest):
            if rest != [None] * len(rest):
                return Other("a tensor with conjugated or negated bits")
            return _tensor(storage, None, offset, shape, strides)
        case Name("torch._utils", "_rebuild_tensor_v3"), (storage, offset, shape, strides, _, _, dtype, *rest):
            if rest != [None] * len(rest):
                return Other("a tensor with conjugated or negated bits")
            return _tensor(storage, dtype, offset, shape, strides)
        case Name("torch._utils", "_rebuild_parameter"), (Tensor() as tensor, *_):
            return tensor
        case Name("collections", "OrderedDict"), _:
            return {}
        case Name(), _:
            return Other(str(function)[:100])
    return Other("an object")


def _storage(identity: Any) -> Storage | Other:
    match identity:
        case ("storage", Name("torch" | "torch.storage", kind), str(key), _, int(count)) if count >= 0:
            if kind == "UntypedStorage":
                return Storage(key, None, count)
            return Storage(key, _NAMES[kind], count) if kind in _NAMES else Other(f"torch.{kind[:40]}")
    raise BadDescriptionError("it declares a storage of no kind that is known")


def _tensor(storage: Any, dtype: Any, offset: Any, shape: Any, strides: Any) -> Tensor | Other:
    if isinstance(storage, Other):
        return storage
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, Storage) or len(shape) != len(strides) or not all(_natural(n) for n in numbers):
        raise BadDescriptionError("it declares a tensor with a shape that no tensor has")
    kind = storage.kind if dtype is None else _NAMES.get(dtype.name) if isinstance(dtype, Name) else None
    if kind is None:
        return Other("a tensor of a dtype that NumPy has not")
    size = storage.count if storage.kind is not None else storage.count // item_size(kind)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if all(shape) and last >= size:
        raise BadDescriptionError(
            f"a tensor of shape {'×'.join(map(str, shape))[:60]} is declared over data of {size:,} numbers"
        )
    return Tensor(storage, kind, offset, tuple(shape), tuple(strides))


def item_size(kind: str) -> int:
    """Bytes of a number."""
    return _BYTES.get(kind) or {"?": 1}.get(kind) or int(kind[1:])


def _natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
