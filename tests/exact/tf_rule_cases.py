"""Weights directly in an operation: every rule of ``tensorflow.rules``, with arguments other than the defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .tf_operation_cases import convolved


@dataclass(frozen=True)
class Rule:
    """One use of a weight.

    Attributes:
        shape: of the weight.
        z: (tf, weight, inputs) → the operation's output; the inputs are x (n, 5), image (n, 5, 4, 4), tokens (n, 3).
        known: whether there is a canonical form for it.
        steps: where rows of a sample are n apart, how many it has; 0 where axis 0 is the samples'.
    """

    shape: tuple[int, ...]
    z: Callable[[Any, Any, Any], Any]
    known: bool = True
    steps: int = 0

    def samples_first(self, tf: Any, z: Any) -> Any:
        """With the samples as axis 0."""
        if not self.steps:
            return z
        shape = [self.steps, -1, *z.shape[1:]]
        return tf.transpose(tf.reshape(z, shape), (1, 0, *range(2, len(shape))))


def rows(tf: Any, given: Any) -> Any:
    """(n, 4, 4)."""
    return given["image"][:, 1]


def time_major(tf: Any, given: Any) -> Any:
    """(4 · n, 4): step by step."""
    return tf.reshape(tf.transpose(rows(tf, given), (1, 0, 2)), [-1, 4])


def conv(stride: list[int], padding: Any, dilation: list[int]) -> Callable[[Any, Any, Any], Any]:
    return lambda tf, w, given: convolved(tf, given["image"], w, stride, padding, rates=dilation)


def depthwise(stride: int, padding: Any, dilation: list[int]) -> Callable[[Any, Any, Any], Any]:
    return lambda tf, w, given: tf.nn.depthwise_conv2d(
        given["image"], w, [1, stride, stride, 1], padding, dilations=dilation
    )


def einsum(equation: str) -> Callable[[Any, Any, Any], Any]:
    return lambda tf, w, given: tf.einsum(equation, w, given["image"][:, :, :, :3])


def batched(name: str) -> list[Rule]:
    """Products of matrices in batches, the weight on the right."""

    def product(tf: Any, left: Any, right: Any, **flags: bool) -> Any:
        extra = {"Tout": left.dtype} if name.endswith("V3") else {}
        return getattr(tf.raw_ops, name)(x=left, y=right, **flags, **extra)

    plain = [
        Rule((4, 3), lambda tf, w, given: product(tf, given["x"][:, :4], w)),
        Rule((3, 4), lambda tf, w, given: product(tf, given["x"][:, :4], w, adj_y=True)),
        Rule((4, 4), lambda tf, w, given: product(tf, time_major(tf, given), w, adj_y=True), steps=4),
        Rule((4, 4), lambda tf, w, given: product(tf, given["x"][:, :4], tf.transpose(w), adj_y=True)),
    ]
    if name == "BatchMatMul":
        return plain
    return [
        *plain,
        Rule((4, 3), lambda tf, w, given: product(tf, rows(tf, given), w)),
        Rule((4, 4), lambda tf, w, given: product(tf, rows(tf, given), w, adj_y=True)),
        Rule((4, 4), lambda tf, w, given: product(tf, rows(tf, given), w, adj_x=True), known=False),
        Rule((4, 4), lambda tf, w, given: product(tf, w, rows(tf, given), adj_x=True), known=False),
        Rule((1, 4, 2), lambda tf, w, given: product(tf, rows(tf, given), w), known=False),
    ]


def elementwise(name: str) -> list[Rule]:
    """Sums, differences and products with broadcasting on both sides."""

    def call(tf: Any, left: Any, right: Any) -> Any:
        return getattr(tf.raw_ops, name)(x=left, y=right)

    return [
        Rule((5,), lambda tf, w, given: call(tf, given["x"], w)),
        Rule((5,), lambda tf, w, given: call(tf, w, given["x"])),
        Rule((), lambda tf, w, given: call(tf, given["x"], w)),
        Rule((1, 4, 1), lambda tf, w, given: call(tf, w, given["image"][:, 0])),
        Rule((5, 1, 4), lambda tf, w, given: call(tf, given["image"], w)),
        Rule((2, 5), lambda tf, w, given: call(tf, given["x"][:, None], tf.transpose(tf.reshape(w, [5, 2])))),
        Rule((4,), lambda tf, w, given: call(tf, time_major(tf, given), w), steps=4),
        Rule((3, 1), lambda tf, w, given: call(tf, given["x"][:, None, :2], tf.expand_dims(tf.squeeze(w, 1), -1))),
    ]


RULE_CASES: dict[str, list[Rule]] = {
    "Conv2D": [
        Rule((2, 3, 4, 2), conv([1, 1], "VALID", [1, 1])),
        Rule((2, 3, 4, 2), conv([2, 1], "SAME", [1, 1])),
        Rule((3, 2, 4, 2), conv([1, 1], "SAME", [2, 3])),
        Rule((2, 2, 4, 3), conv([2, 3], [[0, 0], [1, 0], [0, 2], [0, 0]], [1, 1])),
        Rule((2, 2, 4, 2), conv([1, 1], [[0, 0], [0, 2], [1, 1], [0, 0]], [2, 1])),
        Rule((2, 4, 2, 2), lambda tf, w, given: tf.nn.conv2d(given["image"], tf.transpose(w, (0, 2, 1, 3)), 1, "SAME")),
        Rule((2, 1, 2, 4), conv([1, 1], "VALID", [1, 1])),
        Rule((5, 4, 4, 3), conv([1, 1], "VALID", [1, 1])),
        Rule((3, 4, 2), lambda tf, w, given: tf.nn.conv1d(given["image"][:, :, 1], w, 2, "SAME")),
        Rule((2, 1, 4, 2), lambda tf, w, given: convolved(tf, given["image"][:, :, 1:2], w, 1, "VALID", rates=[2, 1])),
    ],
    "DepthwiseConv2dNative": [
        Rule((2, 2, 4, 1), depthwise(1, "VALID", [1, 1])),
        Rule((2, 3, 4, 2), depthwise(2, "SAME", [1, 1])),
        Rule((2, 3, 4, 2), depthwise(1, "VALID", [2, 1]), known=False),
        Rule((2, 2, 4, 2), depthwise(1, [[0, 0], [1, 0], [0, 2], [0, 0]], [1, 1])),
    ],
    "MatMul": [
        Rule((5, 3), lambda tf, w, given: tf.raw_ops.MatMul(a=given["x"], b=w)),
        Rule((5, 5), lambda tf, w, given: tf.raw_ops.MatMul(a=given["x"], b=w, transpose_b=True)),
        Rule((5, 5), lambda tf, w, given: tf.raw_ops.MatMul(a=given["x"], b=tf.transpose(w), transpose_b=True)),
        Rule((2, 10), lambda tf, w, given: tf.raw_ops.MatMul(a=given["x"], b=tf.reshape(w, [5, 4]))),
        Rule((4, 4), lambda tf, w, given: tf.raw_ops.MatMul(a=time_major(tf, given), b=w, transpose_b=True), steps=4),
        Rule((4, 3), lambda tf, w, given: tf.reshape(tf.matmul(tf.reshape(given["image"], [-1, 4]), w), [-1, 60])),
        Rule(
            (3, 5),
            lambda tf, w, given: tf.transpose(tf.raw_ops.MatMul(a=w, b=given["x"], transpose_b=True)),
            known=False,
        ),
        Rule(
            (5, 3),
            lambda tf, w, given: tf.raw_ops.MatMul(a=tf.transpose(given["x"]), b=w, transpose_a=True),
            known=False,
        ),
    ],
    "BatchMatMul": batched("BatchMatMul"),
    "BatchMatMulV2": batched("BatchMatMulV2"),
    "BatchMatMulV3": batched("BatchMatMulV3"),
    "Einsum": [
        Rule((3, 2), einsum("cd,nabc->nabd")),
        Rule((2, 3), einsum("dc,nabc->ndba")),
        Rule((3, 4, 2), einsum("cbd,nabc->nda")),
        Rule((4, 3, 2), einsum("bcd,nabc->nbda")),
        Rule((4,), einsum("b,nabc->ncab")),
        Rule((4, 2, 3), einsum("bdc,nabc->nabd")),
        Rule((5, 4), einsum("ab,nabc->nc"), known=True),
        Rule(
            (3, 2), lambda tf, w, given: tf.transpose(einsum("cd,nabc->abnd")(tf, w, given), (2, 0, 1, 3)), known=False
        ),
        Rule((3, 2), einsum("cd,nabc->nbd"), known=False),
        Rule((3, 3), lambda tf, w, given: tf.einsum("cc,nac->na", w, given["image"][:, 0, :, :3]), known=False),
    ],
    "BiasAdd": [
        Rule((5,), lambda tf, w, given: tf.nn.bias_add(given["x"], w)),
        Rule((4,), lambda tf, w, given: tf.nn.bias_add(given["image"], w)),
        Rule((2, 2), lambda tf, w, given: tf.nn.bias_add(given["image"], tf.reshape(tf.transpose(w), [4]))),
        Rule((4,), lambda tf, w, given: tf.nn.bias_add(time_major(tf, given), w), steps=4),
        Rule((5,), lambda tf, w, given: tf.raw_ops.BiasAdd(value=given["image"], bias=w, data_format="NCHW")),
    ],
    "Add": elementwise("Add"),
    "AddV2": elementwise("AddV2"),
    "Sub": elementwise("Sub"),
    "Mul": elementwise("Mul"),
    "GatherV2": [
        Rule((4, 3), lambda tf, w, given: tf.raw_ops.Gather(params=w, indices=given["tokens"])),
        Rule((4,), lambda tf, w, given: tf.raw_ops.Gather(params=w, indices=given["tokens"]), known=False),
        Rule((4, 3), lambda tf, w, given: tf.gather(w, given["tokens"])),
        Rule((4, 3), lambda tf, w, given: tf.gather(w, given["tokens"], axis=-2), known=False),
        Rule((4, 4), lambda tf, w, given: tf.gather(tf.transpose(w), given["tokens"]), known=False),
        Rule((3, 4), lambda tf, w, given: tf.transpose(tf.gather(w, given["tokens"], axis=1), (1, 2, 0)), known=False),
        Rule((4, 2), lambda tf, w, given: tf.gather(w, tf.reshape(tf.transpose(given["tokens"]), [-1])), steps=3),
        Rule((4, 2, 2), lambda tf, w, given: tf.gather(w, given["tokens"]), known=False),
    ],
}
