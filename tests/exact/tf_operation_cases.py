"""One branch of a network per operation and per way of using it: every entry of the tables in ``tf_operations``.

A branch gets z, (n, 12), which is linear in its weight, and the inputs x, (n, 5); what it returns is raveled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Branch = Callable[[Any, Any, Any], Any]
SIGNS = np.array([1.0, -2.0, 0.5, -1.5, 3.0, -0.25, 2.0, -1.0, 0.75, -0.5, 1.25, -3.0])


def raw(tf: Any, name: str, **arguments: Any) -> Any:
    return getattr(tf.raw_ops, name)(**arguments)


def image(tf: Any, z: Any) -> Any:
    """(n, 2, 3, 2)."""
    return tf.reshape(z, [-1, 2, 3, 2])


def volume(tf: Any, z: Any) -> Any:
    """(n, 2, 3, 2, 1)."""
    return tf.reshape(z, [-1, 2, 3, 2, 1])


def table(tf: Any, z: Any) -> Any:
    """(n, 3, 4)."""
    return tf.reshape(z, [-1, 3, 4])


def like(tf: Any, z: Any, *shape: int) -> Any:
    """Fixed numbers of z's dtype."""
    values = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    return tf.cast(tf.constant(values), z.dtype)


def leading(tf: Any, z: Any, parts: int, *shape: int) -> Any:
    """(parts · n, …), the parts of one sample n apart."""
    split = tf.reshape(z, [-1, parts, *shape])
    return tf.reshape(tf.transpose(split, (1, 0, *range(2, split.shape.rank))), [-1, *shape])


def convolved(tf: Any, x: Any, w: Any, strides: Any, padding: Any, *, rates: list[int]) -> Any:
    """A convolution; in float64, where a CPU lacks derivatives, kernels are spread by matrices and groups are split."""
    if x.dtype != tf.float64:
        return tf.nn.conv2d(x, w, strides, padding, dilations=rates)
    spread = [np.zeros(((n - 1) * rate + 1, n)) for n, rate in zip(w.shape[:2], rates, strict=True)]
    for matrix, rate in zip(spread, rates, strict=True):
        matrix[np.arange(matrix.shape[1]) * rate, np.arange(matrix.shape[1])] = 1
    wide = tf.einsum("Hh,Ww,hwio->HWio", *spread, w)
    groups = x.shape[3] // w.shape[2]
    pairs = zip(tf.split(x, groups, 3), tf.split(wide, groups, 3), strict=True)
    return tf.concat([tf.nn.conv2d(a, b, strides, padding) for a, b in pairs], 3)


def second(tf: Any, z: Any) -> Any:
    """Another tensor like z, that depends on it."""
    return z[:, ::-1] * tf.cast(SIGNS.astype(np.float32), z.dtype)


PIECEWISE: dict[str, list[Branch]] = {
    "Abs": [lambda tf, z, x: tf.abs(z)],
    "Add": [lambda tf, z, x: raw(tf, "Add", x=z, y=second(tf, z)), lambda tf, z, x: raw(tf, "Add", x=z, y=x[:, :1])],
    "AddN": [lambda tf, z, x: tf.add_n([z, second(tf, z), 2 * z])],
    "AddV2": [lambda tf, z, x: raw(tf, "AddV2", x=z[:, :3, None], y=second(tf, z)[:, None, :4])],
    "AvgPool": [
        lambda tf, z, x: tf.nn.avg_pool2d(image(tf, z), (2, 2), (1, 2), "SAME"),
        lambda tf, z, x: tf.nn.avg_pool2d(image(tf, z), (1, 3), 1, "VALID"),
    ],
    "BatchToSpace": [
        lambda tf, z, x: raw(tf, "BatchToSpace", input=leading(tf, z, 4, 1, 3, 1), crops=[[0, 0], [0, 1]], block_size=2)
    ],
    "BatchToSpaceND": [lambda tf, z, x: tf.batch_to_space(leading(tf, z, 2, 3, 2), [2], [[1, 0]])],
    "BiasAdd": [lambda tf, z, x: tf.nn.bias_add(image(tf, z), like(tf, z, 2))],
    "BroadcastTo": [lambda tf, z, x: tf.broadcast_to(z[:, None], [tf.shape(z)[0], 2, 12])],
    "Cast": [
        lambda tf, z, x: tf.cast(
            tf.cast(z, tf.complex128 if z.dtype == tf.float64 else tf.complex64)
            * (tf.constant(2 + 3j, tf.complex128 if z.dtype == tf.float64 else tf.complex64)),
            z.dtype,
        ),
        lambda tf, z, x: z * tf.cast(tf.cast(z, tf.int32), z.dtype),
    ],
    "ConcatV2": [lambda tf, z, x: tf.concat([z[:, :3], second(tf, z), x], -1)],
    "Cumsum": [
        lambda tf, z, x: tf.cumsum(table(tf, z), axis=1, exclusive=True),
        lambda tf, z, x: tf.cumsum(table(tf, z), axis=-1, reverse=True),
        lambda tf, z, x: tf.cumsum(table(tf, z), axis=2, exclusive=True, reverse=True),
    ],
    "DepthToSpace": [lambda tf, z, x: tf.nn.depth_to_space(tf.reshape(z, [-1, 1, 3, 4]), 2)],
    "EnsureShape": [lambda tf, z, x: tf.ensure_shape(z, (None, 12))],
    "ExpandDims": [lambda tf, z, x: tf.expand_dims(z, -2)],
    "GatherNd": [
        lambda tf, z, x: tf.gather_nd(table(tf, z), tf.tile([[[2, 1], [0, 3]]], [tf.shape(z)[0], 1, 1]), batch_dims=1)
    ],
    "GatherV2": [
        lambda tf, z, x: tf.transpose(
            raw(tf, "Gather", params=tf.transpose(z), indices=tf.constant([3, 0, 3, 7])), (1, 0)
        ),
        lambda tf, z, x: tf.gather(table(tf, z), [2, 2, 0], axis=-1),
        lambda tf, z, x: tf.gather(table(tf, z), tf.argsort(x[:, :3], axis=1), axis=1, batch_dims=1),
    ],
    "Identity": [lambda tf, z, x: tf.identity(z)],
    "IdentityN": [lambda tf, z, x: tf.concat(tf.identity_n([z, second(tf, z)[:, :3]])[::-1], 1)],
    "LeakyRelu": [lambda tf, z, x: tf.nn.leaky_relu(z, 0.75), lambda tf, z, x: tf.nn.leaky_relu(z, -0.5)],
    "MatrixBandPart": [lambda tf, z, x: tf.linalg.band_part(table(tf, z), 1, 0)],
    "Max": [
        lambda tf, z, x: tf.reduce_max(table(tf, z), axis=1),
        lambda tf, z, x: tf.reduce_max(table(tf, z), axis=(1, 2), keepdims=True),
    ],
    "MaxPool": [
        lambda tf, z, x: tf.nn.max_pool2d(image(tf, z), (2, 2), (1, 2), "SAME"),
        lambda tf, z, x: tf.nn.max_pool2d(image(tf, z), 2, 1, [[0, 0], [1, 0], [0, 1], [0, 0]]),
    ],
    "MaxPoolV2": [
        lambda tf, z, x: raw(
            tf, "MaxPoolV2", input=image(tf, z), ksize=[1, 2, 2, 1], strides=[1, 1, 2, 1], padding="SAME"
        )
    ],
    "Maximum": [lambda tf, z, x: tf.maximum(z, second(tf, z)), lambda tf, z, x: tf.maximum(z, 0.25)],
    "Mean": [lambda tf, z, x: tf.reduce_mean(table(tf, z), 1), lambda tf, z, x: tf.reduce_mean(z, -1, keepdims=True)],
    "Min": [lambda tf, z, x: tf.reduce_min(table(tf, z), axis=-1)],
    "Minimum": [lambda tf, z, x: tf.minimum(z, second(tf, z))],
    "MirrorPad": [
        lambda tf, z, x: tf.pad(table(tf, z), [[0, 0], [1, 2], [0, 1]], "REFLECT"),
        lambda tf, z, x: tf.pad(table(tf, z), [[0, 0], [0, 2], [1, 1]], "SYMMETRIC"),
    ],
    "Neg": [lambda tf, z, x: -z],
    "Pack": [lambda tf, z, x: tf.stack([z, second(tf, z)], axis=1)],
    "Pad": [lambda tf, z, x: raw(tf, "Pad", input=z, paddings=[[0, 0], [2, 1]])],
    "PadV2": [
        lambda tf, z, x: tf.pad(z, [[0, 0], [2, 1]], constant_values=0.75),
        lambda tf, z, x: tf.pad(z, [[0, 0], [1, 0]], constant_values=tf.reduce_sum(x)),
    ],
    "PlaceholderWithDefault": [lambda tf, z, x: raw(tf, "PlaceholderWithDefault", input=z, shape=[None, 12])],
    "Relu": [lambda tf, z, x: tf.nn.relu(z)],
    "Relu6": [lambda tf, z, x: tf.nn.relu6(4 * z)],
    "Reshape": [lambda tf, z, x: tf.reshape(z, [-1, 4, 3])],
    "ResizeNearestNeighbor": [
        lambda tf, z, x: tf.compat.v1.image.resize_nearest_neighbor(image(tf, z), (3, 5), align_corners=True),
        lambda tf, z, x: tf.image.resize(image(tf, z), (4, 2), "nearest"),
    ],
    "Reverse": [lambda tf, z, x: raw(tf, "Reverse", tensor=table(tf, z), dims=[False, True, False])],
    "ReverseV2": [lambda tf, z, x: tf.reverse(table(tf, z), [1, -1])],
    "Roll": [lambda tf, z, x: tf.roll(table(tf, z), [2, -1], [1, 2])],
    "Select": [lambda tf, z, x: raw(tf, "Select", condition=second(tf, z) > z, x=z, y=second(tf, z))],
    "SelectV2": [lambda tf, z, x: tf.where(x[:, :1] > 0, z, 0.25 * second(tf, z))],
    "Slice": [lambda tf, z, x: tf.slice(table(tf, z), [0, 1, 2], [-1, 2, 1])],
    "SpaceToBatch": [
        lambda tf, z, x: tf.reshape(
            tf.transpose(
                tf.reshape(
                    raw(tf, "SpaceToBatch", input=image(tf, z), paddings=[[0, 0], [1, 0]], block_size=2), [4, -1, 4]
                ),
                (1, 0, 2),
            ),
            [-1, 16],
        )
    ],
    "SpaceToBatchND": [
        lambda tf, z, x: tf.transpose(tf.reshape(tf.space_to_batch(table(tf, z), [2], [[0, 1]]), [2, -1, 8]), (1, 0, 2))
    ],
    "SpaceToDepth": [lambda tf, z, x: tf.nn.space_to_depth(tf.reshape(z, [-1, 2, 6, 1]), 2)],
    "Split": [lambda tf, z, x: tf.concat(tf.split(table(tf, z), 2, axis=2)[::-1], 1)],
    "SplitV": [lambda tf, z, x: tf.concat([tf.split(z, [5, 3, 4], axis=1)[i] for i in (2, 0)], 1)],
    "Squeeze": [lambda tf, z, x: tf.squeeze(tf.reshape(z, [-1, 1, 12, 1]), [1, -1])],
    "StridedSlice": [lambda tf, z, x: table(tf, z)[:, ::-2, None, 1::2], lambda tf, z, x: table(tf, z)[..., -1]],
    "Sub": [lambda tf, z, x: second(tf, z) - z, lambda tf, z, x: x[:, :1] - z],
    "Sum": [lambda tf, z, x: tf.reduce_sum(table(tf, z), [-2]), lambda tf, z, x: tf.reduce_sum(z, 1, keepdims=True)],
    "Tile": [lambda tf, z, x: tf.tile(z, [1, 3])],
    "Transpose": [lambda tf, z, x: tf.transpose(image(tf, z), (0, 3, 1, 2))],
    "Unpack": [lambda tf, z, x: tf.concat(tf.unstack(table(tf, z), axis=2)[1:3], 1)],
}

# With z in each operand alone, and in both, where the second derivative of the operation itself counts.
MULTILINEAR: dict[str, list[Branch]] = {
    "BatchMatMul": [
        lambda tf, z, x: raw(tf, "BatchMatMul", x=table(tf, z), y=table(tf, second(tf, z)), adj_x=True),
        lambda tf, z, x: raw(tf, "BatchMatMul", x=table(tf, z), y=x[:, None, :4], adj_y=True),
    ],
    "BatchMatMulV2": [
        lambda tf, z, x: raw(tf, "BatchMatMulV2", x=table(tf, z), y=table(tf, second(tf, z)), adj_y=True),
        lambda tf, z, x: raw(tf, "BatchMatMulV2", x=like(tf, z, 1, 2, 4), y=table(tf, z), adj_y=True),
    ],
    "BatchMatMulV3": [
        lambda tf, z, x: raw(tf, "BatchMatMulV3", x=table(tf, z), y=x[:, :4, None], Tout=z.dtype),
        lambda tf, z, x: raw(tf, "BatchMatMulV3", x=table(tf, z), y=table(tf, second(tf, z)), Tout=z.dtype, adj_x=True),
    ],
    "Conv2D": [
        lambda tf, z, x: tf.nn.conv2d(image(tf, z), like(tf, z, 2, 2, 2, 3), [1, 2], "SAME"),
        lambda tf, z, x: convolved(
            tf, image(tf, z), like(tf, z, 2, 1, 2, 3), 1, [[0, 0], [1, 0], [0, 2], [0, 0]], rates=[2, 1]
        ),
    ],
    "Conv2DBackpropInput": [
        lambda tf, z, x: tf.nn.conv2d_transpose(
            image(tf, z), like(tf, z, 3, 2, 1, 2), [tf.shape(z)[0], 4, 6, 1], [2, 2], "SAME"
        )
    ],
    "Conv3D": [lambda tf, z, x: tf.nn.conv3d(volume(tf, z), like(tf, z, 2, 1, 2, 1, 2), [1, 1, 2, 1, 1], "SAME")],
    "DepthwiseConv2dNative": [
        lambda tf, z, x: tf.nn.depthwise_conv2d(image(tf, z), like(tf, z, 2, 2, 2, 2), [1, 1, 1, 1], "SAME"),
        lambda tf, z, x: tf.nn.depthwise_conv2d(
            image(tf, z), like(tf, z, 1, 2, 2, 1), [1, 1, 1, 1], "VALID", dilations=[1, 2]
        ),
    ],
    "Einsum": [
        lambda tf, z, x: tf.einsum("nab,nb->na", table(tf, z), x[:, :4]),
        lambda tf, z, x: tf.einsum("nab,ncb->nca", table(tf, z), table(tf, second(tf, z))),
        lambda tf, z, x: tf.einsum("nab,bc->ncab", table(tf, z), like(tf, z, 4, 2)),
    ],
    "MatMul": [
        lambda tf, z, x: raw(tf, "MatMul", a=z, b=like(tf, z, 3, 12), transpose_b=True),
        lambda tf, z, x: tf.transpose(raw(tf, "MatMul", a=like(tf, z, 12, 3), b=z, transpose_a=True, transpose_b=True)),
    ],
    "Mul": [lambda tf, z, x: z * x[:, 1:2], lambda tf, z, x: z * second(tf, z), lambda tf, z, x: 3 * z],
}
DIVISIONS: dict[str, list[Branch]] = {
    name: [
        lambda tf, z, x, name=name: raw(tf, name, x=z, y=2 + x[:, :1] ** 2),
        lambda tf, z, x, name=name: raw(tf, name, x=x[:, :1], y=9 + z**2),
        lambda tf, z, x, name=name: raw(tf, name, x=z, y=9 + second(tf, z) ** 2),
    ]
    for name in ("RealDiv", "Div")
}

# What is made of z, and then multiplied by data: a number without a derivative.
CONSTANT: dict[str, list[Branch]] = {
    "ArgMax": [lambda tf, z, x: tf.argmax(table(tf, z), 2)],
    "ArgMin": [lambda tf, z, x: tf.argmin(table(tf, z), -1)],
    "BroadcastGradientArgs": [
        lambda tf, z, x: raw(tf, "BroadcastGradientArgs", s0=tf.shape(z), s1=tf.cast(z[0, :2] * 0 + 1, tf.int32))[1]
    ],
    "Ceil": [lambda tf, z, x: tf.math.ceil(z)],
    "Equal": [lambda tf, z, x: tf.equal(z, tf.nn.relu(z))],
    "Floor": [lambda tf, z, x: tf.floor(z)],
    "Greater": [lambda tf, z, x: z > second(tf, z)],
    "GreaterEqual": [lambda tf, z, x: z >= second(tf, z)],
    "InvertPermutation": [lambda tf, z, x: tf.math.invert_permutation(tf.argsort(z[0]))[None]],
    "Less": [lambda tf, z, x: z < 0.25],
    "LessEqual": [lambda tf, z, x: z <= 0.25],
    "LogicalAnd": [lambda tf, z, x: tf.logical_and(z > 0, second(tf, z) > 0)],
    "LogicalNot": [lambda tf, z, x: tf.logical_not(z > 0)],
    "LogicalOr": [lambda tf, z, x: tf.logical_or(z > 0, second(tf, z) > 0)],
    "NotEqual": [lambda tf, z, x: tf.not_equal(z, tf.nn.relu(z))],
    "OnesLike": [lambda tf, z, x: raw(tf, "OnesLike", x=z)],
    "Rank": [lambda tf, z, x: raw(tf, "Rank", input=z)],
    "Round": [lambda tf, z, x: tf.round(z)],
    "Shape": [lambda tf, z, x: raw(tf, "Shape", input=z)[1]],
    "ShapeN": [lambda tf, z, x: raw(tf, "ShapeN", input=[z, z])[0][1]],
    "Sign": [lambda tf, z, x: tf.sign(z)],
    "Size": [lambda tf, z, x: raw(tf, "Size", input=z)],
    "StopGradient": [lambda tf, z, x: tf.stop_gradient(z)],
    "ZerosLike": [lambda tf, z, x: 1 + raw(tf, "ZerosLike", x=z)],
}
