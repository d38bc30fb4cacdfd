"""What is asked of a flat graph to find the operations that bend a z; see ``models.bends``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curvcli.models.bends import BentBy
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import full
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.operations import LOOPS, MULTILINEAR, ONE_BY_ONE
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.shapes import Measured


class BendingOperations:
    """A flat graph (see ``models.bends.Operations``)."""

    def __init__(self, forward: Forward, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """``shapes`` are those of real numbers, by tensor; others can't be told by columns."""
        self._reader, self._shapes = forward.reader, shapes
        self._live = forward.reader.live(forward.output)
        self.order: Sequence[str] = [name for name in forward.reader.order if name in self._live]

    def bending(self, starts: Sequence[Sequence[str]]) -> list[list[str]]:
        return self._reader.bending(starts, self._live)

    def reads(self, node: str) -> Sequence[str]:
        return [full(tensor) for tensor in self._reader.nodes[node].input if not tensor.startswith("^")]

    def maker(self, place: str) -> str:
        return source(place)

    def output(self, node: str) -> str:
        return f"{node}:0"

    def factors(self, node: str) -> Sequence[str]:
        return self.reads(node) if self._reader.nodes[node].op in MULTILINEAR else ()

    def one_by_one(self, node: str) -> bool:
        return self._reader.nodes[node].op in ONE_BY_ONE

    def shape(self, place: str) -> tuple[int, ...] | None:
        inside = self._reader.nodes[source(place)].op in LOOPS
        return None if inside else self._shapes.get(place)


def tensors_after(forward: Forward, starts: Sequence[str]) -> list[str]:
    """The tensors whose shapes tell what bends these nodes' outputs costs; none if nothing does."""
    live = forward.reader.live(forward.output)
    if not any(forward.reader.bending([[start] for start in starts], live)):
        return []
    after = forward.reader.downstream(starts) & live
    read = {full(t) for name in after for t in forward.reader.nodes[name].input if source(t) in after}
    return sorted(read | {f"{name}:0" for name in after})


def bent_by(forward: Forward, starts: Sequence[str], measured: Mapping[str, Measured]) -> BentBy[str, str]:
    """The operations that bend what these nodes make, with the shapes of ``tensors_after``."""
    real = {tensor: one.shape for tensor, one in measured.items() if tensorflow().as_dtype(one.dtype).is_floating}
    return BentBy(BendingOperations(forward, real), starts)
