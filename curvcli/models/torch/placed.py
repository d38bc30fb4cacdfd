"""The devices that are written in a TorchScript graph: where it was traced or scripted, not where it is to run.

A trace holds the device of every tensor that it made; a script's ``torch.zeros(n)`` means the processor. What was made
there must not meet tensors of another device.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from curvcli.models.torch.rewrite import all_nodes, constant

# These move a tensor to the device of their name.
_MOVES: Final = frozenset({"aten::cpu", "aten::cuda"})


def put_on(graph: Any, device: torch.device) -> None:
    """Have a graph make all its tensors on one device, whatever is written in it."""
    for node in all_nodes(graph):
        if node.kind() == "prim::Constant":
            _constant(graph, node, device)
        elif node.kind() == "aten::device":
            _instead(graph, node, device)
        elif node.kind() in _MOVES:
            node.output().replaceAllUsesWith(node.inputsAt(0))
        elif device.type != "cpu":
            _factory(graph, node, device)


def _constant(graph: Any, node: Any, device: torch.device) -> None:
    kind = node.output().type().kind()
    if kind == "DeviceObjType" and constant(node.output()) != device:
        _instead(graph, node, device)
    elif kind == "TensorType" and node.hasAttributes() and node.t("value").device != device:
        node.t_("value", node.t("value").to(device))


def _instead(graph: Any, node: Any, device: torch.device) -> None:
    """The device in the place of what a node returns."""
    graph.setInsertPoint(node)
    node.output().replaceAllUsesWith(graph.insertConstant(device))
    graph.setInsertPoint(graph.return_node())


def _factory(graph: Any, node: Any, device: torch.device) -> None:
    """Say where a tensor is made that is made of no other: left open, it would be on the processor."""
    place = _device_of_factory(node.schema())
    if place is not None and node.inputsAt(place).type().kind() == "NoneType":
        graph.setInsertPoint(node)
        node.replaceInput(place, graph.insertConstant(device))
        graph.setInsertPoint(graph.return_node())


@cache
def _device_of_factory(schema: str) -> int | None:
    """Which argument of an operation is the device of what it makes; None if it goes by a tensor's, or has none."""
    if not schema.startswith("aten::"):
        return None
    arguments = torch._C.parse_schema(schema).arguments
    if any("Tensor" in str(one.type) for one in arguments):
        return None
    return next((i for i, one in enumerate(arguments) if one.name == "device"), None)


def move_attributes(module: Any, graph: Any, device: torch.device) -> None:
    """Move the tensors that a graph reads from its modules and that are neither parameters nor buffers."""
    names = {node.s("name") for node in all_nodes(graph) if node.kind() == "prim::GetAttr"}
    for child in module.modules():
        registered = {*child._parameters.keys(), *child._buffers.keys(), *child._modules.keys()}
        for name in names - registered:
            if child._c.hasattr(name):
                value = child._c.getattr(name)
                moved = tree_map(lambda one: one.to(device) if isinstance(one, Tensor) else one, value)
                if any(isinstance(one, Tensor) for one in tree_leaves(value)):
                    child._c.setattr(name, moved)
