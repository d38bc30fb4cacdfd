"""Puts the bodies of called functions in place of the calls that freezing leaves: those marked for a compiler.

A call has no derivative of its own in a graph, and hides which operation reads which weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curvcli.models.tensorflow.nodes import control_inputs, source

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def inline_calls(graph_def: Any) -> None:
    """Inline every call of the graph itself, calls within calls included; what loops call stays."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    while True:
        calls = [node for node in graph_def.node if node.op in _CALLS and node.attr["f"].func.name in functions]
        if not calls:
            return
        for node in calls:
            _inline(graph_def, node, functions[node.attr["f"].func.name])


def inlined(graph_def: Any, name: str, function: Any, tensors: Sequence[str]) -> list[str]:
    """Put a function's nodes under ``name`` into a graph, reading ``tensors``; the tensors that it returns."""
    return _copied(graph_def, name, function, tensors)[0]


def _copied(graph_def: Any, name: str, function: Any, tensors: Sequence[str]) -> tuple[list[str], list[str]]:
    """The same, with what has to be done when the function is called."""
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

    body, flat_name = function_def_to_graph_def(function)
    signature = function.signature
    arguments = dict(zip((argument.name for argument in signature.input_arg), tensors, strict=True))

    def inside(tensor: str) -> str:
        caret = "^" if tensor.startswith("^") else ""
        return f"{caret}{name}/{tensor.lstrip('^')}"

    for step in body.node:
        copied = graph_def.node.add()
        copied.CopyFrom(step)
        copied.name = inside(step.name)
        del copied.input[:]
        if step.name in arguments and step.op == "Placeholder":
            copied.op = "Identity"
            copied.ClearField("attr")
            copied.attr["T"].type = step.attr["dtype"].type
            copied.input.append(arguments[step.name])
        else:
            copied.input.extend(inside(tensor) for tensor in step.input)
    returned = [inside(flat_name[function.ret[argument.name]]) for argument in signature.output_arg]
    kept = [f"^{inside(source(flat_name.get(one, one)))}" for one in function.control_ret.values()]
    return returned, kept


def _inline(graph_def: Any, node: Any, function: Any) -> None:
    control = control_inputs(node)
    tensors = [tensor for tensor in node.input if not tensor.startswith("^")]
    returned, kept = _copied(graph_def, node.name, function, tensors)
    types = [argument.type for argument in function.signature.output_arg]
    single = len(returned) == 1
    node.op = "Identity" if single else "IdentityN"
    del node.input[:]
    node.input.extend([*returned, *kept, *control])
    node.ClearField("attr")
    if single:
        node.attr["T"].type = types[0]
    else:
        node.attr["T"].list.type.extend(types)
