"""Which operations of a flat graph are linear in a weight, and what their canonical form is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from curvcli.models.base import Array
from curvcli.models.tensorflow.graph import Entry, GraphReader
from curvcli.models.tensorflow.layout import TensorFlowLayout
from curvcli.models.tensorflow.linear import EmbeddingUse, LinearUse, PatchUse
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.runtime import tensorflow

# Convolutions of this many multiplications per sample and more go through the framework's own filter-gradient kernel.
_DIRECT_FROM = 3_000_000


@dataclass(frozen=True)
class Context:
    """What a rule may know: the graph, the entry, and shapes from the first batch."""

    reader: GraphReader
    entry: Entry
    shape: tuple[int, ...]
    z_shape: tuple[int, ...]
    data_shape: tuple[int, ...]
    samples: int
    interleaved: bool

    @property
    def node(self) -> Any:
        """The joining node."""
        return self.reader.nodes[self.entry.node]

    def layout(self, axes: Sequence[int]) -> TensorFlowLayout:
        """Z with these channel axes."""
        return TensorFlowLayout(self.z_shape, self.z_shape[0] // self.samples, tuple(axes), self.interleaved)

    def operand(self) -> Array | None:
        """The parameter's flat indices in the shape in which the node reads it; None if that can't be told."""
        index: Array = np.arange(prod(self.shape)).reshape(self.shape)
        for name in self.entry.carriers:
            carrier = self.reader.nodes[name]
            if carrier.op in ("Identity", "Cast"):
                continue
            if carrier.op == "Squeeze":
                axes = tuple(carrier.attr["squeeze_dims"].list.i)
                index = index.squeeze(axes or None)
                continue
            argument = self.reader.constant(carrier.input[1])
            if argument is None:
                return None
            if carrier.op == "Transpose":
                index = index.transpose(argument)
            elif carrier.op == "ExpandDims":
                index = np.expand_dims(index, int(argument))
            else:
                index = index.reshape(argument)
        return index


def data_operand(reader: GraphReader, entry: Entry) -> str:
    """The tensor that the weight is joined with."""
    inputs = [t for t in reader.nodes[entry.node].input if not t.startswith("^")]
    return str(inputs[1 if entry.operand == 0 else 0])


def linear_use(context: Context) -> LinearUse | str:
    """The canonical form of one entry, or why there is none (a few words a person reads)."""
    name = context.node.op
    rule = RULES.get(name)
    if rule is None:
        return f"{readable(name)} is not known to be linear in its weight"
    if not context.z_shape or context.z_shape[0] % context.samples:
        return f"the output of {readable(name)} has no axis of samples"
    if 0 in (*context.z_shape, *context.shape):
        return f"{readable(name)} reads or makes nothing"
    index = context.operand()
    if index is None:
        return f"it reaches {readable(name)} in a shape that depends on the data"
    return rule(context, index)


def _shift(context: Context, layout: TensorFlowLayout, index: Array) -> LinearUse:
    tf = tensorflow()
    channels, positions = layout.channels, layout.positions

    def patches(_: Any, samples: int) -> Any:
        return tf.ones([samples, channels, 1, positions], tf.float64)

    def typed(data: Any, samples: int) -> Any:
        return tf.cast(patches(data, samples), data.dtype)

    flat, data = index.reshape(channels, 1, 1), data_operand(context.reader, context.entry)
    use = PatchUse(layout, context.shape, data, typed, (channels, 1, 1), flat)
    use.follows = False
    return use


def _elementwise(context: Context, index: Array) -> LinearUse | str:
    name, z = context.node.op, context.z_shape
    aligned = [1] * (len(z) - index.ndim) + list(index.shape)
    axes = [a for a, n in enumerate(aligned) if n != 1]
    if len(aligned) != len(z) or 0 in axes or any(aligned[a] != z[a] for a in axes):
        return f"{readable(name)} with one entry of the parameter per sample"
    layout = context.layout(axes)
    if name != "Mul":
        use = _shift(context, layout, index)
        # Only a sample's gradient sees the sign: in every product both sides carry it.
        use.sign = -1 if name == "Sub" and context.entry.operand == 1 else 1
        return use
    tf = tensorflow()

    def patches(data: Any, samples: int) -> Any:
        full = tf.broadcast_to(data, [samples * layout.rows_per_sample, *z[1:]])
        return layout.canonical(full, samples)[:, :, None, :]

    flat = index.reshape(layout.channels, 1, 1)
    data = data_operand(context.reader, context.entry)
    return PatchUse(layout, context.shape, data, patches, (layout.channels, 1, 1), flat)


def _bias(context: Context, index: Array) -> LinearUse | str:
    if context.entry.operand != 1 or index.ndim != 1:
        return "bias_add with the parameter as its data"
    axis = 1 if context.node.attr["data_format"].s == b"NCHW" else len(context.z_shape) - 1
    return _shift(context, context.layout([axis]), index)


def _dense(context: Context, index: Array) -> LinearUse | str:
    node = context.node
    batched = node.op.startswith("BatchMatMul")
    flip_data, flip_weight = ("adj_x", "adj_y") if batched else ("transpose_a", "transpose_b")
    if context.entry.operand != 1 or node.attr[flip_data].b or index.ndim != 2:
        return "a product with the weight on the left, or with a batch of weights"
    if len(context.data_shape) < 2 or context.data_shape[0] != context.z_shape[0]:
        return "a product whose rows are not z's rows"
    table = index.T if node.attr[flip_weight].b else index
    inputs, outputs = table.shape
    layout = context.layout([len(context.z_shape) - 1])
    data_layout = TensorFlowLayout(
        context.data_shape, layout.rows_per_sample, (len(context.data_shape) - 1,), context.interleaved
    )

    def patches(data: Any, samples: int) -> Any:
        return data_layout.canonical(data, samples)[:, None]

    data = data_operand(context.reader, context.entry)
    return PatchUse(layout, context.shape, data, patches, (1, inputs, outputs), table[None])


def _einsum(context: Context, index: Array) -> LinearUse | str:
    tf = tensorflow()
    equation = context.node.attr["equation"].s.decode()
    left, _, z = equation.partition("->")
    operands = left.split(",")
    if len(operands) != 2 or "." in equation:
        return f"einsum {equation}"
    w, d = operands[context.entry.operand], operands[1 - context.entry.operand]
    groups = [c for c in w if c in d and c in z]
    inputs = [c for c in w if c in d and c not in z]
    outputs = [c for c in w if c not in d and c in z]
    positions = [c for c in d if c in z and c not in w]
    if any(len(set(part)) != len(part) for part in (w, d, z)):
        return f"einsum {equation}"
    plain = len(groups) + len(inputs) + len(outputs) == len(w) and len(groups + inputs + positions) == len(d)
    if not plain or not positions or d[0] != z[0] or d[0] in w or context.z_shape[0] != context.samples:
        return f"einsum {equation}"
    layout = context.layout([z.index(c) for c in groups + outputs])
    # Positions in the order in which the layout lists them.
    places = [c for c in z if c in positions and c != z[0]]
    size = dict(zip(w, index.shape, strict=True)) | dict(zip(d, context.data_shape, strict=True))
    g, k, q = (prod(size[c] for c in part) for part in (groups, inputs, outputs))
    order = [d.index(c) for c in (d[0], *groups, *inputs, *places)]

    def patches(data: Any, samples: int) -> Any:
        return tf.reshape(tf.transpose(data, order), [samples, g, k, layout.positions])

    flat = index.transpose([w.index(c) for c in groups + inputs + outputs]).reshape(g, k, q)
    return PatchUse(layout, context.shape, data_operand(context.reader, context.entry), patches, (g, k, q), flat)


def _convolution(context: Context, index: Array) -> LinearUse | str:
    tf = tensorflow()
    node = context.node
    depthwise = node.op == "DepthwiseConv2dNative"
    if context.entry.operand != 1 or node.attr["data_format"].s not in (b"", b"NHWC"):
        return "a convolution in a layout other than NHWC"
    if context.z_shape[0] != context.samples:
        return "a convolution whose rows are not samples"
    strides, rates = list(node.attr["strides"].list.i), list(node.attr["dilations"].list.i) or [1, 1, 1, 1]
    padding, pads = node.attr["padding"].s.decode(), list(node.attr["explicit_paddings"].list.i)
    height, width, per_group, last = index.shape
    channels = context.data_shape[-1]
    layout = context.layout([3])

    if depthwise:
        # Kernel (h, w, c, m): output channel c·M + m sees input channel c only.
        groups, inputs, outputs = channels, height * width, last
        flat = index.reshape(inputs, groups, outputs).transpose(1, 0, 2)
    else:
        groups = channels // per_group
        inputs, outputs = height * width * per_group, last // groups
        flat = index.reshape(inputs, groups, outputs).transpose(1, 0, 2)

    def patches(data: Any, samples: int) -> Any:
        mode = padding
        if padding == "EXPLICIT":
            data = tf.pad(data, np.reshape(pads, (4, 2)))
            mode = "VALID"
        columns = tf.image.extract_patches(data, [1, height, width, 1], strides, rates, mode)
        shape = [samples, layout.positions, height * width, groups, channels // groups]
        columns = tf.transpose(tf.reshape(columns, shape), [0, 3, 2, 4, 1])
        return tf.reshape(columns, [samples, groups, inputs, layout.positions])

    def direct(data: Any, delta: Any, n: Any) -> Any:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=data[n : n + 1],
            filter_sizes=list(index.shape),
            out_backprop=delta[n : n + 1],
            strides=strides,
            padding=padding,
            explicit_paddings=pads,
            dilations=rates,
        )

    plain = groups == 1 and not depthwise and index.size == prod(context.shape)
    in_order = bool((index.reshape(-1) == np.arange(index.size)).all())
    large = layout.positions > 1 and layout.positions * index.size >= _DIRECT_FROM
    return PatchUse(
        layout,
        context.shape,
        data_operand(context.reader, context.entry),
        patches,
        (groups, inputs, outputs),
        flat,
        direct if plain and in_order and large else None,
    )


def _embedding(context: Context, index: Array) -> LinearUse | str:
    axis = context.reader.constant(context.node.input[2])
    if context.entry.operand != 0 or axis is None or int(axis) != 0 or context.node.attr["batch_dims"].i:
        return "a gather along another axis than the first"
    if index.ndim != 2 or index.shape != context.shape or (index.reshape(-1) != np.arange(index.size)).any():
        return "a gather from the parameter rearranged"
    layout = context.layout([len(context.z_shape) - 1])
    return EmbeddingUse(layout, context.shape, data_operand(context.reader, context.entry))


RULES: dict[str, Callable[[Context, Array], LinearUse | str]] = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _convolution,
    "MatMul": _dense,
    "BatchMatMul": _dense,
    "BatchMatMulV2": _dense,
    "BatchMatMulV3": _dense,
    "Einsum": _einsum,
    "BiasAdd": _bias,
    "Add": _elementwise,
    "AddV2": _elementwise,
    "Sub": _elementwise,
    "Mul": _elementwise,
    "GatherV2": _embedding,
}
