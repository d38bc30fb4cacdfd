"""Changes to a TorchScript graph before it is first executed: operations without a right second derivative, dtypes."""

from __future__ import annotations

from typing import Any, Final

import torch

# How TorchScript writes torch.float32 and torch.float64 in its code.
_SCRIPT_FLOAT32, _SCRIPT_FLOAT64 = 6, 7


def _graph(inputs: str, body: str, result: str) -> str:
    """A graph as TorchScript's own rewriting pass reads it."""
    return f"graph({inputs}):{body}\n  return ({result})"


_HARDSIGMOID: Final = """
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %three : int = prim::Constant[value=3]()
  %six : int = prim::Constant[value=6]()
  %moved : Tensor = aten::add(%x, %three, %one)
  %cut : Tensor = aten::hardtanh(%moved, %zero, %six)
  %y : Tensor = aten::div(%cut, %six)"""
_STORED: Final = """
  %no : bool = prim::Constant[value=0]()
  %stored : Tensor = aten::copy_(%x, %y, %no)"""
_WEIGHT_NORM: Final = """
  %two : int = prim::Constant[value=2]()
  %norm : Tensor = aten::norm_except_dim(%v, %two, %dim)
  %factor : Tensor = aten::div(%g, %norm)
  %w : Tensor = aten::mul(%v, %factor)"""

# Pairs of an operation and what is equal to it, with derivatives of every order.
_WRITTEN_OUT: Final = (
    # Its double backward (PyTorch 2.13) takes the norm for a constant: Hessians come out wrong, and not symmetric.
    (
        _graph("%v, %g, %dim", "\n  %w : Tensor = aten::_weight_norm(%v, %g, %dim)", "%w"),
        _graph("%v, %g, %dim", _WEIGHT_NORM, "%w"),
    ),
    # It has no second derivative at all.
    (_graph("%x", "\n  %y : Tensor = aten::hardsigmoid(%x)", "%y"), _graph("%x", _HARDSIGMOID, "%y")),
    (_graph("%x", "\n  %y : Tensor = aten::hardsigmoid_(%x)", "%y"), _graph("%x", _HARDSIGMOID + _STORED, "%stored")),
)


def rewrite(graph: Any, *, widen: bool) -> None:
    """Change a module's ``forward``, with all that it calls, in place.

    Args:
        graph: not executed so far.
        widen: make float32 written down in it float64, as ``Module.double`` does with parameters and buffers. A trace
            writes dtypes down as numbers; left alone, they would round in the middle of a float64 computation.
    """
    torch._C._jit_pass_inline(graph)
    for operation, equal in _WRITTEN_OUT:
        torch._C._jit_pass_custom_pattern_based_rewrite_graph(operation, equal, graph)
    if widen:
        _widen_block(graph, graph)


def _widen_block(block: Any, graph: Any) -> None:
    for node in list(block.nodes()):
        for inner in node.blocks():
            _widen_block(inner, graph)
        if node.kind() == "prim::Constant":
            if node.hasAttribute("value") and node.kindOf("value") == "t" and node.t("value").dtype is torch.float32:
                node.t_("value", node.t("value").double())
                node.output().inferTypeFrom(node.t("value"))
            continue
        signature = node.schema()
        if signature == "(no schema)":
            continue
        for place, argument in enumerate(torch._C.parse_schema(signature).arguments):
            if argument.name != "dtype" or place >= node.inputsSize():
                continue
            source = node.inputsAt(place).node()
            constant = source.kind() == "prim::Constant" and source.hasAttribute("value")
            if constant and source.kindOf("value") == "i" and source.i("value") == _SCRIPT_FLOAT32:
                graph.setInsertPoint(node)
                node.replaceInput(place, graph.insertConstant(_SCRIPT_FLOAT64))
