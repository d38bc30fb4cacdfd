"""The curvature of the operations after some z, column by column (see ``bends``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.errors import ModelError
from curvcli.models.base import Array, Bend
from curvcli.models.bends import Bending, orders
from curvcli.models.samples import halves, tags
from curvcli.models.torch import bus
from curvcli.models.torch.bends import Place, shape_of
from curvcli.models.torch.derivatives import derivatives
from curvcli.models.torch.end import LossEnd
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.graph import readable
from curvcli.models.torch.linear import LinearUse
from curvcli.models.torch.orders import per_sample, random_signs
from curvcli.models.torch.sites import Sites
from curvcli.models.torch.totals import Totals
from curvcli.wording import option

Operations = Bending[Any, Place]
# Columns are contracted side by side as long as their z-gradients hold no more numbers than this, and this many.
_HELD, _AT_ONCE = 1 << 22, 32
# How far derivatives by entries one by one may be from those by all at once, relative to the largest: rounding.
_CONFIRMED = {torch.float32: 1e-3, torch.float64: 1e-9}
_SEED = 20_000
_INSTEAD = f"use {option('method', 'coordinate')}"


class BendColumns:
    """The columns of one batch for some parameters, each of which has a z."""

    def __init__(
        self, forward: Forward, end: LossEnd, opened: Sequence[str], sites: Sites, parameters: Sequence[str]
    ) -> None:
        """Read the graph; nothing is differentiated yet.

        Args:
            forward: which made it.
            end: of the batch's graph.
            opened: the parameters that the batch is differentiated by.
            sites: of the batch.
            parameters: whose z.
        """
        self._forward, self._end, self._opened = forward, end, tuple(opened)
        self._names, self._samples = tuple(parameters), end.rows
        self._slope = slope = end.cotangent.detach()
        self._edges, self._which = sites.edges(parameters)
        self._uses = [sites.use(name) for name in parameters]
        self._bent = sites.bent_by([edge.node for edge in self._edges])
        self._bendings = self._bent.all_others()
        self._signs = random_signs(slope)
        self._order: dict[Place, int] = {}
        self._curved: dict[Operations, _Curved | None] = {}
        self._consumed = _consumed(sites.graph.nodes)

    def _derive(
        self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        self._forward.parameters.require(self._opened)  # another batch may have been opened for other parameters since
        failure = f"{self._forward.where}: an operation has no second derivative"
        return derivatives(outputs, list(inputs), cotangents, failure)

    def _pull(self, inputs: Sequence[Any], cotangent: Tensor) -> tuple[Tensor | None, ...]:
        return self._derive([self._end.edge], inputs, [cotangent])

    @property
    def bends(self) -> tuple[Bend, ...]:
        """See ``base.DifferentiatedBatch.bends``."""
        made = [(bending, self._bent.bend(bending, self._samples)) for bending in self._bendings]
        lost = next((bending for bending, bend in made if bend is None), None)
        if lost is not None:
            raise ModelError(f"what {readable(lost.nodes[0])} reads has no rows of single samples; {_INSTEAD}.")
        return tuple(bend for _, bend in made if bend is not None)

    def columns(self, start: int, stop: int) -> dict[str, Array]:
        """See ``base.DifferentiatedBatch.bend_columns``."""
        total = _Total(self._names, self._uses, self._which)
        first = 0
        for bending, bend in zip(self._bendings, self.bends, strict=True):
            begin, end = max(start - first, 0), min(stop - first, bend.columns)
            first += bend.columns
            curved = self._curvature(bending) if begin < end else None
            if curved is not None:
                bent = [i for i, after in enumerate(self._bent.after) if bending in after.others]
                self._columns_of(curved, bent, begin, end, total)
        return total.values()

    def _columns_of(self, curved: _Curved, bent: Sequence[int], begin: int, end: int, total: _Total) -> None:
        """Those of one operation, for the z that it bends."""
        edges = [self._edges[i] for i in bent]
        first = 0
        for read, slope in zip(curved.basis, curved.slopes, strict=True):
            shape = shape_of(read)
            order = self._order[read]
            unit = torch.zeros(order, self._samples, _rest(shape, order, self._samples))
            unit = unit.to(self._slope.device, self._slope.dtype)
            size = unit.numel() // self._samples
            # Only where the operation is elementwise: the diagonal of H_k.
            bent_by = None if curved.diagonal is None else curved.diagonal.reshape(unit.shape)
            for number in range(max(begin - first, 0), min(end - first, size)):
                before, after = divmod(number, unit.shape[2])
                unit[before, :, after] = 1
                vector = unit.reshape(shape).clone()
                unit[before, :, after] = 0
                left = self._derive([GradientEdge(*read)], edges, [vector])
                if bent_by is not None:
                    total.add(bent, left, None, bent_by[before, :, after])
                elif slope is not None:
                    total.add(bent, left, self._derive([slope], edges, [vector]), None)
            first += size

    def _curvature(self, bending: Operations) -> _Curved | None:
        """What an operation says of its curvature; None if it has none."""
        if not self._order:
            self._find_orders()
        if bending not in self._curved:
            self._curved[bending] = self._read(bending)
        return self._curved[bending]

    def _slopes(self, node: Any) -> list[Tensor | None]:
        """∂ℓ/∂ of every output of a node."""
        numbers = sorted(self._consumed.get(node, {0}))
        slopes: list[Tensor | None] = [None] * len(node._input_metadata)
        pulled = self._pull([GradientEdge(node, number) for number in numbers], self._slope)
        for number, slope in zip(numbers, pulled, strict=True):
            slopes[number] = None if slope is None else slope.detach()
        return slopes

    def _returned(self, node: Any) -> dict[Place, Tensor]:
        """∂⟨∂ℓ/∂k, k⟩ by what a node reads, as a function of that."""
        slopes = self._slopes(node)
        if all(slope is None for slope in slopes):
            return {}
        with torch.enable_grad():
            parts = node(*slopes)
        by_place: dict[Place, Tensor] = {}
        for place, part in zip(node.next_functions, parts if isinstance(parts, tuple) else (parts,), strict=True):
            if part is not None and place[0] is not None:
                own = part.sum_to_size(shape_of(place))  # it may have been broadcast
                by_place[place] = by_place[place] + own if place in by_place else own
        return {place: part for place, part in by_place.items() if part.requires_grad}

    def _read(self, bending: Operations) -> _Curved | None:
        if bending.kind == "elementwise":
            diagonal = self._of_entries(GradientEdge(*bending.basis[0]), bending.nodes)
            return None if diagonal is None else _Curved(bending.basis, [None], diagonal)
        returned = self._returned(bending.nodes[0])
        slopes = [returned.get(place) for place in bending.basis]
        if bending.kind == "bilinear":
            # H_k has this block twice.
            slopes = [None if slope is None else 2 * slope for slope in slopes]
        return None if all(slope is None for slope in slopes) else _Curved(bending.basis, slopes, None)

    def _find_orders(self) -> None:
        """How the entries of all that columns go through belong to samples.

        Raises:
            ModelError: that can't be told.
        """
        reads = list(dict.fromkeys(read for bending in self._bendings for read in bending.basis))
        edges = [GradientEdge(*read) for read in reads]
        samples, ndim = self._samples, self._slope.ndim
        open_orders = {read: orders(shape_of(read), samples) for read in reads}

        def keep(weights: Tensor, agrees: Callable[[Tensor, Tensor, Tensor], bool]) -> dict[Place, list[int]]:
            """Which orders agree with what the samples' outputs pull when weighted."""
            pulled = self._pull(edges, self._signs * per_sample(weights, ndim))
            return {
                read: [
                    order
                    for order in open_orders[read]
                    if one is None
                    or two is None
                    or agrees(one.reshape(order, samples, -1), two.reshape(order, samples, -1), weights)
                ]
                for read, one, two in zip(reads, plain, pulled, strict=True)
            }

        plain = self._pull(edges, self._signs)
        left = dict(open_orders)
        for tag in tags(samples):
            kept = keep(_like(tag, self._slope), lambda p, t, w: bus.holds((p * w[:, None] == t).all()))
            left = {read: [order for order in left[read] if order in kept[read]] for read in reads}
        if any(not some for some in left.values()):
            # Where the arithmetic of a kernel depends on the other samples, or numbers are too large, zeros still tell.
            by_zeros = dict(open_orders)
            for half in halves(samples):
                kept = keep(_like(half, self._slope), lambda _, t, w: not bus.holds(t[:, w == 0].any()))
                by_zeros = {read: [order for order in by_zeros[read] if order in kept[read]] for read in reads}
            left = {read: some or by_zeros[read] for read, some in left.items()}
        lost = next((bending for bending in self._bendings if not all(left[read] for read in bending.basis)), None)
        if lost is not None:
            raise ModelError(f"what {readable(lost.nodes[0])} reads can't be told apart by samples; {_INSTEAD}.")
        self._order = {read: some[0] for read, some in left.items()}

    # -- operations that take each entry of a z by itself --------------------------------------------------------------

    def in_step(self) -> dict[str, Array]:
        """See ``base.DifferentiatedBatch.bends_in_step``."""
        pairs = zip(self._edges, self._bent.after, strict=True)
        weights = [self._of_entries(edge, after.in_step) for edge, after in pairs]
        sums = Totals({name: use.shape for name, use in zip(self._names, self._uses, strict=True)})
        for name, use, which in zip(self._names, self._uses, self._which, strict=True):
            weight = weights[which]
            if weight is not None:
                sums.add(name, use.entrywise(weight))
        return sums.arrays()

    def _of_entries(self, edge: Any, nodes: Sequence[Any]) -> Tensor | None:
        """The curvature of such operations by what stands at an edge, which is diagonal; shaped as there."""
        slopes: list[Tensor] = []
        along: list[Tensor] = []
        for node in nodes:
            returned = self._returned(node)
            for place in self._bent.reads(node):
                if place not in returned:
                    continue
                slopes.append(returned[place])
                along.append(self._of_one_by_one(edge, place, node))
        if not slopes:
            return None
        (weight,) = self._derive(slopes, [edge], along)
        return weight

    def _of_one_by_one(self, edge: Any, place: Place, node: Any) -> Tensor:
        """The derivative of each entry that stands at a place by the same entry at an edge; shaped as at the place."""
        shape, like = shape_of(place), self._slope
        random = torch.Generator().manual_seed(_SEED)
        noise = torch.randn(shape, generator=random, dtype=like.dtype).to(like.device)
        plain, weighted = (
            pulled[0]
            for pulled in (
                self._derive([GradientEdge(*place)], [edge], [torch.ones_like(noise)]),
                self._derive([GradientEdge(*place)], [edge], [noise]),
            )
        )
        if plain is None or weighted is None:
            return torch.zeros_like(noise)
        slope = plain.reshape(shape)
        scale = bus.number(slope.abs().max()) if slope.numel() else 0.0
        tolerance = _CONFIRMED[like.dtype] * scale * bus.number(noise.abs().max()) if slope.numel() else 0.0
        if slope.numel() and bus.number((weighted.reshape(shape) - slope * noise).abs().max()) > tolerance:
            raise ModelError(f"{readable(node)} does not take its layer's outputs one by one; {_INSTEAD}.")
        return slope.detach()


class _Curved:
    """One operation's curvature H_k.

    Attributes:
        basis: see ``Bending``.
        slopes: by each value of the basis, ∂⟨∂ℓ/∂k, k⟩, as a function of what k reads; doubled if it is bilinear.
        diagonal: if it is elementwise, and the slopes are not used.
    """

    def __init__(self, basis: Sequence[Place], slopes: Sequence[Tensor | None], diagonal: Tensor | None) -> None:
        self.basis, self.slopes, self.diagonal = tuple(basis), tuple(slopes), diagonal


class _Total:
    """Σ (J_zWᵀ l) ⊙ (J_zWᵀ r) of columns l and r, held until there are some."""

    def __init__(self, names: Sequence[str], uses: Sequence[LinearUse], which: Sequence[int]) -> None:
        self._names, self._uses, self._which = names, uses, which
        self._sums = Totals({name: use.shape for name, use in zip(names, uses, strict=True)})
        self._held: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._count = self._size = 0

    def add(
        self,
        bent: Sequence[int],
        left: Sequence[Tensor | None],
        right: Sequence[Tensor | None] | None,
        weights: Tensor | None,
    ) -> None:
        """One column by each of the z numbered ``bent``; without ``right``, it is ``left`` times each weight."""
        for place, i in enumerate(bent):
            one = left[place]
            if one is None:
                continue
            if right is None:
                layout = self._uses[self._which.index(i)].layout
                two: Tensor | None = layout.original(layout.canonical(one) * weights[:, None, None])  # type: ignore[index]
            else:
                two = right[place]
            if two is not None:
                self._held.setdefault(i, []).append((one, two))
                self._size += 2 * one.numel()
        self._count += 1
        if self._count >= _AT_ONCE or self._size >= _HELD:
            self._flush()

    def _flush(self) -> None:
        for name, use, which in zip(self._names, self._uses, self._which, strict=True):
            pairs = self._held.get(which)
            if pairs:
                self._sums.add(name, use.products(*map(list, zip(*pairs, strict=True))))
        self._held.clear()
        self._count = self._size = 0

    def values(self) -> dict[str, Array]:
        """The sums, by parameter."""
        self._flush()
        return self._sums.arrays()


def _like(values: Array, slope: Tensor) -> Tensor:
    return bus.to_device(values, slope.device, slope.dtype)


def _consumed(nodes: Sequence[Any]) -> dict[Any, set[int]]:
    """Which outputs of each node are read."""
    # Of the last one any output may be what the loss is taken of; the others then have no derivative.
    numbers: dict[Any, set[int]] = {nodes[-1]: set(range(len(nodes[-1]._input_metadata)))} if nodes else {}
    for node in nodes:
        for source, number in node.next_functions:
            if source is not None:
                numbers.setdefault(source, set()).add(number)
    return numbers


def _rest(shape: tuple[int, ...], before: int, samples: int) -> int:
    return torch.Size(shape).numel() // (before * samples)
