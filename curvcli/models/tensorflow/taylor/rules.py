"""How Taylor coefficients pass through TensorFlow's operations: one entry of a table each, built while tracing.

An operation without an entry ends the attempt: derivatives are then had by products. What the entries say is never
taken on trust: see ``curvature.pointwise.trial``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from curvcli.models.taylor.elementary import COEFFICIENTS, power
from curvcli.models.taylor.series import Coefficients, Series, composed, product, quotient, total
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.taylor import piecewise
from curvcli.models.tensorflow.taylor.call import ELEMENTWISE, Call, NoRuleError, Rule, again, fitted, lifted


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
        table = COEFFICIENTS[name](ELEMENTWISE, series[0], call.value, call.order)
        return [composed(table, series, call.contract)]

    return rule


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
    terms, returned = equation.split("->")
    labels = terms.split(",")
    if len(labels) != 2 or "." in equation:
        raise NoRuleError(f"Einsum {equation}")
    new = next(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation)
    values = [call.operation.inputs[0], call.operation.inputs[1]]

    def multiply(a: Any, b: Any) -> Any:
        led = [new * (len(one.shape) > len(value.shape)) for one, value in zip((a, b), values, strict=True)]
        return tf.einsum(f"{led[0]}{labels[0]},{led[1]}{labels[1]}->{new}{returned}", a, b)

    return [product(multiply, call.operand(0), call.operand(1))]


def _exponentials(call: Call) -> tuple[list[Any], list[Any]]:
    """Of x up to a factor, and their sum over the last axis, as series."""
    tf = tensorflow()
    x = call.operand(0)
    largest = tf.stop_gradient(tf.reduce_max(x[0], axis=-1, keepdims=True))
    value = tf.exp(x[0] - largest)
    series = [value, *composed(COEFFICIENTS["exp"](ELEMENTWISE, x[0], value, call.order), x)]
    return series, [None if c is None else tf.reduce_sum(c, axis=-1, keepdims=True) for c in series]


def _softmax(call: Call) -> Sequence[Coefficients | None]:
    return [quotient(call.value, *_exponentials(call))]


def _log_softmax(call: Call) -> Sequence[Coefficients | None]:
    _, sums = _exponentials(call)
    logarithm: list[Any] = composed(COEFFICIENTS["log"](ELEMENTWISE, sums[0], None, call.order), sums)
    pairs = zip(call.operand(0)[1:], logarithm, strict=True)
    return [[total([x, None if s is None else fitted(-s, call.value)]) for x, s in pairs]]


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
    "LeakyRelu": piecewise.leaky,
    "LogSoftmax": _log_softmax,
    "MatMul": _matrices(("transpose_a", "transpose_b")),
    "Max": piecewise.extreme,
    "MaxPool": piecewise.max_pool,
    "Maximum": piecewise.of_two(1.0),
    "Min": piecewise.extreme,
    "Minimum": piecewise.of_two(-1.0),
    "MirrorPad": _mirrored,
    "Mul": _times,
    "Pack": _linear(),
    "PadV2": _linear(0, 2),
    "PlaceholderWithDefault": _same,
    "Pow": _power,
    "RealDiv": _divided,
    "ResizeBicubic": _batchwise,
    "ResizeNearestNeighbor": _batchwise,
    "Select": piecewise.selected,
    "SelectV2": piecewise.selected,
    "Softmax": _softmax,
    "SpaceToDepth": _batchwise,
    "Split": _linear(1),
    "SquaredDifference": _squared_difference,
    "Sub": _added(-1.0),
}
