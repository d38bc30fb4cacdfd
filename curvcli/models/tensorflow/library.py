"""The functions of a GraphDef: bodies of loops and branches, whose names are global in a process."""

from __future__ import annotations

from itertools import count
from typing import Any

from curvcli.models.tensorflow.nodes import all_nodes

_numbers = count(1)


def register_functions(graph_def: Any) -> None:
    """Make the bodies of loops and branches known to the process: importing a graph alone does not."""
    from tensorflow.python.eager import context

    for function in graph_def.library.function:
        if not context.context().has_function(function.signature.name):
            context.context().add_function_def(function)


def own_functions(graph_def: Any) -> None:
    """Give a graph functions of its own, under names that no other graph has.

    TensorFlow rewrites loops when it differentiates them, under names that follow from theirs; two derivatives of one
    loop in two traced functions would be two functions of one name.
    """
    if graph_def.library.function:
        rename_functions(graph_def, f"_{next(_numbers)}")
        register_functions(graph_def)


def rename_functions(graph_def: Any, suffix: str) -> None:
    """Put something behind the name of every function, wherever it is called."""
    renamed = {f.signature.name: f.signature.name + suffix for f in graph_def.library.function}
    for node in all_nodes(graph_def):
        node.op = renamed.get(node.op, node.op)
        for value in node.attr.values():
            held = value.WhichOneof("value")
            if held == "func":
                value.func.name = renamed.get(value.func.name, value.func.name)
            elif held == "list":
                for function in value.list.func:
                    function.name = renamed.get(function.name, function.name)
    for function in graph_def.library.function:
        function.signature.name = renamed[function.signature.name]
