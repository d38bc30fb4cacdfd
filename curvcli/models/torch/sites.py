"""Where the parameters of one batch enter its graph, and the operation each of them is linear in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.errors import ModelError
from curvcli.models.base import Array, Site, Uses
from curvcli.models.bends import BentBy
from curvcli.models.samples import halves, tags
from curvcli.models.sites import linear_site
from curvcli.models.torch import bus
from curvcli.models.torch.bends import BendingOperations, Place
from curvcli.models.torch.graph import AutogradGraph, Entry, operation, readable
from curvcli.models.torch.linear import LinearUse
from curvcli.models.torch.lookups import looked_up
from curvcli.models.torch.orders import Pull, per_sample, random_signs, row_orders, same_when_tagged
from curvcli.models.torch.rules import confirmed, linear_use
from curvcli.models.torch.several import columns_at_once
from curvcli.wording import option


class Sites:
    """The entries of some parameters; read from the graph when first needed.

    Attributes:
        interleaved: per parameter, whether its z was found to be time-major.
    """

    def __init__(
        self, root: Any, tensors: Mapping[str, Tensor], samples: int, known_order: Callable[[Hashable, str], bool]
    ) -> None:
        """Read nothing yet.

        Args:
            root: the node that computes the loss's input; None if it depends on no parameter.
            tensors: by full name.
            samples: of the batch.
            known_order: whether a parameter's z is time-major, as the first batch with this signature told.
        """
        self._root, self._tensors, self._samples = root, tensors, samples
        self._known_order = known_order
        self._uses: dict[str, LinearUse] = {}
        self.interleaved: dict[str, bool] = {}

    @cached_property
    def graph(self) -> AutogradGraph:
        """All of it; there must be one."""
        return AutogradGraph(self._root)

    @cached_property
    def _entries(self) -> dict[str, list[Entry]]:
        return {} if self._root is None else self.graph.entries(self._tensors)

    @property
    def signature(self) -> tuple[Any, ...]:
        """Equal for batches of the same structure; see ``AutogradGraph.signature``."""
        return () if self._root is None else self.graph.signature(self._tensors)

    def read(self, output: Tensor, pull: Pull) -> dict[str, Site]:
        """Describe every parameter.

        Args:
            output: what the model returned; for its shape, dtype and device.
            pull: derivatives of the loss's input, which has the output's shape.
        """
        sites = {name: Site(name, reached=name in self._entries) for name in self._tensors}
        if self._root is None:
            return sites
        linear: dict[str, Entry] = {}
        several: dict[str, Uses] = {}
        for name, entries in self._entries.items():
            if len(entries) > 1:
                why = f"it is used {len(entries)} times"
                sites[name] = Site(name, reached=True, why_not=why)
                if (uses := self._several(name, entries)) is not None:
                    several[name] = uses
                continue
            (entry,) = entries
            use: LinearUse | str = "it reaches the loss without meeting the data"
            if entry.node is not self._root or self._reads_data(entry):
                use = linear_use(entry, self._tensors[name], self._samples)
            if isinstance(use, str):
                sites[name] = Site(name, reached=True, why_not=use, operation=operation(entry.node))
            else:
                linear[name] = entry
        places = [(entry, self._tensors[name]) for name in several for entry in self._entries[name]]
        orders = dict(zip([e.node for e, _ in places], row_orders(places, self._samples, output, pull), strict=True))
        for name, uses in several.items():
            if all(orders[entry.node] is not None for entry in self._entries[name]):
                sites[name] = replace(sites[name], uses=uses)
        nodes = list(dict.fromkeys(entry.node for entry in linear.values()))
        bent = self.bent_by(nodes)
        first = {node: after.first for node, after in zip(nodes, bent.after, strict=True)}
        blocker = {node: None if one is None else readable(one) for node, one in first.items()}
        bends = dict(zip(nodes, bent.bends(self._samples), strict=True))
        why_not = self._locate(linear, output, pull)
        position = {id(node): i for i, node in enumerate(self.graph.nodes)} if linear else {}
        for name, entry in linear.items():
            where = operation(entry.node)
            if name in why_not:
                sites[name] = Site(name, reached=True, why_not=why_not[name], operation=where)
                continue
            place = f"z{position[id(entry.node)]}"
            one, layout = entry.node, self._uses[name].layout
            sites[name] = linear_site(name, place, where, layout, blocker=blocker[one], bends=bends[one])
        return sites

    def bent_by(self, nodes: Sequence[Any]) -> BentBy[Any, Place]:
        """The operations that bend what these nodes' outputs vary."""
        return BentBy(BendingOperations(self.graph), nodes)

    @staticmethod
    def _reads_data(entry: Entry) -> bool:
        """Whether the root joins the parameter with anything else, as a network of one layer does."""
        return len(entry.node.next_functions) > 1

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """See ``Objective.joint_blocker``."""
        if self._root is None:
            return None
        return self.graph.blockers([self.graph.leaves([self._tensors[p] for p in parameters])])[0]

    # -- how z's rows belong to samples, and whether the canonical form is right --------------------------------------

    def _locate(self, entries: Mapping[str, Entry], output: Tensor, pull: Pull) -> dict[str, str]:
        """Find the canonical forms and the order of each z's rows; returns what has none, and why."""
        why_not: dict[str, str] = {}
        left = list(entries)
        for interleaved in (False, True):
            candidates = []
            for name in left:
                use = linear_use(entries[name], self._tensors[name], self._samples, interleaved=interleaved)
                if isinstance(use, str):
                    why_not.setdefault(name, use)
                    continue
                self._uses[name], self.interleaved[name] = use, interleaved
                candidates.append(name)
            # All together: one pass to all of them costs little more than one to the first.
            mixed = self.mixed(candidates, output, pull)
            for name in set(candidates) - mixed:
                why_not.pop(name, None)
                if not self._confirmed(name, interleaved=interleaved):
                    why_not[name] = f"its part in {operation(entries[name].node)} is not what such operations do"
            left = [name for name in left if name in mixed or name not in candidates]
            if not left:
                break
        for name in left:
            why_not.setdefault(name, "samples influence each other between it and the loss")
        for name in why_not:
            self._uses.pop(name, None)
        return why_not

    def _confirmed(self, name: str, *, interleaved: bool) -> bool:
        entry, tensor = self._entries[name][0], self._tensors[name]
        use = linear_use(entry, tensor, self._samples, interleaved=interleaved)  # with no patches kept after this
        return not isinstance(use, str) and confirmed(entry, tensor, use)

    def _several(self, name: str, entries: Sequence[Entry]) -> Uses | None:
        """The uses of a parameter, if it is linear in each of them while the others stay."""
        nodes = [entry.node for entry in entries]
        if len(set(nodes)) < len(nodes) or any(e.node is self._root and not self._reads_data(e) for e in entries):
            return None
        vectors = 0
        for entry in entries:
            use = linear_use(entry, self._tensors[name], self._samples)
            if isinstance(use, str) or not confirmed(entry, self._tensors[name], use):
                return None
            vectors += use.layout.channels * use.layout.positions
        position = {node: i for i, node in enumerate(self.graph.nodes)}
        return Uses("u" + ",".join(str(position[node]) for node in nodes), vectors)

    def entries_of(self, name: str) -> list[Entry]:
        """Every place at which a parameter joins the data."""
        return self._entries.get(name, [])

    def mixed(self, parameters: Sequence[str], output: Tensor, pull: Pull) -> set[str]:
        """Those parameters of whose z some row is reached from another sample's output."""
        if self._samples == 1 or not parameters:
            return set()
        edges, which = self.edges(parameters)
        layouts = {name: self.use(name).layout for name in parameters}
        noise = random_signs(output)
        plain = pull(edges, noise)
        suspects: set[str] = set()
        for tag in tags(self._samples):
            weights = bus.to_device(tag, output.device, output.dtype)
            tagged = pull(edges, noise * per_sample(weights, output.ndim))
            for name, i in zip(parameters, which, strict=True):
                if not same_when_tagged(plain[i], tagged[i], weights, layouts[name]):
                    suspects.add(name)
        # Where the arithmetic of a kernel depends on the other samples, or numbers are too large, zeros still tell.
        return {name for name in suspects if not self._apart(name, output, pull)}

    def _apart(self, name: str, output: Tensor, pull: Pull) -> bool:
        edges, _ = self.edges([name])
        layout = self.use(name).layout
        for half in halves(self._samples):
            selected = bus.to_device(half, output.device)
            (delta,) = pull(edges, random_signs(output) * per_sample(selected, output.ndim))
            if delta is not None and bus.holds((layout.canonical(delta)[~selected] != 0).any()):
                return False
        return True

    def rows(self, name: str) -> Array | None:
        """See ``base.DifferentiatedBatch.rows``."""
        return looked_up(self._entries.get(name, ()), self._tensors[name])

    def columns_at_once(self) -> int:
        """How many columns on the output one backward pass should take."""
        return 1 if self._root is None else columns_at_once(self.graph.nodes)

    # -- for the derivatives of a batch -------------------------------------------------------------------------------

    def use(self, name: str) -> LinearUse:
        """The operation that a parameter is linear in.

        Raises:
            ModelError: in this batch there is none, though one was expected.
        """
        if name not in self._uses:
            entry = self._entry(name)
            use = linear_use(entry, self._tensors[name], self._samples, interleaved=self._order(name))
            if isinstance(use, str):
                raise ModelError(
                    f"{name}: {use}, but only from a later batch on; use {option('method', 'coordinate')}."
                )
            self._uses[name] = use
        return self._uses[name]

    def _order(self, name: str) -> bool:
        return self._known_order(self.signature, name)

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
        return self._entries[name][0]
