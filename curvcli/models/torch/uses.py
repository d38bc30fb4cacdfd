"""A weight that several operations are linear in, each with an output z_t of its own.

Give every use a copy of the weight: the diagonal sums over pairs of uses, and for s before t the derivative of what use
t joins the weight with, by z_s, adds to that of ∂ℓ/∂z_t (see ``curvature.diagonal.pairs_of_uses``). Both are had from
one function, ∂(ℓ + Σ_t ⟨u_t, a_t⟩)/∂z_s at u = 0 with a_t the data of use t: its derivatives along a vector by z_t and
by u_t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.torch import bus
from curvcli.models.torch.derivatives import derivatives
from curvcli.models.torch.end import LossEnd
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.linear import LinearUse
from curvcli.models.torch.orders import row_orders
from curvcli.models.torch.rules import data_operand, linear_use
from curvcli.models.torch.sites import Sites
from curvcli.models.torch.totals import Totals
from curvcli.wording import option


@dataclass(frozen=True)
class _Change:
    """One use's data as they depend on the outputs of uses before it.

    Attributes:
        use: its number.
        dummy: u_t, zeros like the data.
    """

    use: int
    dummy: Tensor


class SeveralUses:
    """All uses of some parameters that share them, in one batch."""

    def __init__(
        self, forward: Forward, end: LossEnd, opened: Sequence[str], sites: Sites, parameters: Sequence[str]
    ) -> None:
        """Read the graph; nothing is differentiated yet.

        Args:
            forward: which made it.
            end: of the batch's graph.
            opened: the parameters that the batch is differentiated by.
            sites: of the batch.
            parameters: which share their uses.

        Raises:
            ModelError: in this batch they have no such uses.
        """
        self._forward, self._end, self._opened = forward, end, tuple(opened)
        self._names = tuple(parameters)
        self._entries = {name: sites.entries_of(name) for name in parameters}
        self._tensors = {name: forward.parameters[name] for name in parameters}
        nodes = [tuple(entry.node for entry in entries) for entries in self._entries.values()]
        if len(set(nodes)) != 1:
            raise ValueError("parameters of one call must share their uses")
        self._edges = [GradientEdge(node, 0) for node in nodes[0]]
        self._after = sites.graph.downstream(nodes[0])
        self._first: tuple[Tensor | None, ...] | None = None
        self._changes: list[_Change] = []

    @cached_property
    def separate(self) -> bool:
        """See ``base.DifferentiatedBatch.uses_separate``."""
        return not any(order is None for order in self._orders)

    @cached_property
    def _orders(self) -> list[bool | None]:
        """Per use, whether its rows are time-major; None where samples influence each other after it."""
        tensor = self._tensors[self._names[0]]
        places = [(entry, tensor) for entry in self._entries[self._names[0]]]
        return row_orders(places, self._end.rows, self._end.raw, self._pull)

    def _form(self, name: str, number: int, *, interleaved: bool, change: Tensor | None = None) -> LinearUse:
        entry, tensor = self._entries[name][number], self._tensors[name]
        use = linear_use(entry, tensor, self._end.rows, interleaved=interleaved, change=change)
        if isinstance(use, str):
            raise ModelError(f"{name}: {use}; use {option('method', 'coordinate')}.")
        return use

    @cached_property
    def _uses(self) -> dict[str, list[LinearUse]]:
        """The canonical form of each use, by parameter."""
        orders = list(enumerate(self._orders))
        return {name: [self._form(name, i, interleaved=bool(one)) for i, one in orders] for name in self._names}

    def _derive(
        self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Tensor], *, again: bool = False
    ) -> tuple[Tensor | None, ...]:
        self._forward.parameters.require(self._opened)  # another batch may have been opened for other parameters since
        failure = f"{self._forward.where}: an operation has no second derivative"
        return derivatives(outputs, list(inputs), cotangents, failure, create_graph=again)

    def _pull(self, inputs: Sequence[Any], cotangent: Tensor) -> tuple[Tensor | None, ...]:
        return self._derive([self._end.edge], inputs, [cotangent])

    @property
    def vectors(self) -> int:
        """See ``base.DifferentiatedBatch.uses_vectors``."""
        return sum(use.layout.channels * use.layout.positions for use in self._uses[self._names[0]])

    def diagonal(self, start: int, stop: int) -> dict[str, Array]:
        """See ``base.DifferentiatedBatch.uses_diagonal``."""
        sums = Totals({name: tensor.shape for name, tensor in self._tensors.items()})
        first = self._first_derivatives()
        slopes = self._pull(self._edges, self._end.cotangent.detach())
        begin = 0
        for number, use in enumerate(self._uses[self._names[0]]):
            layout = use.layout
            size = layout.channels * layout.positions
            basis = torch.zeros(layout.samples, layout.channels, layout.positions)
            basis = basis.to(self._end.raw.device, self._end.raw.dtype)
            for place in range(max(start - begin, 0), min(stop - begin, size)):
                one = first[number]
                if one is None or not one.requires_grad:
                    break
                channel, position = divmod(place, layout.positions)
                basis[:, channel, position] = 1
                dummies = [change.dummy for change in self._changes]
                pulled = self._derive([one], [*self._edges, *dummies], [layout.original(basis)])
                for name in self._names:
                    sums.add_at(name, *self._entries_along(name, number, channel, basis, slopes, pulled))
                basis[:, channel, position] = 0
            begin += size
        return sums.arrays()

    def _first_derivatives(self) -> tuple[Tensor | None, ...]:
        """∂(ℓ + Σ_t ⟨u_t, a_t⟩)/∂z_s for all s, with its own graph."""
        if self._first is None:
            places: list[Any] = []
            entries = next((e for n, e in self._entries.items() if any(data_operand(x) is not None for x in e)), ())
            for number, entry in enumerate(entries):
                operand = data_operand(entry)
                source, output = (None, 0) if operand is None else entry.node.next_functions[operand]
                if source is not None and source in self._after:
                    about = source._input_metadata[output]
                    dummy = torch.zeros(tuple(about.shape), dtype=about.dtype, device=self._end.raw.device)
                    self._changes.append(_Change(number, dummy.requires_grad_()))
                    places.append(GradientEdge(source, output))
            dummies = [change.dummy for change in self._changes]
            outputs, cotangents = [self._end.edge, *places], [self._end.cotangent, *dummies]
            self._first = self._derive(outputs, self._edges, cotangents, again=True)
        return self._first

    def _entries_along(
        self,
        name: str,
        number: int,
        channel: int,
        basis: Tensor,
        slopes: Sequence[Tensor | None],
        pulled: Sequence[Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        """What one basis vector of one use's output gives for a parameter: places in it, and what to add there."""
        uses = self._uses[name]
        index, left = uses[number].unit(channel, basis[:, channel])
        right = torch.zeros_like(left)
        for use, product in zip(uses, pulled, strict=False):
            if product is not None:
                right += _at(use, index, channel, product, alike=uses[number])
        for change, moved in zip(self._changes, pulled[len(uses) :], strict=True):
            slope, order = slopes[change.use], uses[change.use].layout.interleaved
            if moved is None or slope is None or data_operand(self._entries[name][change.use]) is None:
                continue
            form = self._form(name, change.use, interleaved=order, change=moved)
            right += 2 * _at(form, index, channel, slope, alike=uses[number])
        return index, (left * right).sum(0)


def _at(use: LinearUse, index: Tensor, channel: int, delta: Tensor, *, alike: LinearUse) -> Tensor:
    """J_nᵀ δ_n at some entries of the parameter, those of another use's channel: (samples, k)."""
    if type(use) is type(alike) and use.layout.channels == alike.layout.channels:
        places, values = use.unit(channel, use.layout.canonical(delta)[:, channel])
        if places.shape == index.shape and bus.holds((places == index).all()):
            return values
    return use.sample_gradients(delta)[:, index.to(delta.device)]
