"""What an exported graph says of what it is called with: shapes, dtypes, and tables that are looked up in."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from curvcli.models.base import Port
from curvcli.models.torch.pt2.graph import Graph, Reference
from curvcli.models.torch.pt2.signature import Fed, Held, Signature

_LOOK_UP = "embedding"


def ports_of(signature: Signature, graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Port, ...]:
    """One for each input, the samples' axis left open: shorter batches are padded.

    Args:
        signature: of the graph.
        graph: as it was saved.
        tensors: that the graph holds, by name.
    """
    pairs = zip(graph.inputs, signature.inputs, strict=True)
    values = {one.name: entry for one, entry in pairs if isinstance(one, Reference)}
    rows: dict[str, int] = {}
    for node in graph.all_nodes():
        if node.operator.name != _LOOK_UP:
            continue
        table, indices = (values.get(getattr(node.argument(key), "name", "")) for key in ("weight", "indices"))
        if isinstance(table, Held) and isinstance(indices, Fed) and table.name in tensors:
            rows[indices.name] = min(rows.get(indices.name, 1 << 62), int(tensors[table.name].shape[0]))
    return tuple(
        Port(
            one.name,
            # A word stands for a size that is free, and so does the number of samples.
            tuple(size if place and isinstance(size, int) else None for place, size in enumerate(one.sizes)),
            str(one.dtype).removeprefix("torch."),
            rows.get(one.name),
        )
        for one in signature.fed
    )
