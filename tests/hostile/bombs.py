"""SavedModels of a few kilobytes that would take terabytes: made of an honest one by editing its graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def honest(folder: Path) -> Path:
    """A small model that calls a function of its own."""
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            self.w = tf.Variable([[1.0], [2.0]], name="layer/kernel")

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            @tf.function
            def inner(h: Any) -> Any:
                return h * 2.0

            return inner(inner(x @ self.w))

    model = Model()
    tf.saved_model.save(model, str(folder / "m"), signatures={"serving_default": model.serve})
    return folder / "m"


def edited(folder: Path, edit: Callable[[Any], None]) -> Path:
    """The honest model with its graph edited."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = honest(folder)
    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((model / "saved_model.pb").read_bytes())
    edit(proto.meta_graphs[0].graph_def)
    (model / "saved_model.pb").write_bytes(proto.SerializeToString())
    return model


def _inner(graph: Any) -> Any:
    return next(one for one in graph.library.function if "inner" in one.signature.name)


def _call_instead(graph: Any, old: str, new: str) -> None:
    for function in graph.library.function:
        for node in function.node_def:
            if node.attr["f"].func.name == old and function.signature.name.startswith("__inference_serve"):
                node.attr["f"].func.name = new


def doubling(graph: Any) -> None:
    """Forty functions, each of which calls the one before twice."""
    inner = _inner(graph)
    below = inner.signature.name
    for level in range(40):
        function = graph.library.function.add()
        function.CopyFrom(inner)
        function.signature.name = f"__inference_level_{level}"
        _two_calls(function, below)
        below = function.signature.name
    _call_instead(graph, inner.signature.name, below)


def _two_calls(function: Any, callee: str) -> None:
    del function.node_def[:]
    source = function.signature.input_arg[0].name
    for name in ("first", "second"):
        node = function.node_def.add(name=name, op="PartitionedCall", input=[source])
        node.attr["Tin"].list.type.append(1)
        node.attr["Tout"].list.type.append(1)
        node.attr["f"].func.name = callee
        source = f"{name}:output:0"
    for output in list(function.ret):
        function.ret[output] = source


def calling_itself(graph: Any) -> None:
    """A function that calls itself."""
    inner = _inner(graph)
    _two_calls(inner, inner.signature.name)


def large_constant(graph: Any) -> None:
    """One number that is declared to fill ten thousand billion places."""
    for node in _inner(graph).node_def:
        if node.op == "Const":
            for size in (10**6, 10**7):
                node.attr["value"].tensor.tensor_shape.dim.add(size=size)


def disguised(graph: Any) -> None:
    """A function with the name of an operation."""
    inner = _inner(graph)
    old, inner.signature.name = inner.signature.name, "WriteFile"
    _call_instead(graph, old, "WriteFile")
