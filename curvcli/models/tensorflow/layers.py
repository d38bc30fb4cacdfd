"""Groups a flat graph's weights into layers, by their names and the operations that they enter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from curvcli.models.base import Layer, Parameter
from curvcli.models.tensorflow.graph import GraphReader

_KINDS = {
    "Conv2D": "Conv2D",
    "Conv3D": "Conv3D",
    "DepthwiseConv2dNative": "DepthwiseConv2D",
    "Conv2DBackpropInput": "Conv2DTranspose",
    "MatMul": "Dense",
    "BatchMatMulV2": "Dense",
    "BatchMatMulV3": "Dense",
    "Einsum": "Dense",
    "GatherV2": "Embedding",
    "ResourceGather": "Embedding",
}


def layers_of(shapes: Mapping[str, tuple[int, ...]], untrained: Set[str], reader: GraphReader) -> Iterator[Layer]:
    """Parameters grouped by all but the last part of their names; a bare name is a layer of its own.

    Args:
        shapes: by parameter, in model order.
        untrained: the parameters that the file says were frozen.
        reader: of the graph that they enter.
    """
    groups: dict[str, list[str]] = {}
    for name in shapes:
        groups.setdefault(name.rpartition("/")[0] or name, []).append(name)
    nodes = set(reader.nodes)
    for owner, names in groups.items():
        operations = []
        for name in names:
            entries = reader.entries(name, nodes)
            met = entries if isinstance(entries, str) else next((reader.nodes[e.node].op for e in entries), "")
            operations.append(met)
        labels = {n.rpartition("/")[2] for n in names}
        kind = next((_KINDS[op] for op in operations if op in _KINDS), None)
        if kind is None:
            inside_loop = any("used inside" in op for op in operations)
            kind = "Recurrent" if inside_loop else "Normalization" if labels & {"gamma", "beta"} else "Parameter"
        parameters = [
            Parameter(n, n.rpartition("/")[2], shapes[n], _axes(kind, len(shapes[n])), n not in untrained)
            for n in names
        ]
        yield Layer(owner, kind, tuple(parameters))


def _axes(kind: str, ndim: int) -> tuple[str, ...]:
    if ndim == 1:
        return ("feature",) if kind in ("Normalization", "Parameter") else ("out",)
    named = {
        ("Conv2D", 4): ("kernel_h", "kernel_w", "in", "out"),
        ("Conv2D", 3): ("kernel", "in", "out"),
        ("Conv3D", 5): ("kernel_d", "kernel_h", "kernel_w", "in", "out"),
        ("DepthwiseConv2D", 4): ("kernel_h", "kernel_w", "in", "multiplier"),
        ("Conv2DTranspose", 4): ("kernel_h", "kernel_w", "out", "in"),
        ("Dense", 2): ("in", "out"),
        ("Recurrent", 2): ("in", "gates"),
        ("Embedding", 2): ("token", "feature"),
    }
    return named.get((kind, ndim), tuple(f"axis_{i}" for i in range(ndim)))
