"""One operation met with Taylor coefficients among its operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from curvcli.models.taylor.series import Coefficients, Contract, Series, constant
from curvcli.models.torch.taylor.tape import Node


class NoRuleError(RuntimeError):
    """An operation can't be followed; its text names it."""


@dataclass(frozen=True, eq=False)
class Jet:
    """A tensor along several directions.

    Attributes:
        series: its value, and its coefficients 1 … K, each with an axis for the directions before the value's own.
        rows: which directions those are, of the chunk; None for all. Along the others it does not change.
    """

    series: Series
    rows: tuple[int, ...] | None = None

    @property
    def value(self) -> Tensor:
        """At the point itself."""
        value = self.series[0]
        assert isinstance(value, Tensor)
        return value


@dataclass(frozen=True)
class Call:
    """An operation with its operands.

    Attributes:
        node: on the tape.
        arguments: in order; jets along the same directions where they depend on those.
        values: what the operation returned, one per output.
        order: K.
        contract: what a rule may give the last coefficient to; None where it is wanted itself.
    """

    node: Node
    arguments: tuple[Any, ...]
    values: tuple[Tensor, ...]
    order: int
    contract: Contract | None = None

    def argument(self, name: str, otherwise: Any = None) -> Any:
        """An argument by its name in the operation's schema."""
        for place, one in enumerate(self.node.function._schema.arguments):
            if one.name == name:
                if place < len(self.arguments):
                    return self.arguments[place]
                return self.node.keywords.get(name, one.default_value if one.has_default_value() else otherwise)
        return otherwise

    def series(self, place: int) -> Series:
        """An operand as a series, plain numbers included."""
        operand = self.arguments[place]
        return operand.series if isinstance(operand, Jet) else constant(operand, self.order)

    def only(self, *places: int) -> None:
        """Check that no operand but these depends on the directions.

        Raises:
            NoRuleError: another does.
        """
        for place, operand in enumerate(self.arguments):
            if place not in places and any(True for _ in jets_of(operand)):
                raise NoRuleError(f"{self.node.name} by its operand {place}")


# → per output the coefficients 1 … K; None for an output that does not depend on the directions.
Rule = Callable[[Call], Sequence[Coefficients | None]]


def jets_of(argument: Any) -> list[Jet]:
    """The jets in an argument, those in its lists included."""
    if isinstance(argument, Jet):
        return [argument]
    if isinstance(argument, list | tuple):
        return [jet for one in argument for jet in jets_of(one)]
    return []


def fitted(coefficient: Tensor | None, value: Tensor) -> Tensor | None:
    """A coefficient with the axes of a value, which may have more of them, or longer ones."""
    if coefficient is None:
        return None
    missing = value.dim() - (coefficient.dim() - 1)
    shape = (coefficient.shape[0], *[1] * missing, *coefficient.shape[1:])
    return coefficient.reshape(shape).expand(coefficient.shape[0], *value.shape)


def lifted(series: Series, axes: int) -> list[Any]:
    """A series whose coefficients have so many axes behind that of the directions."""
    coefficients = [
        None if c is None else c.reshape(c.shape[0], *[1] * (axes - c.dim() + 1), *c.shape[1:]) for c in series[1:]
    ]
    return [series[0], *coefficients]


def substituted(argument: Any, jets: dict[int, Tensor], *, linear: bool) -> Any:
    """An argument with tensors in the place of jets; where it is a linear operand, zeros in that of all else."""
    if isinstance(argument, Jet):
        return jets[id(argument)]
    if isinstance(argument, list | tuple):
        return [substituted(one, jets, linear=linear) for one in argument]
    if not linear:
        return argument
    if isinstance(argument, Tensor):
        return torch.zeros_like(argument)
    return 0 if isinstance(argument, int | float) else argument
