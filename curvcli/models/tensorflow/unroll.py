"""Writes loops out step by step where the number of steps is known before any data are.

Inside a loop no operation's output can be reached, and every derivative of it is a loop again. Written out, a recurrent
layer is a weight that is used several times, and the lists that carry its steps are the steps themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from curvcli.models.base import Array
from curvcli.models.tensorflow.inline import inlined
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.runtime import tensorflow

# Longer loops stay: to trace their derivatives step by step would take too long.
_MOST_STEPS, _MOST_NODES = 64, 2500
_LOOPS: Final = frozenset({"While", "StatelessWhile"})
_COMPUTED: Final[Mapping[str, Callable[..., Any]]] = {
    "Add": np.add,
    "AddV2": np.add,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "LogicalAnd": np.logical_and,
    "LogicalNot": np.logical_not,
    "LogicalOr": np.logical_or,
    "Max": lambda value, axes: value.max(axis=tuple(np.atleast_1d(axes))) if np.size(axes) else value,
    "Maximum": np.maximum,
    "Min": lambda value, axes: value.min(axis=tuple(np.atleast_1d(axes))) if np.size(axes) else value,
    "Minimum": np.minimum,
    "Mul": np.multiply,
    "NotEqual": np.not_equal,
    "Range": np.arange,
    "Sub": np.subtract,
}


def has_loops(graph_def: Any) -> bool:
    """Whether there are any, known to end or not."""
    return any(node.op in _LOOPS for node in graph_def.node)


def unroll_loops(graph_def: Any) -> dict[str, str]:
    """Write out all loops that can be.

    Args:
        graph_def: changed in place.

    Returns:
        By tensor that such a loop made, the tensor that has its value now.
    """
    replaced: dict[str, str] = {}
    kept: set[str] = set()
    while (loop := next((n for n in graph_def.node if n.op in _LOOPS and n.name not in kept), None)) is not None:
        written = _written_out(graph_def, loop)
        if written is None:
            kept.add(loop.name)
            continue
        whole, outputs = written
        mapping = {f"{loop.name}:{i}": tensor for i, tensor in enumerate(outputs)}
        replaced = {name: mapping.get(tensor, tensor) for name, tensor in replaced.items()} | mapping
        graph_def.CopyFrom(whole)
    return replaced


def _written_out(graph_def: Any, loop: Any) -> tuple[Any, list[str]] | None:
    """The graph with the steps of a loop instead of it, and what stands for the loop's outputs; None if it can't be."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    condition, body = (functions.get(loop.attr[key].func.name) for key in ("cond", "body"))
    if condition is None or body is None:
        return None
    whole = type(graph_def)()
    whole.CopyFrom(graph_def)
    values = _Values(whole)
    tensors = [_full(tensor) for tensor in loop.input if not tensor.startswith("^")]
    for step in range(_MOST_STEPS + 1):
        (goes_on,) = inlined(whole, f"{loop.name}/condition_{step}", condition, tensors)
        values.index()
        decided = values.of(goes_on)
        if decided is None or (decided and (step == _MOST_STEPS or (step + 1) * len(body.node_def) > _MOST_NODES)):
            return None
        if not decided:
            break
        tensors = [_full(tensor) for tensor in inlined(whole, f"{loop.name}/step_{step}", body, tensors)]
    _rewire(whole, loop, tensors)
    values.index()
    return (whole, tensors) if _Lists(whole, values).written_out() else None


def _rewire(graph_def: Any, loop: Any, tensors: Sequence[str]) -> None:
    """Read what the steps made instead of what the loop made, and drop the loop."""
    made = {f"{loop.name}:{i}": tensor for i, tensor in enumerate(tensors)}
    kept = [node for node in graph_def.node if node.name != loop.name]
    for node in kept:
        inputs = [made.get(_full(t), t) for t in node.input if t != f"^{loop.name}"]
        del node.input[:]
        node.input.extend(inputs)
    del graph_def.node[:]
    graph_def.node.extend(kept)


class _Values:
    """What tensors are that depend on constants alone."""

    def __init__(self, graph_def: Any) -> None:
        self._graph_def = graph_def
        self._nodes: dict[str, Any] = {}
        self._values: dict[str, Array | None] = {}

    def index(self) -> None:
        """See nodes that were added."""
        self._nodes = {node.name: node for node in self._graph_def.node}

    def node(self, tensor: str) -> Any:
        """The node that makes a tensor, identities looked through."""
        node = self._nodes[source(tensor)]
        while node.op == "Identity":
            node = self._nodes[source(node.input[0])]
        return node

    def of(self, tensor: str) -> Array | None:
        """The value of a node's only output."""
        node = self.node(tensor)
        if node.name not in self._values:
            self._values[node.name] = self._computed(node)
        return self._values[node.name]

    def _computed(self, node: Any) -> Array | None:
        if node.op == "Const":
            return np.asarray(tensorflow().make_ndarray(node.attr["value"].tensor))
        function = _COMPUTED.get(node.op)
        if function is None:
            return None
        inputs = [self.of(tensor) for tensor in node.input if not tensor.startswith("^")]
        return None if any(one is None for one in inputs) else np.asarray(function(*inputs))


class _Lists:
    """The lists of tensors that loops carry, each change of one a list of its own."""

    def __init__(self, graph_def: Any, values: _Values) -> None:
        self._graph_def, self._values = graph_def, values

    def written_out(self) -> bool:
        """Put tensors in place of what is read of lists; whether all of that could be."""
        for node in list(self._graph_def.node):
            if node.op == "TensorListGetItem" and not self._read(node):
                return False
            if node.op == "TensorListStack" and not self._stacked(node):
                return False
        return True

    def _item(self, handle: str, index: int) -> tuple[Any, str] | None:
        """Where an entry of a list comes from: the node that put it there, and the tensor that it put."""
        node = self._values.node(handle)
        while node.op == "TensorListSetItem":
            place = self._values.of(node.input[1])
            if place is None:
                return None
            if int(place) == index:
                return node, node.input[2]
            node = self._values.node(node.input[0])
        return (node, node.input[0]) if node.op == "TensorListFromTensor" else None

    def _read(self, node: Any) -> bool:
        index = self._values.of(node.input[1])
        item = None if index is None else self._item(node.input[0], int(index))
        if item is None:
            # What is only read within a loop that stays is none of this one's.
            return self._values.node(node.input[0]).op not in ("TensorListSetItem", "TensorListFromTensor")
        maker, tensor = item
        dtype = node.attr["element_dtype"].type
        if maker.op == "TensorListSetItem":
            _become(node, "Identity", [tensor], T=dtype)
            return True
        axis = self._constant(f"{node.name}/axis", 0)
        _become(node, "GatherV2", [tensor, node.input[1], axis], Tparams=dtype, Tindices=3, Taxis=3)
        return True

    def _stacked(self, node: Any) -> bool:
        first = self._values.node(node.input[0])
        count = 0
        while first.op == "TensorListSetItem":
            first = self._values.node(first.input[0])
            count += 1
        if not count:
            return True
        length = self._values.of(first.input[1]) if first.op == "TensorListReserve" else None
        if length is None:
            return False
        items = [self._item(node.input[0], i) for i in range(int(length))]
        if not items or any(item is None for item in items):
            return False
        _become(node, "Pack", [item[1] for item in items if item is not None], T=node.attr["element_dtype"].type)
        node.attr["N"].i, node.attr["axis"].i = len(items), 0
        return True

    def _constant(self, name: str, value: int) -> str:
        tf = tensorflow()
        node = self._graph_def.node.add(name=name, op="Const")
        node.attr["dtype"].type = tf.int32.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=tf.int32))
        return str(node.name)


def _become(node: Any, operation: str, inputs: Sequence[str], **types: int) -> None:
    control = [tensor for tensor in node.input if tensor.startswith("^")]
    node.op = operation
    del node.input[:]
    node.input.extend([*inputs, *control])
    node.ClearField("attr")
    for key, number in types.items():
        node.attr[key].type = number


def _full(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"
