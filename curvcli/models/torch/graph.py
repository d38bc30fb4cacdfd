"""Reads an autograd graph: where each parameter enters, and what lies between there and the loss."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from curvcli.models.reach import bending, bits

# Nodes whose output is linear, or piecewise linear, in all their differentiable inputs together.
_PIECEWISE_LINEAR = frozenset(
    """Abs AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool2D AdaptiveMaxPool3D Add Alias Amax Amin AsStrided
    AvgPool2D AvgPool3D Cat Clamp ClampMax ClampMin Clone Col2Im ConstantPadNd Copy Cumsum Diagonal
    Expand Flip Gather Hardshrink Hardtanh Im2Col Index IndexSelect LeakyRelu MaskedFill Max
    MaxPool2DWithIndices MaxPool3DWithIndices Maximum Mean Min Minimum Movedim Narrow Neg Permute PixelShuffle
    PixelUnshuffle ReflectionPad1D ReflectionPad2D ReflectionPad3D Relu Repeat ReplicationPad1D ReplicationPad2D
    ReplicationPad3D Reshape ReshapeAlias Roll Rsub Select Slice Softshrink Split SplitWithSizes SqueezeMultiple
    Squeeze Stack Sub Sum T Threshold ToCopy Transpose Tril Triu Unbind Unfold UnsafeSplit UnsafeView Unsqueeze
    UpsampleBicubic2D UpsampleBilinear2D UpsampleLinear1D UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D
    UpsampleNearestExact2D UpsampleTrilinear3D View Where""".split()
)
# Nodes linear in each of these two operands alone (by position); the rest of their operands are added.
FACTORS = {
    "Mul": (0, 1),
    "Mm": (0, 1),
    "Bmm": (0, 1),
    "Mv": (0, 1),
    "Dot": (0, 1),
    "Addmm": (1, 2),
    "Addmv": (1, 2),
    "Addbmm": (1, 2),
    "Baddbmm": (1, 2),
    "Addcmul": (1, 2),
    "Convolution": (0, 1),
    "MkldnnConvolution": (0, 1),
    "PreluKernel": (0, 1),
}
# What may stand between a parameter and the operation that uses it; all are linear and keep every entry.
_CARRIERS = frozenset(
    {"T", "Transpose", "Permute", "View", "Reshape", "ReshapeAlias", "Unsqueeze", "Squeeze", "Expand"}
)


def operation(node: Any) -> str:
    """``ConvolutionBackward0`` → ``Convolution``; where a model differentiates, ``TanhBackwardBackward0`` keeps one."""
    return re.sub(r"Backward(?!.*Backward)\w*$", "", node.name().lstrip("_"))


def readable(node: Any) -> str:
    """``MaxPool2DWithIndicesBackward0`` → ``max_pool2d_with_indices``: the name as the framework's users know it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", operation(node)).lower()


@dataclass(frozen=True)
class Entry:
    """One place at which a parameter joins the data.

    Attributes:
        node: the joining node; its output 0 is z.
        operand: which input of the node the parameter is.
        carriers: the operations between the parameter and the node, parameter first.
    """

    node: Any
    operand: int
    carriers: tuple[Any, ...]


class AutogradGraph:
    """The graph below one output, in forward order."""

    def __init__(self, root: Any) -> None:
        """``root`` is the node that computes the loss's input."""
        self.nodes = _forward_order(root)
        self._consumers: dict[Any, list[tuple[Any, int]]] = {}
        for node in self.nodes:
            for operand, (source, _) in enumerate(node.next_functions):
                if source is not None:
                    self._consumers.setdefault(source, []).append((node, operand))

    def entries(self, parameters: Mapping[str, torch.Tensor]) -> dict[str, list[Entry]]:
        """Every place at which each parameter that the output depends on joins the data.

        A parameter that is not named in the result has no path to the output. One that is may join the data nowhere:
        its list then ends with the root itself, the last of its carriers.
        """
        # Tensors, not addresses: two parameters may lie in one storage.
        by_tensor = {id(tensor): name for name, tensor in parameters.items()}
        place = {node: i for i, node in enumerate(self.nodes)}
        entries: dict[str, list[Entry]] = {}
        for node in self.nodes:
            name = by_tensor.get(id(getattr(node, "variable", None)))
            if name is not None:
                entries[name] = sorted(self._follow(node, ()), key=lambda entry: place[entry.node])
        return entries

    def _follow(self, node: Any, carriers: tuple[Any, ...]) -> list[Entry]:
        entries: list[Entry] = []
        if node is self.nodes[-1]:
            entries.append(Entry(node, 0, carriers))
        for consumer, operand in self._consumers.get(node, []):
            if operation(consumer) in _CARRIERS and consumer is not self.nodes[-1]:
                entries += self._follow(consumer, (*carriers, consumer))
            else:
                entries.append(Entry(consumer, operand, carriers))
        return entries

    def leaves(self, parameters: Sequence[torch.Tensor]) -> list[Any]:
        """The nodes at which these parameters enter the graph."""
        wanted = {id(tensor) for tensor in parameters}
        return [node for node in self.nodes if id(getattr(node, "variable", None)) in wanted]

    def signature(self, parameters: Mapping[str, torch.Tensor]) -> tuple[Any, ...]:
        """What the graph computes, as far as methods are chosen by it: equal for batches that take the same way.

        Operations in forward order, what each reads, and which parameter each leaf is. Sizes are left out: they differ
        between batches of other lengths.
        """
        by_tensor = {id(tensor): name for name, tensor in parameters.items()}
        place = {node: i for i, node in enumerate(self.nodes)}
        return tuple(
            (
                operation(node),
                by_tensor.get(id(getattr(node, "variable", None))),
                tuple((place.get(source, -1), number) for source, number in node.next_functions),
            )
            for node in self.nodes
        )

    def downstream(self, starts: Sequence[Any]) -> set[Any]:
        """The starts and every node that depends on them."""
        dependent = set(starts)
        for node in self.nodes:
            if any(source in dependent for source, _ in node.next_functions):
                dependent.add(node)
        return dependent

    def blockers(self, starts: Sequence[Sequence[Any]]) -> list[str | None]:
        """For each group of starts, the first later operation that is not piecewise linear in them; None if all are.

        Of the nodes of a group all outputs vary together.
        """
        return [readable(nodes[0]) if nodes else None for nodes in self.bending(starts)]

    def bending(self, starts: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """For each group of starts, all later operations that are not piecewise linear in them, in order."""
        bent: list[list[Any]] = [[] for _ in starts]
        for node, mask in bending(
            self.nodes,
            starts,
            sources=lambda node: [source for source, _ in node.next_functions],
            blocked_by=_blocked_by,
        ):
            for i in bits(mask):
                bent[i].append(node)
        return bent


def _forward_order(root: Any) -> list[Any]:
    """All nodes below ``root``, each after what it depends on; iterative, as graphs are deeper than Python's stack."""
    order: list[Any] = []
    done: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
            continue
        if node in done:
            continue
        done.add(node)
        stack.append((node, True))
        stack.extend((source, False) for source, _ in node.next_functions if source is not None and source not in done)
    return order


def _blocked_by(node: Any, masks: Sequence[int], total: int) -> int:
    """The starts whose influence this node bends."""
    name = operation(node)
    if not total:
        return 0
    if _complex(node):
        # The size of a complex number, say, is no piecewise linear function of its parts.
        return total
    if name in _PIECEWISE_LINEAR:
        return 0
    if name in FACTORS:
        first, second = FACTORS[name]
        factors = [masks[i] if i < len(masks) else 0 for i in (first, second)]
        return factors[0] & factors[1]
    if name == "Div":
        return masks[1] if len(masks) > 1 else 0
    if name in ("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm") and not getattr(node, "_saved_training", True):
        return masks[0] & masks[1]
    if name == "NativeLayerNorm":
        # Bent in its input alone; the weight multiplies what that bends.
        return masks[0]
    if name == "Embedding":
        return 0
    return total


def _complex(node: Any) -> bool:
    """Whether a node reads or makes complex numbers."""
    around = [(node, 0), *node.next_functions]
    made = [source._input_metadata[number].dtype for source, number in around if source is not None]
    return any(dtype.is_complex for dtype in made if dtype is not None)
