"""How Taylor coefficients pass through TensorFlow's operations: one entry of a table each, built while tracing.

An operation without an entry ends the attempt: derivatives are then had by products. What the entries say is never
taken on trust: see ``curvature.pointwise.trial``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from curvcli.models.taylor.elementary import COEFFICIENTS, power
from curvcli.models.taylor.series import Coefficients, Contract, Series, composed, constant, product, quotient, total
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


_OPS: Final = _Elementwise()


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


def _linear(*operands: int) -> Rule:
    """Of an operation that is linear in these inputs together: it is applied to the coefficients."""

    def rule(call: Call) -> Sequence[Coefficients | None]:
        tf = tensorflow()
        places = operands or tuple(range(len(call.series)))
        call.only(*places)
        active = [place for place, series in enumerate(call.series) if series is not None]
        outputs: list[Coefficients] = [[] for _ in call.operation.outputs]
        for k in range(1, call.order + 1):
            present = [place for place in active if call.operand(place)[k] is not None]
            if not present:
                for output in outputs:
                    output.append(None)
                continue

            def applied(coefficients: Sequence[Any], present: Sequence[int] = present) -> Any:
                inputs = [
                    tf.zeros_like(x) if i in places and x.dtype.is_floating else x
                    for i, x in enumerate(call.operation.inputs)
                ]
                for place, coefficient in zip(present, coefficients, strict=True):
                    inputs[place] = coefficient
                return again(call.operation, inputs)

            elements = [call.operand(place)[k] for place in present]
            made = tf.vectorized_map(applied, elements, fallback_to_while_loop=False)
            for output, part in zip(outputs, made, strict=True):
                output.append(part)
        return outputs

    return rule


def _batchwise(call: Call) -> Sequence[Coefficients | None]:
    """Of an operation that is linear in input 0, sample by sample: directions are further samples."""
    call.only(0)
    tf = tensorflow()
    coefficients: Coefficients = []
    for c in call.operand(0)[1:]:
        if c is None:
            coefficients.append(None)
            continue
        samples = tf.reshape(c, [c.shape[0] * c.shape[1], *c.shape[2:]])
        (made,) = again(call.operation, [samples, *call.operation.inputs[1:]])
        coefficients.append(tf.reshape(made, [c.shape[0], c.shape[1], *made.shape[1:]]))
    return [coefficients]


def _mirrored(call: Call) -> Sequence[Coefficients | None]:
    """No directions are added at either end."""
    call.only(0)
    tf = tensorflow()
    paddings = tf.pad(call.operation.inputs[1], [[1, 0], [0, 0]])
    return [[None if c is None else again(call.operation, [c, paddings])[0] for c in call.operand(0)[1:]]]


def _same(call: Call) -> Sequence[Coefficients | None]:
    """The numbers themselves, or with something added that is constant."""
    return [None if series is None else list(series[1:]) for series in call.series[: len(call.operation.outputs)]]


def _cast(call: Call) -> Sequence[Coefficients | None]:
    cast = tensorflow().cast
    return [[None if c is None else cast(c, call.value.dtype) for c in call.operand(0)[1:]]]


def _bent(name: str) -> Rule:
    """Of an elementary function, entry by entry."""

    def rule(call: Call) -> Sequence[Coefficients | None]:
        series = call.operand(0)
        table = COEFFICIENTS[name](_OPS, series[0], call.value, call.order)
        return [composed(table, series, call.contract)]

    return rule


def _leaky(call: Call) -> Sequence[Coefficients | None]:
    x: Any = call.operand(0)[0]
    positive = _OPS.like(x > 0, x)
    return _masked(call, positive + (1.0 - positive) * call.attribute("alpha"))


def _masked(call: Call, slopes: Any) -> Sequence[Coefficients | None]:
    return [[None if c is None else c * slopes for c in call.operand(0)[1:]]]


def _added(sign: float) -> Rule:
    def rule(call: Call) -> Sequence[Coefficients | None]:
        coefficients: Coefficients = []
        for left, right in zip(call.operand(0)[1:], call.operand(1)[1:], strict=True):
            first, second = fitted(left, call.value), fitted(right, call.value)
            coefficients.append(total([first, second if second is None or sign > 0 else -second]))
        return [coefficients]

    return rule


def _sum_of_all(call: Call) -> Sequence[Coefficients | None]:
    columns = zip(*(call.operand(place)[1:] for place in range(len(call.series))), strict=True)
    return [[total(list(column)) for column in columns]]


def _times(call: Call) -> Sequence[Coefficients | None]:
    return [_multiplied(call, call.operand(0), call.operand(1))]


def _multiplied(call: Call, left: Series, right: Series) -> Coefficients:
    axes = len(call.value.shape)
    made = product(lambda a, b: a * b, lifted(left, axes), lifted(right, axes))
    return [fitted(c, call.value) for c in made]


def _squared_difference(call: Call) -> Sequence[Coefficients | None]:
    axes = len(call.value.shape)
    left, right = lifted(call.operand(0), axes), lifted(call.operand(1), axes)
    difference = [left[0] - right[0]]
    for first, second in zip(left[1:], right[1:], strict=True):
        difference.append(total([fitted(first, call.value), None if second is None else -fitted(second, call.value)]))
    table = power(difference[0], 2.0, call.order)
    return [composed(table, difference, call.contract)]


def _divided(call: Call) -> Sequence[Coefficients | None]:
    axes = len(call.value.shape)
    made = quotient(call.value, lifted(call.operand(0), axes), lifted(call.operand(1), axes))
    return [[fitted(c, call.value) for c in made]]


def _power(call: Call) -> Sequence[Coefficients | None]:
    call.only(0)
    exponent = tensorflow().get_static_value(call.operation.inputs[1])
    if exponent is None or np.size(exponent) != 1:
        raise NoRuleError("Pow by a tensor")
    table = power(call.operand(0)[0], float(np.reshape(exponent, ())), call.order)
    return [composed(table, call.operand(0), call.contract)]


def _matrices(transposed: tuple[str, str]) -> Rule:
    def rule(call: Call) -> Sequence[Coefficients | None]:
        matmul = tensorflow().linalg.matmul
        first, second = (bool(call.attribute(name)) for name in transposed)
        axes = len(call.value.shape)
        left, right = lifted(call.operand(0), axes), lifted(call.operand(1), axes)

        def multiply(a: Any, b: Any) -> Any:
            if len(a.shape) == 3 and len(b.shape) == 2 and not first:
                # One matrix for all directions, whose rows are further rows.
                tf = tensorflow()
                rows = tf.reshape(a, [a.shape[0] * a.shape[1], a.shape[2]])
                made = matmul(rows, b, transpose_b=second)
                return tf.reshape(made, [a.shape[0], a.shape[1], made.shape[1]])
            return matmul(a, b, transpose_a=first, transpose_b=second)

        return [product(multiply, left, right)]

    return rule


def _einsum(call: Call) -> Sequence[Coefficients | None]:
    """The directions' axis is led through to the result."""
    tf = tensorflow()
    equation = call.attribute("equation").decode()
    terms, result = equation.split("->")
    labels = terms.split(",")
    if len(labels) != 2 or "." in equation:
        raise NoRuleError(f"Einsum {equation}")
    new = next(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation)
    values = [call.operation.inputs[0], call.operation.inputs[1]]

    def multiply(a: Any, b: Any) -> Any:
        led = [new * (len(one.shape) > len(value.shape)) for one, value in zip((a, b), values, strict=True)]
        return tf.einsum(f"{led[0]}{labels[0]},{led[1]}{labels[1]}->{new}{result}", a, b)

    return [product(multiply, call.operand(0), call.operand(1))]


def _exponentials(call: Call) -> tuple[list[Any], list[Any]]:
    """Of x up to a factor, and their sum over the last axis, as series."""
    tf = tensorflow()
    x = call.operand(0)
    largest = tf.stop_gradient(tf.reduce_max(x[0], axis=-1, keepdims=True))
    value = tf.exp(x[0] - largest)
    series = [value, *composed(COEFFICIENTS["exp"](_OPS, x[0], value, call.order), x)]
    return series, [None if c is None else tf.reduce_sum(c, axis=-1, keepdims=True) for c in series]


def _softmax(call: Call) -> Sequence[Coefficients | None]:
    return [quotient(call.value, *_exponentials(call))]


def _log_softmax(call: Call) -> Sequence[Coefficients | None]:
    _, sums = _exponentials(call)
    logarithm: list[Any] = composed(COEFFICIENTS["log"](_OPS, sums[0], None, call.order), sums)
    pairs = zip(call.operand(0)[1:], logarithm, strict=True)
    return [[total([x, None if s is None else fitted(-s, call.value)]) for x, s in pairs]]


def _extreme(call: Call) -> Sequence[Coefficients | None]:
    """Of ``Max`` and ``Min`` along axes: the mean of those that are equal, as the gradient has it."""
    call.only(0)
    tf = tensorflow()
    axes = tf.get_static_value(call.operation.inputs[1])
    if axes is None:
        raise NoRuleError(f"{call.operation.type} along axes that are computed")
    x: Any = call.operand(0)[0]
    places = [int(axis) % len(x.shape) for axis in np.reshape(axes, -1)]
    kept = [1 if i in places else n for i, n in enumerate(x.shape)]
    mask = tf.cast(tf.equal(x, tf.reshape(call.value, kept)), x.dtype)
    mask /= tf.reduce_sum(mask, axis=places, keepdims=True)
    behind = [place + 1 for place in places]
    keep = bool(call.attribute("keep_dims"))
    return [[None if c is None else tf.reduce_sum(c * mask, axis=behind, keepdims=keep) for c in call.operand(0)[1:]]]


def _of_two(sign: float) -> Rule:
    """Of ``Maximum`` and ``Minimum``: the first where they are equal."""

    def rule(call: Call) -> Sequence[Coefficients | None]:
        axes = len(call.value.shape)
        left, right = lifted(call.operand(0), axes), lifted(call.operand(1), axes)
        share = _OPS.like((left[0] - right[0]) * sign >= 0, call.value)
        coefficients = []
        for first, second in zip(left[1:], right[1:], strict=True):
            terms = [None if first is None else first * share, None if second is None else second * (1.0 - share)]
            coefficients.append(fitted(total(terms), call.value))
        return [coefficients]

    return rule


def _max_pool(call: Call) -> Sequence[Coefficients | None]:
    call.only(0)
    tf = tensorflow()
    x: Any = call.operand(0)[0]
    if call.attribute("data_format") != b"NHWC" or call.attribute("padding") == b"EXPLICIT":
        raise NoRuleError("MaxPool with channels first, or padding of its own")
    _, places = tf.nn.max_pool_with_argmax(
        x, call.attribute("ksize"), call.attribute("strides"), call.attribute("padding").decode()
    )
    samples = x.shape[0]
    index = tf.reshape(places, [samples, -1])

    def chosen(c: Any) -> Any:
        made = tf.gather(tf.reshape(c, [samples, -1]), index, axis=1, batch_dims=1)
        return tf.reshape(made, call.value.shape)

    return [
        [None if c is None else tf.vectorized_map(chosen, c, fallback_to_while_loop=False) for c in call.operand(0)[1:]]
    ]


def _selected(call: Call) -> Sequence[Coefficients | None]:
    """One of inputs 1 and 2 by input 0."""
    tf = tensorflow()
    condition = call.operation.inputs[0]
    axes = len(call.value.shape)
    if call.operation.type == "Select" and len(condition.shape) != axes:
        raise NoRuleError("Select by a vector")
    left, right = lifted(call.operand(1), axes), lifted(call.operand(2), axes)
    share = tf.cast(condition, call.value.dtype)
    coefficients = []
    for first, second in zip(left[1:], right[1:], strict=True):
        terms = [None if first is None else first * share, None if second is None else second * (1.0 - share)]
        coefficients.append(fitted(total(terms), call.value))
    return [coefficients]


_SAME_NAME = """
    Abs Acos Acosh Asin Asinh Atan Atanh Cos Cosh Elu Erf Erfc Exp Expm1 Log Log1p Neg Reciprocal Relu Relu6 Rsqrt Selu
    Sigmoid Sin Sinh Softplus Sqrt Square Tan Tanh
    """.split()
_LINEAR_IN_FIRST = """
    BatchToSpaceND BroadcastTo Conv2DBackpropInput Cumsum EnsureShape ExpandDims GatherNd GatherV2
    MatrixBandPart Mean Pad Reshape ReverseV2 Roll Slice SpaceToBatchND
    SplitV Squeeze StridedSlice Sum Tile Transpose Unpack
    """.split()

RULES: Final[dict[str, Rule]] = {
    **{name: _linear(0) for name in _LINEAR_IN_FIRST},
    **{name: _bent(name.lower()) for name in _SAME_NAME},
    "Add": _added(1.0),
    "AddN": _sum_of_all,
    "AddV2": _added(1.0),
    "AvgPool": _batchwise,
    "AvgPool3D": _batchwise,
    "BatchMatMul": _matrices(("adj_x", "adj_y")),
    "BatchMatMulV2": _matrices(("adj_x", "adj_y")),
    "BatchMatMulV3": _matrices(("adj_x", "adj_y")),
    "BiasAdd": _same,
    "Cast": _cast,
    "ConcatV2": _linear(),
    "Conv2D": _batchwise,
    "Conv2DBackpropInput": _linear(2),
    "Conv3D": _batchwise,
    "DepthToSpace": _batchwise,
    "DepthwiseConv2dNative": _batchwise,
    "Div": _divided,
    "Einsum": _einsum,
    "Identity": _same,
    "IdentityN": _same,
    "Inv": _bent("reciprocal"),
    "LeakyRelu": _leaky,
    "LogSoftmax": _log_softmax,
    "MatMul": _matrices(("transpose_a", "transpose_b")),
    "Max": _extreme,
    "MaxPool": _max_pool,
    "Maximum": _of_two(1.0),
    "Min": _extreme,
    "Minimum": _of_two(-1.0),
    "MirrorPad": _mirrored,
    "Mul": _times,
    "Pack": _linear(),
    "PadV2": _linear(0, 2),
    "PlaceholderWithDefault": _same,
    "Pow": _power,
    "RealDiv": _divided,
    "ResizeBicubic": _batchwise,
    "ResizeNearestNeighbor": _batchwise,
    "Select": _selected,
    "SelectV2": _selected,
    "Softmax": _softmax,
    "SpaceToDepth": _batchwise,
    "Split": _linear(1),
    "SquaredDifference": _squared_difference,
    "Sub": _added(-1.0),
}
