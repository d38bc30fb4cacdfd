"""One operation of the graph being traced, met with Taylor coefficients among its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from curvcli.models.taylor.series import Coefficients, Contract, Series, constant
from curvcli.models.tensorflow.runtime import tensorflow


class NoRuleError(RuntimeError):
    """An operation can't be followed; its text names it."""


@dataclass(frozen=True)
class Call:
    """One operation of the graph being traced.

    Attributes:
        operation: it.
        series: per input; None where it does not depend on the directions.
        order: K.
        contract: what a rule may give the last coefficient to; None where it is wanted itself.
    """

    operation: Any
    series: tuple[Series | None, ...]
    order: int
    contract: Contract | None = None

    @property
    def value(self) -> Any:
        """Its first output."""
        return self.operation.outputs[0]

    def operand(self, place: int) -> Series:
        """An input as a series."""
        series = self.series[place]
        return constant(self.operation.inputs[place], self.order) if series is None else series

    def only(self, *places: int) -> None:
        """Check that no input but these depends on the directions.

        Raises:
            NoRuleError: another does.
        """
        for place, series in enumerate(self.series):
            if series is not None and place not in places:
                raise NoRuleError(f"{self.operation.type} by its input {place}")

    def attribute(self, name: str) -> Any:
        """Of the operation."""
        return self.operation.get_attr(name)


# → per output the coefficients 1 … K; None for an output that does not depend on the directions.
Rule = Callable[[Call], Sequence[Coefficients | None]]


class _Elementwise:
    """See ``elementary.Elementwise``."""

    def __getattr__(self, name: str) -> Any:
        return getattr(tensorflow().math, name)

    def where(self, condition: Any, chosen: Any, other: Any) -> Any:
        return tensorflow().where(condition, chosen, other)

    def like(self, condition: Any, x: Any) -> Any:
        return tensorflow().cast(condition, x.dtype)


ELEMENTWISE: Final = _Elementwise()


def lifted(series: Series, axes: int) -> list[Any]:
    """A series whose coefficients have so many axes behind that of the directions."""
    tf = tensorflow()
    coefficients = [
        None if c is None else tf.reshape(c, [c.shape[0], *[1] * (axes - len(c.shape) + 1), *c.shape[1:]])
        for c in series[1:]
    ]
    return [series[0], *coefficients]


def fitted(coefficient: Any, value: Any) -> Any:
    """A coefficient with the axes of a value, which may have more of them, or longer ones."""
    if coefficient is None:
        return None
    shape = [coefficient.shape[0], *value.shape]
    missing = len(shape) - len(coefficient.shape)
    tf = tensorflow()
    wide = tf.reshape(coefficient, [shape[0], *[1] * missing, *coefficient.shape[1:]])
    return wide if list(wide.shape) == shape else tf.broadcast_to(wide, shape)


def again(operation: Any, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of the same operation on other inputs."""
    graph = tensorflow().compat.v1.get_default_graph()
    attributes = {name: value for name, value in operation.node_def.attr.items() if not name.startswith("_")}
    dtypes = [output.dtype for output in operation.outputs]
    return list(graph.create_op(operation.type, list(inputs), dtypes, attrs=attributes).outputs)
