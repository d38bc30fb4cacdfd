"""Finds in which scope of a function each captured variable is read: ``net/block/dense`` for a layer of Keras."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from curvcli.models.tensorflow.nodes import source

_READS = frozenset({"ReadVariableOp", "ResourceGather"})
# The attribute that names the function which gets an operation's operands, in their order.
_BODIES = ("f", "body")
# ``dense_1`` for ``dense`` the second time that its scope is entered.
_AGAIN = re.compile(r"_\d+$")


def scopes_of(signature: Any) -> dict[int, str]:
    """The scope in which each variable is read first, by the ``id`` of the handle that the signature captures.

    The scope that is around all of them is left out, and so are the numbers that TensorFlow puts behind names of
    scopes that are entered again, where all have one and are told apart without.
    """
    graph_def = signature.graph.as_graph_def()
    library = {function.signature.name: _Body(function) for function in graph_def.library.function}
    captured = signature.captured_inputs
    slots = [t.name.split(":")[0] for t in signature.graph.inputs[len(signature.graph.inputs) - len(captured) :]]
    whole = _consumers(graph_def.node)
    reads = {id(h): _read(slot, whole, library) for h, slot in zip(captured, slots, strict=True)}
    paths = {key: read.split("/")[:-2] for key, read in reads.items() if read}
    while paths and all(len(path) > 1 for path in paths.values()) and len({path[0] for path in paths.values()}) == 1:
        paths = {key: path[1:] for key, path in paths.items()}
    bare = {key: tuple(_AGAIN.sub("", part) for part in path) for key, path in paths.items()}
    numbered = all(_AGAIN.search(part) for path in paths.values() for part in path)
    if numbered and len(set(bare.values())) == len({tuple(path) for path in paths.values()}):
        return {key: "/".join(path) for key, path in bare.items()}
    return {key: "/".join(path) for key, path in paths.items()}


class _Body:
    """A function's arguments, and who reads what in it, looked up once."""

    def __init__(self, function: Any) -> None:
        self.arguments = [argument.name for argument in function.signature.input_arg]
        self._function = function

    @cached_property
    def consumers(self) -> dict[str, list[Any]]:
        return _consumers(self._function.node_def)


def _consumers(nodes: Iterable[Any]) -> dict[str, list[Any]]:
    consumers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in dict.fromkeys(source(tensor) for tensor in node.input if not tensor.startswith("^")):
            consumers.setdefault(name, []).append(node)
    return consumers


def _read(name: str, consumers: dict[str, list[Any]], library: dict[str, _Body], above: tuple[str, ...] = ()) -> str:
    """The operation that reads a handle in a graph or in what it calls; nothing if there is none."""
    for node in consumers.get(name, ()):
        if node.op in _READS:
            return str(node.name) if node.op == "ReadVariableOp" else f"{node.name}/read"
        called = next((node.attr[key].func.name for key in _BODIES if key in node.attr), "")
        if node.op == "Identity":
            reader = _read(node.name, consumers, library, above)
        elif called in library and called not in above:
            place = [source(tensor) for tensor in node.input if not tensor.startswith("^")].index(name)
            body = library[called]
            reader = _read(body.arguments[place], body.consumers, library, (*above, called))
        else:
            continue
        if reader:
            return reader
    return ""
