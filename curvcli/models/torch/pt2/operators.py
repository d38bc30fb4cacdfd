"""The operators that an exported graph may name, and what each of them is here.

Names are looked up in lists, never followed from module to module: a graph that names anything else is refused.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from curvcli.models.torch.allowed import ATEN
from curvcli.models.torch.pt2.fields import MisfitError, shown
from curvcli.models.torch.pt2.nested import NESTED

_SIZES: Final = frozenset(
    "sym_size sym_numel sym_stride sym_storage_offset sym_constrain_range sym_constrain_range_for_size".split()
)
# Derivatives that somebody else wrote down trust their caller with indices; an exported network has none.
_TENSORS: Final = frozenset(name for name in ATEN if "backward" not in name and "_jvp" not in name) | _SIZES
# What a size computed from sizes may be: powers of powers would take for ever.
_LARGEST: Final = 1 << 62
_EXPONENT: Final = 64


@dataclass(frozen=True)
class Operator:
    """What a node of a graph calls.

    Attributes:
        target: its name in the file.
        function: what it does.
        positional: the names of its arguments, in order; None if they are given in order.
        keywords: the names of further ones, which can't be given in order.
        draws: whether it may draw random numbers.
        mutates: whether it changes one of its arguments.
    """

    target: str
    function: Callable[..., Any]
    positional: tuple[str, ...] | None = None
    keywords: tuple[str, ...] = ()
    draws: bool = False
    mutates: bool = False

    @property
    def name(self) -> str:
        """As a person reads it."""
        return self.target.removeprefix("torch.ops.aten.").removesuffix(".default")


def operator_of(target: str) -> Operator:
    """What a graph calls by a name.

    Raises:
        MisfitError: it is not on the list.
    """
    if target in _NUMBERS:
        return Operator(target, _bounded(_NUMBERS[target]))
    if target in NESTED:
        return Operator(target, NESTED[target])
    place, _, overload = target.rpartition(".")
    name = place.removeprefix("torch.ops.aten.")
    if name != place and name in _TENSORS and overload != "out" and not overload.endswith("_out"):
        packet = getattr(torch.ops.aten, name, None)
        if packet is not None and overload in packet.overloads():
            operator = _tensor_operator(target, getattr(packet, overload))
            return replace(operator, function=_INSTEAD.get(name, operator.function))
    if name != place and name in ATEN and name not in _TENSORS:
        raise MisfitError(
            f"its graph takes a derivative itself ({shown(name)}), whose own derivatives PyTorch lacks or gets wrong",
            "Write the derivative's formula out in the network, or call torch.autograd.grad in it and save it by "
            "torch.jit.script.",
        )
    raise MisfitError(
        f"its graph uses {shown(target)}, which curvcli does not run: it is no operation of torch's own on tensors, or "
        "may touch files, other processes or memory that is not its own",
        "Export the network without it.",
    )


def _tensor_operator(target: str, function: Any) -> Operator:
    arguments = function._schema.arguments
    return Operator(
        target,
        function,
        tuple(one.name for one in arguments if not one.kwarg_only),
        tuple(one.name for one in arguments if one.kwarg_only),
        torch.Tag.nondeterministic_seeded in function.tags,
        function._schema.is_mutable,
    )


def _nothing(*_: Any, **__: Any) -> None: ...


_INSTEAD: Final[dict[str, Callable[..., Any]]] = {
    # Holds dtypes and layouts against those of the export, which need not be the ones that are computed in.
    "_assert_tensor_metadata": _nothing,
    # What is changed in place through it, autograd does not see.
    "data": torch.ops.aten.detach.default,
}


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of sizes, for results that a size could have."""

    def bounded(*numbers: Any) -> Any:
        number = function(*numbers)
        if isinstance(number, int) and abs(number) > _LARGEST:
            raise RuntimeError("a size is computed that no tensor can have")
        return number

    return bounded


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and abs(exponent) > _EXPONENT:
        raise RuntimeError("a size is computed that no tensor can have")
    return base**exponent


def _shifted(base: Any, places: Any) -> Any:
    return base * _power(2, places)


def _chosen(condition: Any, first: Any, second: Any) -> Any:
    return first if condition else second


def _total(numbers: Any) -> Any:
    return sum(numbers)


_NUMBERS: Final[dict[str, Callable[..., Any]]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in "eq ne le ge lt gt neg pos mul add sub floordiv mod truediv and_ or_ rshift not_ abs".split()
    },
    "_operator.pow": _power,
    "_operator.lshift": _shifted,
    **{f"math.{name}": getattr(math, name) for name in "trunc floor ceil sqrt".split()},
    "torch.sym_not": operator.not_,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_ite": _chosen,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_sum": _total,
    "torch.sym_sqrt": math.sqrt,
    "torch._sym_sqrt": math.sqrt,
}
