"""Pooling and convolutions that a CPU lacks in float64, or altogether, written out in operations that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curvcli.models.tensorflow.derivatives import written_out_kernel
from curvcli.models.tensorflow.nodes import control_inputs
from curvcli.models.tensorflow.runtime import tensorflow

_POOLS = frozenset({"AvgPool3D", "MaxPool3D"})


def write_out_kernels(graph_def: Any) -> None:
    """Rewrite pooling, and convolutions of several groups or with dilation; names of nodes that others read stay."""
    # Reading an attribute that a node lacks would give it an empty one.
    nodes = [node for node in graph_def.node if node.op in _POOLS or node.op in _CONVOLUTIONS]
    nodes = [node for node in nodes if node.attr["data_format"].s not in (b"NCDHW", b"NCHW")]
    for node in [node for node in nodes if node.op in _POOLS]:
        _pooling(graph_def, node)
    convolutions = [node for node in nodes if node.op in _CONVOLUTIONS]
    shapes = _shapes(graph_def) if convolutions else {}
    for node in convolutions:
        _CONVOLUTIONS[node.op](graph_def, node, shapes[node.name])


def _shapes(graph_def: Any) -> dict[str, list[Any]]:
    """Of the inputs of every convolution, as far as the graph fixes them."""
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    return {op.name: [t.shape for t in op.inputs] for op in graph.get_operations() if op.type in _CONVOLUTIONS}


def _convolution(graph_def: Any, node: Any, shapes: list[Any]) -> None:
    tf = tensorflow()
    image, kernel = shapes
    if image.rank is None or None in (image[4], *kernel):
        return
    groups = image[4] // kernel[3]
    rates = (list(node.attr["dilations"].list.i) or [1] * 5)[1:4]
    if groups == 1 and max(rates) == 1:
        return
    strides, padding = list(node.attr["strides"].list.i), node.attr["padding"].s.decode()

    def convolve(x: Any, w: Any) -> Any:
        w = written_out_kernel(w, rates)
        pairs = zip(tf.split(x, groups, 4), tf.split(w, groups, 4), strict=True)
        return tf.concat([tf.nn.conv3d(a, b, strides, padding) for a, b in pairs], 4)

    _splice(graph_def, node, convolve, [image, kernel])


def _transposed(graph_def: Any, node: Any, shapes: list[Any]) -> None:
    """One with dilation: a CPU has none in float64."""
    tf = tensorflow()
    _, kernel, image = shapes
    rates = (list(node.attr["dilations"].list.i) or [1] * 4)[1:3]
    if max(rates) == 1 or kernel.rank is None or None in kernel:
        return
    options = {"strides": list(node.attr["strides"].list.i), "padding": node.attr["padding"].s.decode()}
    options["explicit_paddings"] = list(node.attr["explicit_paddings"].list.i)

    def transpose(size: Any, w: Any, x: Any) -> Any:
        return tf.raw_ops.Conv2DBackpropInput(
            input_sizes=size, filter=written_out_kernel(w, rates), out_backprop=x, **options
        )

    _splice(graph_def, node, transpose, [shapes[0], kernel, image])


def _pooling(graph_def: Any, node: Any) -> None:
    """Pool rows and columns, then depths: a maximum is one of maxima, and padding is left out of every mean."""
    tf = tensorflow()
    pool = tf.nn.avg_pool2d if node.op == "AvgPool3D" else tf.nn.max_pool2d
    window, strides = (list(node.attr[key].list.i)[1:4] for key in ("ksize", "strides"))
    padding = node.attr["padding"].s.decode()

    def pooled(x: Any) -> Any:
        samples, depth, height, width, channels = tf.unstack(tf.shape(x), num=5)
        planes = pool(tf.reshape(x, [samples * depth, height, width, channels]), window[1:], strides[1:], padding)
        _, height, width, _ = tf.unstack(tf.shape(planes), num=4)
        columns = tf.reshape(planes, [samples, depth, height * width, channels])
        maxima = pool(columns, [window[0], 1], [strides[0], 1], padding)
        return tf.reshape(maxima, [samples, tf.shape(maxima)[1], height, width, channels])

    _splice(graph_def, node, pooled, [tf.TensorShape([None] * 5)])


def _splice(graph_def: Any, node: Any, function: Callable[..., Any], shapes: list[Any]) -> None:
    """Put what ``function`` makes of a node's inputs in the node's place."""
    tf = tensorflow()
    dtype = tf.as_dtype(node.attr["T"].type)
    tensors = [tensor for tensor in node.input if not tensor.startswith("^")]
    with tf.Graph().as_default() as graph:
        # Of what these operations read, only sizes are something else than numbers of the node's own type.
        sizes = [node.op == "Conv2DBackpropInput" and place == 0 for place in range(len(shapes))]
        kinds = [tf.int32 if whole else dtype for whole in sizes]
        arguments = [tf.compat.v1.placeholder(kind, shape) for kind, shape in zip(kinds, shapes, strict=True)]
        output = function(*arguments)
    outside = {argument.op.name: tensor for argument, tensor in zip(arguments, tensors, strict=True)}

    def placed(tensor: str) -> str:
        return str(outside.get(tensor, f"{node.name}/written_out/{tensor}"))

    for step in graph.as_graph_def().node:
        if step.name not in outside:
            copied = graph_def.node.add()
            copied.CopyFrom(step)
            copied.name = placed(step.name)
            del copied.input[:]
            copied.input.extend(placed(tensor) for tensor in step.input)
    control = control_inputs(node)
    node.op = "Identity"
    del node.input[:]
    node.input.extend([placed(output.name.removesuffix(":0")), *control])
    node.ClearField("attr")
    node.attr["T"].type = dtype.as_datatype_enum


_CONVOLUTIONS: dict[str, Callable[[Any, Any, list[Any]], None]] = {
    "Conv3D": _convolution,
    "Conv2DBackpropInput": _transposed,
}
