"""Widens the numbers of a graph: those of 16 bits always, those of 32 to compute in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from curvcli.models.tensorflow.library import rename_functions
from curvcli.models.tensorflow.nodes import all_nodes
from curvcli.models.tensorflow.runtime import tensorflow

# The numbers with which TensorFlow writes float32 and complex64 in a graph, and those of their wider kinds.
_WIDER: Final = {1: 2, 8: 18}
# The same of bfloat16 and float16.
_NARROW: Final = {14: 1, 19: 1}
_FLOAT32_ONLY = frozenset({"CropAndResize", "ResizeArea", "ResizeBicubic", "ScaleAndTranslate"})


def float32_only(graph_def: Any) -> str | None:
    """The first operation that returns float32 whatever it reads."""
    return next((node.op for node in all_nodes(graph_def) if node.op in _FLOAT32_ONLY), None)


def is_narrow(graph_def: Any) -> bool:
    """Whether a graph computes anything in floating-point numbers of 16 bits."""
    return any(value.type in _NARROW for node in all_nodes(graph_def) for value in node.attr.values())


def widen_narrow(graph_def: Any) -> None:
    """Make every float16 and bfloat16 of a graph, its functions included, float32."""
    _convert(graph_def, _NARROW, "_float32")


def widen(graph_def: Any) -> None:
    """Make every float32 of a graph, its functions included, float64, and complex64 complex128."""
    _convert(graph_def, _WIDER, "_float64")


def _convert(graph_def: Any, wider_of: Mapping[int, int], suffix: str) -> None:
    tf = tensorflow()
    for node in all_nodes(graph_def):
        for value in node.attr.values():
            held = value.WhichOneof("value")
            if held == "type":
                value.type = wider_of.get(value.type, value.type)
            elif held == "list":
                for i, entry in enumerate(value.list.type):
                    value.list.type[i] = wider_of.get(entry, entry)
            elif held == "tensor" and value.tensor.dtype in wider_of:
                wider = tf.as_dtype(wider_of[value.tensor.dtype])
                array = tf.make_ndarray(value.tensor).astype(wider.as_numpy_dtype)
                value.tensor.CopyFrom(tf.make_tensor_proto(array, dtype=wider))
    for function in graph_def.library.function:
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            argument.type = wider_of.get(argument.type, argument.type)
    rename_functions(graph_def, suffix)
