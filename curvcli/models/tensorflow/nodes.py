"""Nodes of a GraphDef: found, named and added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from curvcli.models.tensorflow.runtime import tensorflow


def all_nodes(graph_def: Any) -> Iterator[Any]:
    """Those of the graph, then those of its functions."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def called(node: Any) -> Iterator[str]:
    """Names of the functions that a node may call, itself one if it is a call; a plain operation's own name too."""
    yield node.op
    for value in node.attr.values():
        held = value.WhichOneof("value")
        if held == "func":
            yield value.func.name
        elif held == "list":
            yield from (function.name for function in value.list.func)


def source(tensor: str) -> str:
    """The node that makes a tensor: ``a/b:1`` → ``a/b``; control inputs lose their caret."""
    return tensor.lstrip("^").split(":")[0]


def control_inputs(node: Any) -> list[str]:
    """Those of its inputs that are no tensors."""
    return [tensor for tensor in node.input if tensor.startswith("^")]


class Writer:
    """Adds nodes under a common name.

    Attributes:
        dtype: TensorFlow's number of the type of all tensors that are not said to be otherwise.
    """

    def __init__(self, graph_def: Any, base: str, dtype: int) -> None:
        """``base`` is the name before the slash."""
        self._graph_def, self._base, self.dtype = graph_def, base, dtype

    def add(self, name: str, operation: str, inputs: Sequence[str], **types: int) -> str:
        """A node of this operation; ``types`` are its type attributes, ``T`` being ``dtype`` by default.

        Returns:
            Its output 0.
        """
        from tensorflow.python.framework import op_def_registry

        node = self._graph_def.node.add(name=f"{self._base}/{name}", op=operation, input=inputs)
        if any(attribute.name == "T" for attribute in op_def_registry.get(operation).attr):
            types = {"T": self.dtype} | types
        for key, number in types.items():
            node.attr[key].type = number
        return str(node.name)

    def cast(self, name: str, tensor: str, of: int) -> str:
        """``tensor``, which is ``of`` another type, in ``dtype``."""
        node = self._graph_def.node.add(name=f"{self._base}/{name}", op="Cast", input=[tensor])
        node.attr["SrcT"].type, node.attr["DstT"].type = of, self.dtype
        return str(node.name)

    def einsum(self, name: str, equation: str, left: str, right: str) -> str:
        """The sum of products that ``equation`` describes."""
        made = self.add(name, "Einsum", [left, right])
        self._graph_def.node[-1].attr["equation"].s = equation.encode()
        self._graph_def.node[-1].attr["N"].i = 2
        return made

    def constant(self, name: str, value: Any, kind: Any = np.float32) -> str:
        """A constant; float32 becomes ``dtype``."""
        tf = tensorflow()
        array = np.asarray(value, dtype=kind)
        dtype = self.dtype if array.dtype == np.float32 else tf.as_dtype(array.dtype).as_datatype_enum
        node = self._graph_def.node.add(name=f"{self._base}/{name}", op="Const")
        node.attr["dtype"].type = dtype
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array, dtype=tf.as_dtype(dtype)))
        return str(node.name)

    def becomes(self, node: Any, operation: str, inputs: Sequence[str]) -> None:
        """Turn ``node`` into the last step, so that who reads it reads the result."""
        control = control_inputs(node)
        node.op = operation
        del node.input[:]
        node.input.extend([*inputs, *control])
        node.ClearField("attr")
        node.attr["T"].type = self.dtype
