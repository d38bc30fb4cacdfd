"""The operations of one forward pass, recorded as torch's dispatcher runs them, to be run again otherwise.

A composite operation is recorded as the simpler ones it consists of. What is recorded is what this batch computed, with
the way it took at every branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.func import functionalize
from torch.utils._python_dispatch import TorchDispatchMode

from curvcli.models.torch.taylor.simpler import SIMPLER


class UnrecordableError(RuntimeError):
    """The pass does something that can't be written down as operations on values; its text says what."""


@dataclass(frozen=True)
class Slot:
    """The place of a value on the tape."""

    number: int


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        function: of torch's, out of place.
        arguments: in order; slots, plain values, tensors that depend on nothing recorded, and lists of these.
        keywords: likewise, by name.
        outputs: the slots of the tensors it returns; None for what is no tensor.
        several: whether it returns a list or tuple.
        differentiable: whether it was run with derivatives switched on.
    """

    function: Any
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    outputs: tuple[int | None, ...]
    several: bool
    differentiable: bool

    @property
    def name(self) -> str:
        """``aten.add.Tensor`` → ``add``."""
        return str(self.function._schema.name.partition("::")[2])


@dataclass
class Tape:
    """The nodes in the order in which they ran.

    Attributes:
        nodes: the operations.
        inputs: the slots of what was fed.
        outputs: the slots of what was returned; a tensor where it depends on nothing recorded.
        sizes: entries of every slot's tensor.
        fixed: values of slots that no node makes.
    """

    nodes: list[Node] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int | Tensor, ...] = ()
    sizes: list[int] = field(default_factory=list)
    fixed: dict[int, Tensor] = field(default_factory=dict)


def recorded(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Tape:
    """What a function of tensors does to these.

    Raises:
        UnrecordableError: it works in place on what is seen otherwise too, or draws random numbers.
        RuntimeError: it fails.
    """
    tensors = [tensor.detach() for tensor in inputs]
    try:
        return _record(function, tensors)
    except _InPlaceError:
        return _record(functionalize(function, remove="mutations"), tensors)


def _record(function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]) -> Tape:
    recorder = _Recorder(tensors)
    try:
        with recorder:
            returned = function(*tensors)
    except Exception as error:
        # TorchScript's interpreter and the forward pass have made another error of it.
        if recorder.refusal is not None:
            raise recorder.refusal from error
        raise
    return recorder.finished(returned)


class _InPlaceError(UnrecordableError):
    """A value is changed in place and seen through another view."""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes a tape."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tape = Tape()
        self.refusal: UnrecordableError | None = None
        # Kept, so that no other tensor takes the place of one of them in memory.
        self._alive: list[Tensor] = []
        self._slots: dict[int, int] = {}
        # Slots that share memory have one number.
        self._memory: list[int] = []
        self._stale: set[int] = set()
        self.tape.inputs = tuple(self._slot(tensor) for tensor in inputs)

    def _slot(self, tensor: Tensor, memory: int | None = None) -> int:
        number = len(self._memory)
        self._alive.append(tensor)
        self._slots[id(tensor)] = number
        self._memory.append(number if memory is None else memory)
        self.tape.sizes.append(tensor.numel())
        return number

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return self._dispatched(func, args, kwargs or {})
        except UnrecordableError as refusal:
            self.refusal = refusal
            raise

    def _dispatched(self, func: Any, args: Any, kwargs: Any) -> Any:
        with self:
            returned = SIMPLER.get(func, func.decompose)(*args, **kwargs)
        if returned is not NotImplemented:
            return returned
        if func._schema.is_mutable:
            return self._changed(func, args, kwargs)
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UnrecordableError(f"{_told(func)} draws random numbers")
        arguments, keywords = self._read(args), {name: self._read(value) for name, value in kwargs.items()}
        returned = func(*args, **kwargs)
        if not _has_slots((arguments, list(keywords.values()))):
            reads = any(isinstance(one, Tensor) for one in args)
            if isinstance(returned, Tensor) and (not reads or _told(func) in _FILLED):
                # Made of nothing, to be filled perhaps.
                self.tape.fixed[self._slot(returned)] = returned.clone()
            return returned  # a constant
        several = isinstance(returned, list | tuple)
        tensors = returned if several else [returned]
        shared = next((self._memory[s.number] for s in arguments if isinstance(s, Slot)), None)
        inherits = any(one.alias_info is not None for one in func._schema.returns)
        outputs = tuple(
            self._slot(one, shared if inherits else None) if isinstance(one, Tensor) else None for one in tensors
        )
        node = Node(_INSTEAD.get(func, func), arguments, keywords, outputs, several, torch.is_grad_enabled())
        self.tape.nodes.append(node)
        return returned

    def _read(self, value: Any) -> Any:
        """A value with slots in the place of recorded tensors."""
        if isinstance(value, Tensor):
            number = self._slots.get(id(value))
            if number is None:
                return value
            if number in self._stale:
                raise _InPlaceError("a value is changed in place and read through another view")
            return Slot(number)
        if isinstance(value, tuple | list):
            return type(value)(self._read(one) for one in value) if type(value) in (tuple, list) else value
        return value

    def _changed(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """An operation in place on its first operand, which has another slot from now on."""
        name = func._schema.name.partition("::")[2]
        changed = [i for i, one in enumerate(func._schema.arguments) if one.alias_info is not None]
        packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
        overload = func._overloadname
        if not name.endswith("_") or changed != [0] or packet is None or overload not in packet.overloads():
            raise UnrecordableError(f"{_told(func)} works in place")
        target: Tensor = args[0]
        before = self._slots.get(id(target))
        if before is None:
            raise _InPlaceError(f"{_told(func)} works in place on a parameter or constant")
        with self:
            made = getattr(packet, overload)(*args, **kwargs)
        if made.dtype != target.dtype or made.shape != target.shape or id(made) not in self._slots:
            raise UnrecordableError(f"{_told(func)} works in place")
        with torch.no_grad():
            func(*args, **kwargs)
        memory = self._memory[before]
        self._stale.update(i for i, one in enumerate(self._memory) if one == memory)
        number = self._slots[id(made)]
        self._slots[id(target)] = number
        self._memory[number] = memory
        return target

    def finished(self, returned: Sequence[Tensor]) -> Tape:
        """The tape, which keeps no values."""
        outputs = [self._read(tensor) for tensor in returned]
        self.tape.outputs = tuple(one.number if isinstance(one, Slot) else one for one in outputs)
        return self.tape


_ATEN: Final = torch.ops.aten
# Of the tensor that these read they take the shape alone.
_FILLED: Final = frozenset("empty_like full_like new_empty new_full new_ones new_zeros ones_like zeros_like".split())
# A value may lie otherwise in memory when the tape is run again.
_INSTEAD: Final[dict[Any, Any]] = dict.fromkeys(
    (_ATEN.view.default, _ATEN._unsafe_view.default, _ATEN._reshape_alias.default), _ATEN.reshape.default
)


def _has_slots(argument: Any) -> bool:
    if isinstance(argument, tuple | list):
        return any(map(_has_slots, argument))
    return isinstance(argument, Slot)


def _told(func: Any) -> str:
    return str(func._schema.name.partition("::")[2])
