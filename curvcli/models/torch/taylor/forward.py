"""Derivatives of one number per sample along directions of the inputs, carried forward through a recorded pass.

Along x + t v every value has a Taylor series in t. Coefficients 1 … K − 1 are carried through the operations; the K-th
is not. It enters all later operations linearly, so what each operation adds to it is multiplied by the derivative of f
by that operation's output, which one backward pass gives for all (collapsed: Li et al. 2023, arXiv 2307.08214, and
Dangel et al. 2025, arXiv 2505.13644, in its transposed form, which keeps the directions apart).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import factorial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curvcli.models.taylor.held import most_alive
from curvcli.models.taylor.order import Order, weights_of_samples
from curvcli.models.taylor.series import Coefficients, Summed
from curvcli.models.torch import bus
from curvcli.models.torch.taylor.call import Call, Jet, NoRuleError, jets_of
from curvcli.models.torch.taylor.replay import (
    active_slots,
    bending,
    by_sample,
    order_of,
    replayed,
    slots_of,
)
from curvcli.models.torch.taylor.rules import RULES
from curvcli.models.torch.taylor.tape import Node, Slot, Tape

# What only takes entries out of the inputs: behind it may be fewer directions.
_TAKES_ENTRIES = frozenset(
    """alias clone gather index index_select select slice split split_with_sizes squeeze t transpose unbind unsafe_split
    unsqueeze reshape permute narrow""".split()
)


@dataclass(frozen=True)
class Slope:
    """The derivative of Σ_n f_n by a value, and whose it is.

    Attributes:
        by_sample: (samples, entries).
        order: of the value.
    """

    by_sample: Tensor
    order: Order

    def contract(self, weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """See ``series.Contract``."""
        weights = by_sample(self.order, weight) * self.by_sample
        first = by_sample(self.order, left, 1)
        second = first if right is left else by_sample(self.order, right, 1)
        sums: Tensor = torch.linalg.vecdot(first * weights, second)
        return sums


class TaylorForward:
    """One batch's pass, from which derivatives along any directions are had.

    The tape returns (o, ∂Σf/∂o).
    """

    def __init__(self, tape: Tape, inputs: Sequence[Tensor], samples: int) -> None:
        """Run it once forward, and backward to every value that a bent operation makes.

        Raises:
            NoRuleError: an operation can't be followed.
        """
        self._tape, self._inputs, self._samples = tape, [one.detach() for one in inputs], samples
        values = replayed(tape, [one.clone().requires_grad_() for one in self._inputs])
        active = active_slots(tape, values)
        self._nodes = [node for node in tape.nodes if active.intersection(n for n in node.outputs if n is not None)]
        missing = sorted({node.name for node in self._nodes if node.name not in RULES})
        if missing:
            raise NoRuleError(", ".join(missing))
        self._slopes: dict[int, Slope] | None = self._slopes_by(values, active)
        self._active = active
        needed = {n for node in self._nodes for one in (*node.arguments, *node.outputs) for n in _numbers(one)}
        needed.update(one for one in tape.outputs if isinstance(one, int))
        self._values: list[Any] = [one.detach() if i in needed else None for i, one in enumerate(values)]
        self._last_use = self._last_uses()

    # -- prepared once ------------------------------------------------------------------------------------------------

    def _slopes_by(self, values: Sequence[Any], active: set[int]) -> dict[int, Slope] | None:
        """By slot; None where some value's entries can't be told apart by sample."""
        output, cotangent = (values[one] if isinstance(one, int) else one for one in self._tape.outputs)
        bent = [n for node in self._nodes if bending(node, active) for n in node.outputs if n in active]
        if not output.requires_grad or not bent:
            return {}
        cotangent = cotangent.detach().expand_as(output)
        weights = bus.to_device(np.array(weights_of_samples(self._samples)), output.device, output.dtype)
        shaped = weights.reshape(-1, *[1] * (output.dim() - 1)) if output.dim() and self._samples > 1 else weights[0]
        edges = [values[n] for n in bent]
        slopes = torch.autograd.grad([output], edges, [cotangent], retain_graph=True, allow_unused=True)
        tagged = torch.autograd.grad([output], edges, [cotangent * shaped], allow_unused=True)
        by_slot: dict[int, Slope] = {}
        for number, slope, other in zip(bent, slopes, tagged, strict=True):
            if slope is None or other is None:
                continue
            if not slope.dim():
                return None
            order = order_of(slope, other, weights)
            if order is None:
                return None
            by_slot[number] = Slope(by_sample(order, slope), order)
        return by_slot

    def _last_uses(self) -> list[list[int]]:
        last: dict[int, int] = {}
        for i, node in enumerate(self._nodes):
            for one in node.arguments:
                for number in slots_of(one):
                    last[number] = i
            for output in node.outputs:
                if output is not None:
                    last[output] = max(i, last.get(output, 0))
        kept = {one for one in self._tape.outputs if isinstance(one, int)}
        over: list[list[int]] = [[] for _ in self._nodes]
        for number, i in last.items():
            if number not in kept:
                over[i].append(number)
        return over

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """O and ∂Σf/∂o, as the tape computes them."""
        output, slope = (self._values[one] if isinstance(one, int) else one for one in self._tape.outputs)
        return output, slope

    @cached_property
    def largest(self) -> int:
        """Entries of the largest value that depends on the inputs, the inputs included."""
        sizes = [self._tape.sizes[n] for node in self._nodes for n in node.outputs if n in self._active]
        return max([*sizes, *(one.numel() for one in self._inputs)])

    @cached_property
    def alive(self) -> int:
        """Entries of all values that depend on the inputs and are held at the same time, at most."""
        sizes = {number: self._tape.sizes[number] for number in self._active}
        made = [[n for n in node.outputs if n in sizes] for node in self._nodes]
        return most_alive(self._tape.inputs, zip(made, self._last_use, strict=True), sizes)

    # -- along directions ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def derivatives(self, seeds: Sequence[Tensor | None], rows: Sequence[tuple[int, ...]], order: int) -> Tensor:
        """∂^k f_n along every direction, for k = 1 … ``order``.

        Args:
            seeds: per input its direction for each sample, (directions in which it moves, *shape); None if in none.
            rows: per input, which of the directions these are.
            order: K.

        Returns:
            (directions, samples, K).

        Raises:
            NoRuleError: an operation can't be followed with these operands.
        """
        count = max((max(r) + 1 for r in rows if r), default=0)
        jets: dict[int, Jet] = {}
        for number, value, seed, where in zip(self._tape.inputs, self._inputs, seeds, rows, strict=True):
            if seed is not None:
                jets[number] = Jet([value, seed, *[None] * (order - 1)], where)
        plain = set(jets)
        slopes = self._slopes if order > 1 else None
        last = self._inputs[0].new_zeros(count, self._samples)
        for node, over in zip(self._nodes, self._last_use, strict=True):
            operands = [one for argument in node.arguments for one in jets_of(self._filled(argument, jets))]
            if operands:
                for number, jet in self._applied(node, jets, operands, order, slopes):
                    if slopes is not None and jet.series[order] is not None:
                        _add(last, jet, slopes.get(number))
                        jet = Jet([*jet.series[:order], None], jet.rows)  # noqa: PLW2901 - without what is added
                    if node.name in _TAKES_ENTRIES and plain.issuperset(slots_of(node.arguments[0])):
                        plain.add(number)
                        jet = _sparse(jet)  # noqa: PLW2901 - the same, without zeros
                    if any(c is not None for c in jet.series[1:]):
                        jets[number] = jet
            for number in over:
                jets.pop(number, None)
        return self._of_function(jets, count, order, last if slopes is not None else None)

    def _filled(self, argument: Any, jets: Mapping[int, Jet]) -> Any:
        if isinstance(argument, Slot):
            return jets.get(argument.number, self._values[argument.number])
        if isinstance(argument, list | tuple):
            return [self._filled(one, jets) for one in argument]
        return argument

    def _applied(
        self,
        node: Node,
        jets: Mapping[int, Jet],
        operands: Sequence[Jet],
        order: int,
        slopes: Mapping[int, Slope] | None,
    ) -> list[tuple[int, Jet]]:
        """The jets of a node's outputs."""
        rows = operands[0].rows
        if any(jet.rows != rows for jet in operands):
            rows = tuple(sorted({row for jet in operands for row in jet.rows or ()}))
            read = {number for one in node.arguments for number in slots_of(one)}
            jets = {number: _spread(jets[number], rows) for number in read if number in jets}
        arguments = tuple(self._filled(one, jets) for one in node.arguments)
        values = tuple(self._values[number] for number in node.outputs if number is not None)
        numbers = [number for number in node.outputs if number is not None]
        contract = None
        if slopes is not None and len(numbers) == 1:
            slope = slopes.get(numbers[0])
            contract = _dropped if slope is None else slope.contract
        made = RULES[node.name](Call(node, arguments, values, order, contract))
        return [
            (number, Jet([self._values[number], *coefficients], rows))
            for number, coefficients in zip(numbers, made, strict=True)
            if coefficients is not None and number in self._active
        ]

    def _of_function(self, jets: Mapping[int, Jet], count: int, order: int, last: Tensor | None) -> Tensor:
        """From o and ∂f/∂o as series: f_k = Σ_j j ⟨s_{k−j}, o_j⟩ / k."""
        ends: list[list[Any]] = []
        for one in self._tape.outputs:
            jet = jets.get(one) if isinstance(one, int) else None
            if jet is None:
                ends.append([None] * (order + 1))
            else:
                ends.append(list(_spread(jet, tuple(range(count))).series))
        output, slope = ends
        slope[0] = self.ends[1].expand_as(self.ends[0])
        by_order = []
        for k in range(1, order + 1):
            terms: Coefficients = []
            for j in range(1, k + 1):
                first, second = slope[k - j], output[j]
                if first is not None and second is not None:
                    terms.append((j / k) * (first * second).reshape(count, self._samples, -1).sum(2))
            if k == order and last is not None:
                terms.append(last)
            of_order = self._inputs[0].new_zeros(count, self._samples)
            by_order.append(factorial(k) * sum(terms, of_order))
        return torch.stack(by_order, dim=2)

    # -- another way --------------------------------------------------------------------------------------------------

    def nested(self, which: int, place: int, order: int) -> Tensor:
        """∂^k f_n/∂x_i^k for k = 1 … ``order`` by one backward pass through the other: (samples, order)."""
        inputs = [one.clone().requires_grad_() for one in self._inputs]
        values = replayed(self._tape, inputs)
        output, slope = (values[one] if isinstance(one, int) else one for one in self._tape.outputs)
        derivatives = self._inputs[0].new_zeros(self._samples, order)
        outputs, vectors = [output], [slope.expand_as(output)]
        for k in range(order):
            if not outputs[0].requires_grad:
                break
            (tensor,) = torch.autograd.grad(
                outputs, [inputs[which]], vectors, create_graph=k + 1 < order, allow_unused=True
            )
            if tensor is None:
                break
            column = tensor.reshape(self._samples, -1)[:, place]
            derivatives[:, k] = column.detach()
            outputs, vectors = [column], [torch.ones_like(column)]
        return derivatives


def _dropped(*_: Tensor) -> None:
    """F does not depend on it."""


def _add(last: Tensor, jet: Jet, slope: Slope | None) -> None:
    """What an operation adds to the last coefficient of f."""
    coefficient: Any = jet.series[-1]
    if isinstance(coefficient, Summed):
        sums = coefficient.sums
    elif slope is None:
        return
    else:
        sums = torch.linalg.vecdot(by_sample(slope.order, coefficient, 1), slope.by_sample)
    if sums is not None:
        last.index_add_(0, _places(jet.rows or (), last), sums)


def _numbers(one: Any) -> list[int]:
    return [one] if isinstance(one, int) and not isinstance(one, bool) else slots_of(one)


def _spread(jet: Jet, rows: tuple[int, ...]) -> Jet:
    """Along more directions, with zeros for those that are new."""
    if jet.rows == rows or jet.rows is None:
        return jet
    places = _places([rows.index(row) for row in jet.rows], jet.value)
    series: list[Tensor | None] = [jet.value]
    for c in jet.series[1:]:
        if c is not None:
            wide = c.new_zeros(len(rows), *c.shape[1:])
            wide.index_copy_(0, places, c)
            series.append(wide)
        else:
            series.append(None)
    return Jet(series, rows)


def _places(rows: Sequence[int], like: Tensor) -> Tensor:
    return bus.to_device(np.array(rows, dtype=np.int64), like.device)


def _sparse(jet: Jet) -> Jet:
    """Along those directions alone in which it moves; only its first coefficient is there."""
    first, rows = jet.series[1], jet.rows
    if first is None or rows is None or any(c is not None for c in jet.series[2:]) or not first[0].numel():
        return jet
    moves = first.reshape(len(first), -1).any(1)
    if bus.holds(moves.all()):
        return jet
    places = moves.nonzero().reshape(-1)
    if not len(places):
        return Jet([jet.value, *[None] * (len(jet.series) - 1)], ())
    return Jet([jet.value, first[places], *jet.series[2:]], tuple(rows[i] for i in bus.seen(places).tolist()))
