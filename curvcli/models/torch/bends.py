"""What is asked of an autograd graph to find the operations that bend a z; see ``models.bends``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curvcli.models.torch.graph import FACTORS, AutogradGraph, operation

# Where a value stands in the graph: the node that makes it, and which of the node's outputs it is.
Place = tuple[Any, int]
# Operations whose every entry depends on one entry of each operand, smooth and other ones.
_ONE_BY_ONE = frozenset(
    """Abs Acos Acosh Add Addcdiv Addcmul Alias Asin Asinh Atan Atan2 Atanh Celu Clamp ClampMax ClampMin Clone Cos Cosh
    Div Elu Erf Erfc Erfinv Exp Exp2 Expm1 Gelu Hardshrink Hardswish Hardtanh Hypot LeakyRelu Lerp Lgamma Log Log10
    Log1P Log2 LogSigmoid Logaddexp Logit MaskedFill Maximum Minimum Mish Mul NativeBatchNorm Neg Pow Reciprocal Relu
    Reshape ReshapeAlias Rsqrt Rsub Selu Sigmoid Silu Sin Sinc Sinh Softplus Softshrink Sqrt Squeeze SqueezeMultiple Sub
    Tan Tanh Threshold ToCopy UnsafeView Unsqueeze View Where Xlogy""".split()
)


class BendingOperations:
    """An autograd graph (see ``models.bends.Operations``)."""

    def __init__(self, graph: AutogradGraph) -> None:
        self._graph = graph

    @property
    def order(self) -> Sequence[Any]:
        return self._graph.nodes

    def bending(self, starts: Sequence[Sequence[Any]]) -> list[list[Any]]:
        return self._graph.bending(starts)

    def reads(self, node: Any) -> Sequence[Place]:
        return [(source, number) for source, number in node.next_functions if source is not None]

    def maker(self, place: Place) -> Any:
        return place[0]

    def output(self, node: Any) -> Place:
        return node, 0

    def factors(self, node: Any) -> Sequence[Place]:
        operands = node.next_functions
        return [operands[i] for i in FACTORS.get(operation(node), ()) if i < len(operands)]

    def one_by_one(self, node: Any) -> bool:
        name = operation(node)
        return name in _ONE_BY_ONE and not (name == "NativeBatchNorm" and node._saved_training)

    def shape(self, place: Place) -> tuple[int, ...] | None:
        source, number = place
        return None if source._input_metadata[number].dtype.is_complex else shape_of(place)


def shape_of(place: Place) -> tuple[int, ...]:
    """Of the value that stands there."""
    source, number = place
    return tuple(int(n) for n in source._input_metadata[number].shape)
