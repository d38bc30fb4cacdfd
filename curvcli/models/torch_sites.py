"""Where the parameters of one batch enter its graph, and the operation each of them is linear in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.errors import ModelError
from curvcli.models.base import Array, Site, halves
from curvcli.models.torch_graph import AutogradGraph, Entry, operation
from curvcli.models.torch_linear import LinearUse
from curvcli.models.torch_rules import linear_use


class Sites:
    """The entries of some parameters; read from the graph when first asked for.

    Attributes:
        interleaved: per parameter, whether its z was found to be time-major.
    """

    def __init__(
        self, root: Any, tensors: Mapping[str, Tensor], samples: int, known_order: Callable[[str], bool]
    ) -> None:
        """Nothing is read yet.

        Args:
            root: the node that computes the loss's input; None if it depends on no parameter.
            tensors: by full name.
            samples: of the batch.
            known_order: whether a parameter's z is time-major, as the first batch told.
        """
        self._root, self._tensors, self._samples = root, tensors, samples
        self._known_order = known_order
        self._uses: dict[str, LinearUse] = {}
        self._entries: dict[str, list[Entry]] | None = None
        self.interleaved: dict[str, bool] = {}

    def read(self, separate: Callable[[Sequence[str], Array], bool]) -> dict[str, Site]:
        """Describe every parameter.

        Args:
            separate: ``DifferentiatedBatch.samples_separate``; one call per guess of the rows' order.
        """
        sites = {name: Site(name, reached=False) for name in self._tensors}
        if self._root is None:
            return sites
        graph = AutogradGraph(self._root)
        self._entries = graph.entries(self._tensors)
        linear: dict[str, Entry] = {}
        for name, found in self._entries.items():
            if len(found) > 1:
                sites[name] = Site(name, reached=True, why_not=f"it is used {len(found)} times")
            elif found:
                use = linear_use(found[0], self._tensors[name], self._samples)
                if isinstance(use, str):
                    sites[name] = Site(name, reached=True, why_not=use, operation=operation(found[0].node))
                else:
                    linear[name] = found[0]
                    self._uses[name] = use
        nodes = list({id(e.node): e.node for e in linear.values()}.values())
        blocker = dict(zip([id(n) for n in nodes], graph.blockers([[n] for n in nodes]), strict=True))
        position = {id(node): i for i, node in enumerate(graph.nodes)}
        for name, entry in linear.items():
            mixed = self._row_order(name, entry, separate)
            layout = self._uses[name].layout
            sites[name] = Site(
                name,
                reached=True,
                z=None if mixed else f"z{position[id(entry.node)]}:{layout.channels}x{layout.positions}",
                why_not=mixed,
                operation=operation(entry.node),
                units=layout.channels,
                positions=layout.positions,
                blocker=blocker[id(entry.node)],
            )
        return sites

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """See ``Objective.joint_blocker``."""
        if self._root is None:
            return None
        graph = AutogradGraph(self._root)
        return graph.blockers([graph.leaves([self._tensors[p] for p in parameters])])[0]

    def _row_order(self, name: str, entry: Entry, separate: Callable[[Sequence[str], Array], bool]) -> str:
        """Find out how z's rows belong to samples; empty if found, else why not."""
        for interleaved in (False, True):
            use = linear_use(entry, self._tensors[name], self._samples, interleaved=interleaved)
            if isinstance(use, str):
                continue
            self._uses[name], self.interleaved[name] = use, interleaved
            if all(separate([name], half) for half in halves(self._samples)):
                return ""
        return "samples influence each other between it and the loss"

    def use(self, name: str) -> LinearUse:
        """The operation that a parameter is linear in.

        Raises:
            ModelError: in this batch there is none, though the first batch had one.
        """
        if name not in self._uses:
            use = linear_use(self._entry(name), self._tensors[name], self._samples, interleaved=self._known_order(name))
            if isinstance(use, str):
                raise ModelError(f"{name}: {use}, but only from a later batch on; use --method coordinate.")
            self._uses[name] = use
        return self._uses[name]

    def edges(self, parameters: Sequence[str]) -> tuple[list[Any], list[int]]:
        """The distinct z of these parameters as gradient edges, and which one each parameter has."""
        nodes: dict[int, int] = {}
        edges: list[Any] = []
        which: list[int] = []
        for name in parameters:
            node = self._entry(name).node
            if id(node) not in nodes:
                nodes[id(node)] = len(edges)
                edges.append(GradientEdge(node, 0))
            which.append(nodes[id(node)])
        return edges, which

    def _entry(self, name: str) -> Entry:
        if self._entries is None:
            self._entries = AutogradGraph(self._root).entries(self._tensors)
        return self._entries[name][0]
