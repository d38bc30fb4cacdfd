"""One batch of a torch objective: one autograd graph, differentiated as often as asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array, OutputState, Site, as_float64
from curvcli.models.loss import loss_sum
from curvcli.models.torch_graph import AutogradGraph, Entry, operation
from curvcli.models.torch_linear import LinearUse, linear_use

if TYPE_CHECKING:
    from curvcli.models.torch_objective import TorchObjective

# Columns are squared and added in the model's dtype this many at a time, then in float64.
_FLUSH = 32
# Columns are contracted side by side as long as their z-gradients hold no more numbers than this.
_HELD = 1 << 23


class TorchBatch:
    """One batch and its autograd graph (see ``base.DifferentiatedBatch``)."""

    def __init__(self, objective: TorchObjective, data: Batch, parameters: Sequence[str]) -> None:
        """Run the forward pass."""
        self._objective = objective
        self._names = tuple(parameters)
        self._tensors = {name: objective.parameters[name] for name in parameters}
        objective.require(self._names)
        raw = objective.forward(data)
        # A scalar output has no axis of samples: the batch is then one sample.
        self.samples = 1 if objective.scalar else raw.shape[0]
        self._raw = raw
        self._loss = objective.batch_loss(data, tuple(raw.shape))
        self._edge = _edge(raw, cut=objective.cut)
        self._cotangent = self._loss_cotangent()
        self._first: dict[tuple[str, ...], tuple[Tensor | None, ...]] = {}
        self._uses: dict[str, LinearUse] = {}
        self._entries: dict[str, list[Entry]] | None = None
        self.interleaved: dict[str, bool] = {}

    # -- the loss -----------------------------------------------------------------------------------------------------

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.asarray(array, order="C")).to(self._objective.device, self._objective.dtype)

    def _loss_cotangent(self) -> Tensor:
        """∂ℓ/∂o, as a function of o that can be differentiated again."""
        raw, loss = self._raw, self._loss
        if loss.link == "output":
            return torch.ones_like(raw)
        truth, weight = self._tensor(loss.truth), self._tensor(loss.weight * loss.scale)
        if loss.link == "probabilities":
            return -weight * truth / raw
        if loss.link == "bernoulli":
            return weight * ((1 - truth) / (1 - raw) - truth / raw)
        return weight * (self._linked() - truth)

    def _linked(self) -> Tensor:
        raw, link = self._raw, self._loss.link
        if self._objective.cut:
            return raw.exp() if operation(raw.grad_fn) == "LogSoftmax" else raw
        if link == "softmax":
            return torch.softmax(raw, self._loss.class_axis)
        return torch.sigmoid(raw) if link == "sigmoid" else raw

    @property
    def output(self) -> OutputState:
        values = as_float64(self._raw.detach().cpu())
        if self._objective.cut and operation(self._raw.grad_fn) != "LogSoftmax":
            with np.errstate(divide="ignore"):
                # Log-probabilities are logits up to a shift per sample, which neither the loss nor softmax sees.
                values = np.log(values) if self._loss.link == "softmax" else np.log(values) - np.log1p(-values)
        return self._loss.state(values)

    def loss(self) -> float:
        return loss_sum(self.output)

    # -- first derivatives --------------------------------------------------------------------------------------------

    def _backward(self, inputs: Sequence[Any], cotangent: Tensor, *, create_graph: bool = False) -> Any:
        self._objective.require(self._names)  # another batch may have been opened for other parameters since
        self._objective.backward_passes += 1
        if self._edge is None:
            return tuple(None for _ in inputs)
        return torch.autograd.grad(
            [self._edge],
            list(inputs),
            grad_outputs=[cotangent],
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )

    def gradient(self, parameters: Sequence[str]) -> dict[str, Array]:
        found = self._backward([self._tensors[p] for p in parameters], self._cotangent.detach())
        return {
            p: np.zeros(self._tensors[p].shape) if g is None else as_float64(g.cpu())
            for p, g in zip(parameters, found, strict=True)
        }

    def _first_derivatives(self, key: tuple[str, ...], inputs: Sequence[Any]) -> tuple[Tensor | None, ...]:
        """∂ℓ/∂inputs with its own graph, kept for all products of the batch."""
        if key not in self._first:
            self._first[key] = self._backward(inputs, self._cotangent, create_graph=True)
        return self._first[key]

    # -- the graph ----------------------------------------------------------------------------------------------------

    def _graph_entries(self) -> tuple[AutogradGraph | None, dict[str, list[Entry]]]:
        if self._edge is None:
            return None, {name: [] for name in self._names}
        graph = AutogradGraph(self._edge.node)
        return graph, graph.entries(self._tensors)

    def read_sites(self) -> dict[str, Site]:
        """Where each parameter enters; one backward pass per guess of the rows' order."""
        graph, entries = self._graph_entries()
        sites: dict[str, Site] = {}
        linear: dict[str, Entry] = {}
        for name, found in entries.items():
            if not found:
                sites[name] = Site(name, reached=False)
            elif len(found) > 1:
                sites[name] = Site(name, reached=True, why_not=f"it is used {len(found)} times")
            else:
                use = linear_use(found[0], self._tensors[name], self.samples)
                if isinstance(use, str):
                    sites[name] = Site(name, reached=True, why_not=use, operation=operation(found[0].node))
                else:
                    linear[name] = found[0]
                    self._uses[name] = use
        if graph is None or not linear:
            return sites
        nodes = list({id(e.node): e.node for e in linear.values()}.values())
        blocker = dict(zip([id(n) for n in nodes], graph.blockers(nodes), strict=True))
        position = {id(node): i for i, node in enumerate(graph.nodes)}
        self._entries = entries
        for name, entry in linear.items():
            mixed = self._row_order(name, entry)
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

    def _row_order(self, name: str, entry: Entry) -> str:
        """Find out how z's rows belong to samples; empty if found, else why not."""
        selected = np.arange(self.samples) < (self.samples + 1) // 2
        for interleaved in (False, True):
            use = linear_use(entry, self._tensors[name], self.samples, interleaved=interleaved)
            if isinstance(use, str):
                continue
            self._uses[name], self.interleaved[name] = use, interleaved
            if self.samples_separate([name], selected):
                return ""
        return "samples influence each other between it and the loss"

    def _use(self, name: str) -> LinearUse:
        if name not in self._uses:
            entry = self._entry(name)
            use = linear_use(entry, self._tensors[name], self.samples, interleaved=self._objective.interleaved(name))
            if isinstance(use, str):
                raise ModelError(f"{name}: {use}, but only from a later batch on; use --method coordinate.")
            self._uses[name] = use
        return self._uses[name]

    def _entry(self, name: str) -> Entry:
        if self._entries is None:
            _, self._entries = self._graph_entries()
        return self._entries[name][0]

    def _edges(self, parameters: Sequence[str]) -> tuple[list[Any], list[int]]:
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

    # -- second derivatives -------------------------------------------------------------------------------------------

    def samples_separate(self, parameters: Sequence[str], selected: Array) -> bool:
        if self.samples == 1 or selected.all():
            return True
        edges, which = self._edges(parameters)
        noise = np.random.default_rng(0).choice([-1.0, 1.0], size=tuple(self._raw.shape))
        noise *= selected.reshape(-1, *(1,) * (self._raw.ndim - 1))
        deltas = self._backward(edges, self._tensor(noise))
        others = torch.from_numpy(~selected)
        for name, i in zip(parameters, which, strict=True):
            if deltas[i] is not None and bool((self._use(name).layout.canonical(deltas[i])[others] != 0).any()):
                return False
        return True

    def squared_columns(self, parameters: Sequence[str], columns: Array) -> dict[str, Array]:
        edges, which = self._edges(parameters)
        uses = [self._use(p) for p in parameters]
        total = {p: np.zeros(self._tensors[p].shape) for p in parameters}
        for start in range(0, len(columns), _FLUSH):
            part: dict[str, Tensor] = {}
            held: list[tuple[Tensor | None, ...]] = []
            chunk = self._tensor(columns[start : start + _FLUSH])
            for number, column in enumerate(chunk):
                held.append(self._backward(edges, column))
                room = sum(d.numel() for d in held[-1] if d is not None) * (len(held) + 1) <= _HELD
                if room and number + 1 < len(chunk):
                    continue
                for name, use, i in zip(parameters, uses, which, strict=True):
                    deltas = [d for h in held if (d := h[i]) is not None]
                    if deltas:
                        squares = use.squares(deltas)
                        part[name] = part[name].add_(squares) if name in part else squares
                held.clear()
            for name, value in part.items():
                total[name] += as_float64(value.cpu())
        return total

    def output_hessian_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        edges, which = self._edges(parameters)
        if len(edges) != 1 or any(which):
            raise ValueError("parameters of one call must share their z")
        uses = {p: self._use(p) for p in parameters}
        layout = next(iter(uses.values())).layout
        total = {p: np.zeros(self._tensors[p].numel()) for p in parameters}
        (first,) = self._first_derivatives((f"z:{parameters[0]}",), edges)
        if first is not None and first.requires_grad:
            basis = torch.zeros(layout.samples, layout.channels, layout.positions)
            basis = basis.to(self._objective.device, self._objective.dtype)
            for number in range(start, stop):
                channel, position = divmod(number, layout.positions)
                basis[:, channel, position] = 1
                (product,) = self._second(first, edges, layout.original(basis))
                basis[:, channel, position] = 0
                if product is None:
                    continue
                row = layout.canonical(product)[:, channel]
                for name, use in uses.items():
                    index, value = use.basis_product(channel, position, row)
                    np.add.at(total[name], np.asarray(index), as_float64(value.cpu()))
        return {p: value.reshape(self._tensors[p].shape) for p, value in total.items()}

    def _second(self, first: Any, inputs: Sequence[Any], vector: Any) -> tuple[Tensor | None, ...]:
        self._objective.require(self._names)
        self._objective.backward_passes += 1
        try:
            result: tuple[Tensor | None, ...] = torch.autograd.grad(
                first, inputs, grad_outputs=vector, retain_graph=True, allow_unused=True
            )
        except RuntimeError as error:
            raise ModelError(
                f"{self._objective.where}: an operation has no second derivative ({str(error).splitlines()[0]})."
            ) from error
        return result

    def hessian_products(self, block: Sequence[str], vectors: Array) -> Array:
        tensors = [self._tensors[p] for p in block]
        sizes = [t.numel() for t in tensors]
        first = self._first_derivatives(tuple(block), tensors)
        products = np.zeros((len(vectors), sum(sizes)))
        live = [i for i, g in enumerate(first) if g is not None and g.requires_grad]
        if not live:
            return products
        starts = np.cumsum([0, *sizes])
        for k, row in enumerate(vectors):
            parts = [self._tensor(row[starts[i] : starts[i + 1]]).reshape(tensors[i].shape) for i in live]
            found = self._second([first[i] for i in live], tensors, parts)
            for i, value in enumerate(found):
                if value is not None:
                    products[k, starts[i] : starts[i + 1]] = as_float64(value.cpu()).ravel()
        return products

    def hessian_diagonal_entries(self, parameter: str, indices: Array) -> Array:
        tensor = self._tensors[parameter]
        (first,) = self._first_derivatives((parameter,), [tensor])
        entries = np.zeros(len(indices))
        if first is None or not first.requires_grad:
            return entries
        flat = first.reshape(-1)
        for k, index in enumerate(indices):
            (row,) = self._second([flat[int(index)]], [tensor], None)
            if row is not None:
                entries[k] = float(row.reshape(-1)[int(index)])
        return entries


def _edge(raw: Tensor, *, cut: bool) -> GradientEdge | None:
    """Where the loss's input stands in the graph; before the final softmax or sigmoid if that is cut off."""
    if raw.grad_fn is None:
        return None
    if not cut:
        return GradientEdge(raw.grad_fn, raw.output_nr)
    source, number = raw.grad_fn.next_functions[0]
    return None if source is None else GradientEdge(source, number)
