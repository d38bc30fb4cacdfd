"""Derivatives that TensorFlow lacks, and those that a SavedModel brings along.

What is wanted here are derivatives of what the graph computes. A gradient that an operation was saved with
(``tf.custom_gradient``; swish has one) is that derivative at best, has one dtype, and no second derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curvcli.models.tensorflow.nodes import all_nodes
from curvcli.models.tensorflow.runtime import tensorflow

_OWN = "_gradient_op_type"
# Names under which operations get other derivatives than TensorFlow's.
_INSTEAD = {
    name: f"Curvcli{name}"
    for name in """Conv2D MaxPool MaxPoolV2 MaxPoolWithArgmax MaxPoolGrad OneHot LinSpace Range ExtractGlimpse HSVToRGB
    ResizeBilinearGrad SparseConcat SparseAddGrad TensorListPushBackBatch TensorListConcatLists""".split()
}


def own_derivatives(graph_def: Any) -> None:
    """Take the derivatives of all operations from TensorFlow, and from here where it has none."""
    _register()
    for node in all_nodes(graph_def):
        if _OWN in node.attr:
            del node.attr[_OWN]
        if node.op in _INSTEAD:
            node.attr[_OWN].s = _INSTEAD[node.op].encode()


def _register() -> None:
    """Tell TensorFlow, once per process; what it knows already stays."""
    from tensorflow.python.framework.ops import gradient_registry

    tf, registered = tensorflow(), set(gradient_registry.list())
    ours = {
        _INSTEAD["Conv2D"]: _convolution,
        _INSTEAD["MaxPool"]: _max_pool,
        _INSTEAD["MaxPoolV2"]: _max_pool,
        _INSTEAD["MaxPoolWithArgmax"]: _max_pool,
        _INSTEAD["MaxPoolGrad"]: _max_pool_grad,
        _INSTEAD["OneHot"]: _one_hot,
        _INSTEAD["LinSpace"]: _spaced,
        _INSTEAD["Range"]: _range,
        "SoftsignGrad": _softsign_grad,
        "ResizeBicubicGrad": _resize_grad("ResizeBicubic"),
        "ResizeNearestNeighborGrad": _resize_grad("ResizeNearestNeighbor"),
        "ScaleAndTranslateGrad": _scale_and_translate_grad,
    }
    for name, derivative in ours.items():
        if name not in registered:
            tf.RegisterGradient(name)(derivative)
    for name in _INSTEAD.values():
        if name not in registered and name not in ours:
            tf.RegisterGradient(name)(_missing)


def _convolution(operation: Any, gradient: Any) -> list[Any]:
    """Of ``Conv2D``, group by group and with dilated kernels written out.

    The kernels for several groups have no derivative, nor one in float64; on a CPU dilated ones have none there.
    """
    from tensorflow.python.framework.ops import gradient_registry

    tf = tensorflow()
    image, kernel = operation.inputs
    axis = 1 if operation.get_attr("data_format") == b"NCHW" else 3
    depth, per_group = image.shape[axis], kernel.shape[2]
    groups = depth // per_group if depth and per_group else 1
    rates = [rate for i, rate in enumerate(operation.get_attr("dilations")) if i not in (0, axis)]
    dilated = max(rates) > 1 and image.dtype == tf.float64
    if groups == 1 and not dilated:
        return list(gradient_registry.lookup("Conv2D")(operation, gradient))
    options = {name: operation.get_attr(name) for name in ("strides", "explicit_paddings", "dilations")}
    options |= {name: operation.get_attr(name).decode() for name in ("padding", "data_format")}
    if dilated:
        kernel, options["dilations"] = written_out_kernel(kernel, rates), [1, 1, 1, 1]
    images, kernels = tf.split(image, groups, axis), tf.split(kernel, groups, 3)
    gradients = tf.split(gradient, groups, axis)
    by_image = [
        tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=w, out_backprop=g, **options)
        for x, w, g in zip(images, kernels, gradients, strict=True)
    ]
    by_kernel = [
        tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=tf.shape(w), out_backprop=g, **options)
        for x, w, g in zip(images, kernels, gradients, strict=True)
    ]
    whole = tf.concat(by_kernel, 3)
    return [tf.concat(by_image, axis), whole[:: rates[0], :: rates[1]] if dilated else whole]


def written_out_kernel(kernel: Any, rates: list[int]) -> Any:
    """A kernel with the zeros between its entries that dilation stands for; one rate per leading axis."""
    tf = tensorflow()
    for axis, rate in enumerate(rates):
        length = kernel.shape[axis]
        apart = tf.expand_dims(kernel, axis + 1)
        padding = [[0, rate - 1 if place == axis + 1 else 0] for place in range(apart.shape.rank)]
        shape = [*kernel.shape[:axis], length * rate, *kernel.shape[axis + 1 :]]
        full = tf.reshape(tf.pad(apart, padding), shape)
        kernel = tf.split(full, [(length - 1) * rate + 1, rate - 1], axis)[0]
    return kernel


def _missing(operation: Any, *gradients: Any) -> Any:
    """Of operations that TensorFlow declares to have none though they do: better refused than taken for zero."""
    if any(gradient is not None for gradient in gradients):
        raise LookupError(f"operation type: {operation.type}")


def _one_hot(operation: Any, gradient: Any) -> list[Any]:
    """By the two values; the indices have no derivative."""
    tf = tensorflow()
    indices, depth = operation.inputs[:2]
    here = tf.one_hot(indices, depth, axis=operation.get_attr("axis"), dtype=gradient.dtype)
    return [None, None, tf.reduce_sum(gradient * here), tf.reduce_sum(gradient * (1 - here))]


def _spaced(operation: Any, gradient: Any) -> list[Any]:
    """By both ends, of which every number is a mean."""
    tf = tensorflow()
    count = tf.size(gradient)
    share = tf.cast(tf.range(count), gradient.dtype) / tf.cast(tf.maximum(count - 1, 1), gradient.dtype)
    return [tf.reduce_sum(gradient * (1 - share)), tf.reduce_sum(gradient * share), None]


def _range(operation: Any, gradient: Any) -> list[Any]:
    """By start and step; the limit only says how many."""
    tf = tensorflow()
    if not gradient.dtype.is_floating:
        return [None, None, None]
    steps = tf.cast(tf.range(tf.size(gradient)), gradient.dtype)
    return [tf.reduce_sum(gradient), None, tf.reduce_sum(gradient * steps)]


def _max_pool(operation: Any, gradient: Any, *_: Any) -> Any:
    """Of the maxima; what is made here has another derivative than TensorFlow's."""
    tf = tensorflow()
    options = {"padding": operation.get_attr("padding").decode(), "data_format": "NHWC"}
    if operation.type == "MaxPoolV2":
        sizes = [[int(n) for n in tf.get_static_value(tensor)] for tensor in operation.inputs[1:3]]
    else:
        sizes = [list(operation.get_attr(name)) for name in ("ksize", "strides")]
    if operation.type != "MaxPoolWithArgmax":
        options["data_format"] = operation.get_attr("data_format").decode()
    if operation.type == "MaxPool":
        options["explicit_paddings"] = operation.get_attr("explicit_paddings")
    with tf.compat.v1.get_default_graph().gradient_override_map({"MaxPoolGrad": _INSTEAD["MaxPoolGrad"]}):
        image_gradient = tf.raw_ops.MaxPoolGrad(
            orig_input=operation.inputs[0],
            orig_output=operation.outputs[0],
            grad=gradient,
            ksize=sizes[0],
            strides=sizes[1],
            **options,
        )
    return [image_gradient, None, None] if operation.type == "MaxPoolV2" else image_gradient


def _max_pool_grad(operation: Any, gradient: Any) -> list[Any]:
    """By the incoming gradient, the only operand it is smooth in.

    TensorFlow's kernel writes its result over the tensor that it still reads where both have the same size, that is
    with padding and a stride of one; and it knows no explicit padding. So what is padded here is padded before.
    """
    tf = tensorflow()
    image, maxima, _ = operation.inputs
    window, strides = list(operation.get_attr("ksize")), list(operation.get_attr("strides"))
    padding, explicit = operation.get_attr("padding").decode(), operation.get_attr("explicit_paddings")
    if padding == "SAME":
        missing = (tf.shape(maxima) - 1) * strides + window - tf.shape(image)
        missing = tf.maximum(missing, 0)
        pads = tf.stack([missing // 2, missing - missing // 2], axis=1)
    elif padding == "EXPLICIT":
        pads = tf.reshape(tf.constant(explicit), [4, 2])
    else:
        pads = tf.zeros([4, 2], tf.int32)
    second_gradient = tf.raw_ops.MaxPoolGradGrad(
        orig_input=tf.pad(image, pads, constant_values=image.dtype.min),
        orig_output=maxima,
        grad=tf.pad(gradient, pads),
        ksize=window,
        strides=strides,
        padding="VALID",
        data_format=operation.get_attr("data_format").decode(),
    )
    return [tf.zeros_like(image), tf.zeros_like(maxima), second_gradient]


def _softsign_grad(operation: Any, gradient: Any) -> list[Any]:
    """Of g / (1 + |x|)², by g and by x."""
    tf = tensorflow()
    incoming, x = operation.inputs
    size = 1 + tf.abs(x)
    return [gradient / size**2, -2 * gradient * incoming * tf.sign(x) / size**3]


def _scale_and_translate_grad(operation: Any, gradient: Any) -> list[Any]:
    tf = tensorflow()
    size, (scale, translation) = tf.shape(operation.inputs[0])[1:3], operation.inputs[2:]
    options = {
        "kernel_type": operation.get_attr("kernel_type").decode(),
        "antialias": operation.get_attr("antialias"),
    }
    resized = tf.raw_ops.ScaleAndTranslate(images=gradient, size=size, scale=scale, translation=translation, **options)
    return [resized, None, None, None]


def _resize_grad(resize: str) -> Callable[[Any, Any], list[Any]]:
    """Of the gradient of a resizing; that is linear in what it scatters, so its derivative is the resizing itself."""

    def derivative(operation: Any, gradient: Any) -> list[Any]:
        tf = tensorflow()
        size = tf.shape(operation.inputs[0])[1:3]
        flags = {name: operation.get_attr(name) for name in ("align_corners", "half_pixel_centers")}
        return [getattr(tf.raw_ops, resize)(images=gradient, size=size, **flags), None]

    return derivative
