"""Changes to a copy of a TorchScript graph: operations without a right second derivative, and dtypes.

Each change replaces one node where it stands. PyTorch's own pass for patterns moves what it writes out of the block, so
that both branches of an ``if`` would run, the in-place one included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

# How TorchScript writes float16, bfloat16 and float32, and their complex numbers, in its code; and in which are halves.
_HALVES: Final = {5: torch.float16, 15: torch.bfloat16, 8: torch.complex32}
_NARROW: Final = {**_HALVES, 6: torch.float32, 9: torch.complex64}
_NUMBERS: Final = {torch.float32: (6, 9, torch.complex64), torch.float64: (7, 10, torch.complex128)}


def all_nodes(block: Any) -> Iterator[Any]:
    """The nodes of a graph or block, those of the blocks within them included; safe against changes on the way."""
    for node in list(block.nodes()):
        within = list(node.blocks())
        yield node
        for inner in within:
            yield from all_nodes(inner)


def constant(value: Any) -> Any:
    """What a value of a graph always is, if it is a plain constant; else None."""
    node = value.node()
    return node.output().toIValue() if node.kind() == "prim::Constant" else None


class Writer:
    """Writes nodes before another one, in its block."""

    def __init__(self, graph: Any, before: Any) -> None:
        """Everything is written before this node."""
        self._graph, self._before = graph, before

    def number(self, value: bool | int | float | list[int]) -> Any:
        """A constant."""
        self._graph.setInsertPoint(self._before)
        made = self._graph.insertConstant(value)
        self._graph.setInsertPoint(self._graph.return_node())
        return made

    def none(self) -> Any:
        """The constant None."""
        node = self._graph.create("prim::Constant", [], 1)
        node.insertBefore(self._before)
        node.output().setType(torch._C.NoneType.get())
        return node.output()

    def add(self, kind: str, *inputs: Any, outputs: int = 1) -> Any:
        """An operation; its first output."""
        node = self._graph.create(kind, list(inputs), outputs)
        node.insertBefore(self._before)
        return node.outputsAt(0)

    def whole(self, kind: str, *inputs: Any) -> Any:
        """An operation that gives a whole number, and no tensor."""
        value = self.add(kind, *inputs)
        value.setType(torch._C.IntType.get())
        return value

    def certain(self, value: Any) -> Any:
        """A tensor that is there, though its type does not say so."""
        return self.add("aten::_unwrap_optional", value) if value.type().kind() == "OptionalType" else value


def rewrite(graph: Any) -> bool:
    """Write out the operations whose second derivatives PyTorch lacks or gets wrong; returns whether there were any.

    Where the graph differentiates itself, the same of third derivatives and higher ones.
    """
    changed = False
    nodes = list(all_nodes(graph))
    written_out = _WRITTEN_OUT | (_OF_HIGHER_ORDER if any(node.kind() == "aten::grad" for node in nodes) else {})
    for node in nodes:
        equal = written_out.get(node.kind())
        value = None if equal is None else equal(Writer(graph, node), node)
        if value is not None:
            node.outputsAt(0).replaceAllUsesWith(value)
            changed = True
            if not any(output.uses() for output in node.outputs()):
                node.destroy()
    return changed


def _data(write: Writer, node: Any) -> Any:
    """What is changed in place through ``.data``, autograd does not see: it would take the new numbers for the old."""
    return write.add("aten::detach", node.inputsAt(0))


def _hard_sigmoid(write: Writer, node: Any) -> Any:
    """It has no second derivative at all."""
    moved = write.add("aten::add", node.inputsAt(0), write.number(3), write.number(1))
    cut = write.add("aten::hardtanh", moved, write.number(0), write.number(6))
    return write.add("aten::div", cut, write.number(6))


def _hard_sigmoid_in_place(write: Writer, node: Any) -> Any:
    return write.add("aten::copy_", node.inputsAt(0), _hard_sigmoid(write, node), write.number(False))


def _celu(write: Writer, node: Any) -> Any | None:
    """Its derivative (PyTorch 2.13) rounds 1/α to float32: wrong by 4e-8 in float64."""
    x, alpha = node.inputsAt(0), node.inputsAt(1)
    value = constant(alpha)
    if not value:
        return None
    return write.add(node.kind().replace("celu", "elu"), x, alpha, write.number(1.0), write.number(1.0 / value))


def _weight_norm(write: Writer, node: Any) -> Any:
    """Its double backward (PyTorch 2.13) takes the norm for a constant: Hessians come out wrong, and not symmetric."""
    direction, size, axis = (node.inputsAt(i) for i in range(3))
    norm = write.add("aten::norm_except_dim", direction, write.number(2), axis)
    return write.add("aten::mul", direction, write.add("aten::div", size, norm))


# How TorchScript numbers the ways to put a bag's rows together.
_SUM, _MEAN, _MAX = range(3)


def _embedding_bag(write: Writer, node: Any) -> Any | None:
    """Its derivative has none. Which bag has which token, as a matrix of zeros and ones, puts the rows together."""
    weight, indices, offsets = (node.inputsAt(i) for i in range(3))
    mode = constant(node.inputsAt(4))
    if mode not in (_SUM, _MEAN, _MAX):
        return None
    none, zero, one = write.none(), write.number(0), write.number(1)
    skipped = node.inputsAt(8) if node.inputsSize() > 8 else none
    padding = write.number(-1) if skipped.node().mustBeNone() else skipped

    def counted(like: Any) -> Any:
        ones = write.add("aten::ones_like", like, none, none, none, none, none)
        return write.add("aten::sub", write.add("aten::cumsum", ones, zero, none), one, one)

    # Whether the last offset is an end: a script may know only when it runs.
    bags = write.whole(
        "aten::sub", write.whole("aten::size", offsets, zero), write.whole("aten::Int", node.inputsAt(7))
    )
    starts = write.add("aten::slice", offsets, zero, none, bags, one)
    after = write.add(
        "aten::searchsorted", starts, counted(indices), write.number(False), write.number(True), none, none
    )
    bag = write.add("aten::unsqueeze", write.add("aten::sub", after, one, one), zero)
    here = write.add("aten::eq", write.add("aten::unsqueeze", counted(starts), one), bag)
    used = write.add("aten::unsqueeze", write.add("aten::ne", indices, padding), zero)
    within = write.add("aten::__and__", here, used)
    member = write.add("aten::type_as", within, weight)
    # No `embedding`: where all bags are empty, its second derivative fails.
    rows = write.add("aten::index_select", weight, zero, indices)
    every = write.add("aten::ones_like", indices, none, none, none, none, none)
    count = write.add("aten::unsqueeze", write.add("aten::mv", member, write.add("aten::type_as", every, weight)), one)
    if mode == _MAX:
        wide = write.add("aten::unsqueeze", within, write.number(2))
        values = write.add("aten::where", wide, write.add("aten::unsqueeze", rows, zero), write.number(-float("inf")))
        # One more, so that there is a largest where all bags are empty.
        values = write.add("aten::constant_pad_nd", values, write.number([0, 0, 0, 1]), write.number(-float("inf")))
        largest = write.add("aten::max", values, one, write.number(False), outputs=2)
        return write.add("aten::where", write.add("aten::gt", count, zero), largest, zero)
    shares = member
    weights = node.inputsAt(6)
    if not weights.node().mustBeNone():
        weights = write.certain(weights)
        shares = write.add("aten::mul", member, write.add("aten::unsqueeze", weights, zero))
    total = write.add("aten::mm", shares, rows)
    return write.add("aten::div", total, write.add("aten::clamp_min", count, one)) if mode == _MEAN else total


def _layer_norm(write: Writer, node: Any) -> Any | None:
    """Its double backward (PyTorch 2.13) takes mean and variance for constants: all beyond it comes out wrong."""
    x, shape, weight, bias, epsilon = (node.inputsAt(i) for i in range(5))
    maker = shape.node()
    sizes = constant(shape)
    if sizes is None and maker.kind() != "prim::ListConstruct":
        return None
    axes = write.number(list(range(-(maker.inputsSize() if sizes is None else len(sizes)), 0)))
    kept, none, one = write.number(True), write.none(), write.number(1)
    centred = write.add("aten::sub", x, write.add("aten::mean", x, axes, kept, none), one)
    variance = write.add("aten::mean", write.add("aten::mul", centred, centred), axes, kept, none)
    normalised = write.add(
        "aten::mul", centred, write.add("aten::rsqrt", write.add("aten::add", variance, epsilon, one))
    )
    if not weight.node().mustBeNone():
        normalised = write.add("aten::mul", normalised, write.certain(weight))
    return normalised if bias.node().mustBeNone() else write.add("aten::add", normalised, write.certain(bias), one)


_WRITTEN_OUT: Final[dict[str, Callable[[Writer, Any], Any | None]]] = {
    "aten::hardsigmoid": _hard_sigmoid,
    "aten::hardsigmoid_": _hard_sigmoid_in_place,
    "aten::celu": _celu,
    "aten::celu_": _celu,
    "aten::_weight_norm": _weight_norm,
    "aten::embedding_bag": _embedding_bag,
    "prim::data": _data,
    "aten::data": _data,
}
# Of these PyTorch has second derivatives, and no right ones beyond them.
_OF_HIGHER_ORDER: Final[dict[str, Callable[[Writer, Any], Any | None]]] = {"aten::layer_norm": _layer_norm}


def halves(graph: Any) -> bool:
    """Whether numbers of 16 bits are written down in a graph."""
    return any(number in _HALVES for node in all_nodes(graph) for _, number in _written(node)) or any(
        _constant_dtype(node) in _HALVES.values() for node in all_nodes(graph)
    )


def widen(graph: Any, dtype: torch.dtype) -> bool:
    """Make what is written down in a graph of lower precision as precise as a module's parameters and buffers are made.

    A trace writes dtypes down as numbers; left alone, they would round in the middle of the computation. Returns
    whether there were any.

    Args:
        graph: to change.
        dtype: float32, which stands for 16 bits, or float64, which stands for float32 as well.
    """
    real, complex_number, complex_dtype = _NUMBERS[dtype]
    lower = {n: one for n, one in _NARROW.items() if n in _HALVES or dtype is torch.float64}
    changed = False
    for node in all_nodes(graph):
        own = _constant_dtype(node)
        if own in lower.values():
            node.t_("value", node.t("value").to(complex_dtype if own.is_complex else dtype))
            node.output().inferTypeFrom(node.t("value"))
            changed = True
        for place, number in _written(node):
            if number in lower:
                wider = complex_number if lower[number].is_complex else real
                node.replaceInput(place, Writer(graph, node).number(wider))
                changed = True
    return changed


def _written(node: Any) -> Iterator[tuple[int, int]]:
    """The dtypes that stand as constants in an operation's arguments: place and number."""
    signature = "(no schema)" if node.kind() == "prim::Constant" else node.schema()
    if signature == "(no schema)":
        return
    for place, argument in enumerate(torch._C.parse_schema(signature).arguments):
        if argument.name == "dtype" and place < node.inputsSize():
            number = constant(node.inputsAt(place))
            if number is not None:
                yield place, number


def _constant_dtype(node: Any) -> Any:
    """The dtype of a tensor written down in a graph; None of all other nodes."""
    plain = node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t"
    return node.t("value").dtype if plain else None
