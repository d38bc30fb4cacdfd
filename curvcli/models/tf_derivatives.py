"""Derivatives that TensorFlow lacks, and those that a SavedModel brings along.

What is asked for here are derivatives of what the graph computes. A gradient that an operation was saved with
(``tf.custom_gradient``; swish has one) is that derivative at best, has one dtype, and no second derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curvcli.models.tf_nodes import all_nodes
from curvcli.models.tf_runtime import tensorflow

_OWN = "_gradient_op_type"
# Names under which operations are given other derivatives than TensorFlow's.
_INSTEAD = {"Conv2D": "CurvcliConv2D", "MaxPoolWithArgmax": "CurvcliMaxPoolWithArgmax"}


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

    tf, known = tensorflow(), set(gradient_registry.list())
    ours = {
        _INSTEAD["Conv2D"]: _convolution,
        _INSTEAD["MaxPoolWithArgmax"]: _max_pool_with_argmax,
        "ResizeBicubicGrad": _resize_grad("ResizeBicubic"),
        "ResizeNearestNeighborGrad": _resize_grad("ResizeNearestNeighbor"),
        "ScaleAndTranslateGrad": _scale_and_translate_grad,
    }
    for name, derivative in ours.items():
        if name not in known:
            tf.RegisterGradient(name)(derivative)


def _convolution(operation: Any, gradient: Any) -> list[Any]:
    """Of ``Conv2D``; group by group, as the kernels for several groups have no derivative, nor one in float64."""
    from tensorflow.python.framework.ops import gradient_registry

    tf = tensorflow()
    image, kernel = operation.inputs
    axis = 1 if operation.get_attr("data_format") == b"NCHW" else 3
    depth, per_group = image.shape[axis], kernel.shape[2]
    groups = depth // per_group if depth and per_group else 1
    if groups == 1:
        return list(gradient_registry.lookup("Conv2D")(operation, gradient))
    options = {name: operation.get_attr(name) for name in ("strides", "explicit_paddings", "dilations")}
    options |= {name: operation.get_attr(name).decode() for name in ("padding", "data_format")}
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
    return [tf.concat(by_image, axis), tf.concat(by_kernel, 3)]


def _max_pool_with_argmax(operation: Any, gradient: Any, _: Any) -> Any:
    """Of its maxima, as of a pooling that keeps no places: only that one's gradient has a derivative."""
    options = {name: operation.get_attr(name) for name in ("ksize", "strides")}
    return tensorflow().raw_ops.MaxPoolGrad(
        orig_input=operation.inputs[0],
        orig_output=operation.outputs[0],
        grad=gradient,
        padding=operation.get_attr("padding").decode(),
        **options,
    )


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
