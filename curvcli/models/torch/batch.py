"""One batch of a torch objective: one autograd graph, differentiated again and again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curvcli.data.interface import Batch
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array, Bend, Site
from curvcli.models.bundle import Vectors
from curvcli.models.data_loss import DataLoss
from curvcli.models.torch import bus
from curvcli.models.torch.bend_columns import BendColumns
from curvcli.models.torch.columns import ColumnSquares
from curvcli.models.torch.derivatives import derivatives
from curvcli.models.torch.end import LossEnd
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.several import Passes
from curvcli.models.torch.sites import Sites
from curvcli.models.torch.totals import Totals
from curvcli.models.torch.uses import SeveralUses
from curvcli.models.torch.vectors import bundled, rows_on


@dataclass(frozen=True)
class Structure:
    """What batches with equal graphs share.

    Attributes:
        sites: per parameter.
        interleaved: per parameter that has a z, whether it is time-major.
    """

    sites: Mapping[str, Site]
    interleaved: Mapping[str, bool]


class TorchBatch:
    """One batch and its autograd graph (see ``base.DifferentiatedBatch``)."""

    def __init__(
        self,
        forward: Forward,
        data_loss: DataLoss,
        structures: dict[Hashable, Structure],
        data: Batch,
        parameters: Sequence[str],
    ) -> None:
        """Run the forward pass.

        Args:
            forward: makes it.
            data_loss: of all the data.
            structures: by names and signature, of batches with equal graphs; shared, and added to.
            data: this batch.
            parameters: what it will be differentiated by.
        """
        self._forward, self._structures = forward, structures
        self._names = tuple(parameters)
        self._tensors = {name: forward.parameters[name] for name in parameters}
        # Where the model branches, batches with one graph may still read their data in another order.
        self._place = place = (self._names, data.start if forward.program.branches else None)
        forward.parameters.require(self._names)
        raw, samples = forward.whole(forward.tensors(data))
        self._end = LossEnd(forward, data_loss, raw, data, samples)
        self.samples = self._end.samples
        self._first: dict[Hashable, tuple[Tensor | None, ...]] = {}
        self._rows: dict[str, Array | None] = {}
        self._bends: dict[tuple[str, ...], BendColumns] = {}
        self._squares: ColumnSquares | None = None
        self._passes: Passes | None = None
        self._several: dict[tuple[str, ...], SeveralUses] = {}
        self._pulled: tuple[Tensor, tuple[Tensor | None, ...]] | None = None
        root = None if self._end.edge is None else self._end.edge.node

        def time_major(signature: Hashable, parameter: str) -> bool:
            # No method of this batch: a circle would keep its graph until the garbage is collected.
            alike = structures.get((*place, signature))
            return alike is not None and alike.interleaved.get(parameter, False)

        self._uses = Sites(root, self._tensors, self._end.rows, time_major)

    # -- the loss -----------------------------------------------------------------------------------------------------

    @property
    def output(self) -> OutputState:
        return self._end.output

    def loss(self) -> float:
        return self.output.value

    # -- first derivatives --------------------------------------------------------------------------------------------

    def _backward(
        self, inputs: Sequence[Any], cotangent: Tensor, *, create_graph: bool = False, several: bool = False
    ) -> tuple[Tensor | None, ...]:
        """J_oᵀ · cotangent by each input, or of ``several`` cotangents."""
        self._forward.parameters.require(self._names)  # another batch may have been opened for other parameters since
        if self._end.edge is None:
            return tuple(None for _ in inputs)
        failure = f"{self._forward.where}: can't be differentiated"
        return derivatives(
            [self._end.edge], list(inputs), [cotangent], failure, create_graph=create_graph, several=several
        )

    def gradient(self, parameters: Sequence[str]) -> dict[str, Array]:
        gradients = self._backward([self._tensors[p] for p in parameters], self._end.cotangent.detach())
        return {
            p: np.zeros(self._tensors[p].shape) if g is None else bus.to_host(g)
            for p, g in zip(parameters, gradients, strict=True)
        }

    def _by_row(self, by_sample: Array) -> Tensor:
        """(k, samples, …) → (k, rows, …) on the device: zeros for what the batch was filled up with."""
        return self._forward.parameters.tensor(self._end.filled(by_sample))

    def _first_derivatives(self, parameters: Sequence[str]) -> list[Tensor | None]:
        """∂ℓ/∂W with its own graph, made once for all parameters of the batch and kept for all its products."""
        if "weights" not in self._first:
            tensors = list(self._tensors.values())
            self._first["weights"] = self._backward(tensors, self._end.cotangent, create_graph=True)
        by_name = dict(zip(self._names, self._first["weights"], strict=True))
        return [by_name[p] for p in parameters]

    def _first_by_output(self, parameters: Sequence[str], *, remainder: bool = False) -> tuple[Any, Tensor | None]:
        """The one z these parameters share as a gradient edge, and ∂ℓ/∂z with its own graph.

        For the ``remainder`` ∂ℓ/∂o is held fixed: what is left of ∇²_z ℓ is the part without ∇²_o ℓ.
        """
        edges, _ = self._uses.edges(parameters)
        if len(edges) != 1:
            raise ValueError("parameters of one call must share their z")
        key = (edges[0].node, remainder)
        if key not in self._first:
            cotangent = self._end.cotangent.detach() if remainder else self._end.cotangent
            self._first[key] = self._backward(edges, cotangent, create_graph=True)
        return edges[0], self._first[key][0]

    # -- the graph ----------------------------------------------------------------------------------------------------

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        sites = self._structure.sites
        return {name: sites[name] for name in parameters}

    def rows(self, parameter: str) -> Array | None:
        if parameter not in self._rows:
            self._forward.parameters.require(self._names)
            self._rows[parameter] = self._uses.rows(parameter)
        return self._rows[parameter]

    @property
    def _structure(self) -> Structure:
        """What is known of batches like this one; read from it if it is the first."""
        key = (*self._place, self._uses.signature)
        if key not in self._structures:
            sites = self._uses.read(self._end.raw, self._backward)
            self._structures[key] = Structure(sites, dict(self._uses.interleaved))
        return self._structures[key]

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """The first operation that is not piecewise linear in all these parameters together; None if all are."""
        return self._uses.joint_blocker(parameters)

    # -- second derivatives -------------------------------------------------------------------------------------------

    def samples_separate(self, parameters: Sequence[str]) -> bool:
        return not self._uses.mixed(parameters, self._end.raw, self._backward)

    def squared_columns(self, parameters: Sequence[str], columns: Array) -> dict[str, Array]:
        squares = self._column_squares(parameters, len(columns))
        squares.add(columns)
        return squares.sums()

    def column_squares(self, parameters: Sequence[str], count: int, *, anew: bool) -> ColumnSquares | None:
        under_way, self._squares = self._squares, None
        if anew or under_way is None or under_way.ended or under_way.key != (*parameters, count):
            under_way = self._column_squares(parameters, count)
        if under_way.together:
            self._squares = under_way
        return self._squares

    def _column_squares(self, parameters: Sequence[str], count: int) -> ColumnSquares:
        edges, which = self._uses.edges(parameters)
        if self._passes is None:
            self._passes = Passes(self._uses.columns_at_once())
        passes = self._passes

        def pull(columns: Array) -> Iterator[tuple[Tensor | None, ...]]:
            return passes(self._backward, edges, self._by_row(columns))

        uses = {p: self._uses.use(p) for p in parameters}
        return ColumnSquares(uses, which, pull, count, self._forward.parameters.dtype.itemsize)

    def _bend_columns(self, parameters: Sequence[str]) -> BendColumns:
        names = tuple(parameters)
        if names not in self._bends:
            self._bends[names] = BendColumns(self._forward, self._end, self._names, self._uses, names)
        return self._bends[names]

    def bends(self, parameters: Sequence[str]) -> tuple[Bend, ...]:
        return self._bend_columns(parameters).bends

    def bend_columns(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        return self._bend_columns(parameters).columns(start, stop)

    def bends_in_step(self, parameters: Sequence[str]) -> dict[str, Array]:
        return self._bend_columns(parameters).in_step()

    def _several_uses(self, parameters: Sequence[str]) -> SeveralUses:
        names = tuple(parameters)
        if names not in self._several:
            self._several[names] = SeveralUses(self._forward, self._end, self._names, self._uses, names)
        return self._several[names]

    def uses_separate(self, parameters: Sequence[str]) -> bool:
        return self._several_uses(parameters).separate

    def uses_vectors(self, parameters: Sequence[str]) -> int:
        return self._several_uses(parameters).vectors

    def uses_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        return self._several_uses(parameters).diagonal(start, stop)

    def output_hessian_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        edge, first = self._first_by_output(parameters)
        uses = {p: self._uses.use(p) for p in parameters}
        layout = next(iter(uses.values())).layout
        total = Totals({p: self._tensors[p].shape for p in parameters})
        if first is not None and first.requires_grad:
            basis = torch.zeros(layout.samples, layout.channels, layout.positions)
            basis = basis.to(first.device, first.dtype)
            for number in range(start, stop):
                channel, position = divmod(number, layout.positions)
                basis[:, channel, position] = 1
                (product,) = self._second([first], [edge], [layout.original(basis)])
                basis[:, channel, position] = 0
                if product is None:
                    continue
                row = layout.canonical(product)[:, channel]
                for name, use in uses.items():
                    total.add_at(name, *use.basis_product(channel, position, row))
        return total.arrays()

    def activation_probes(self, parameters: Sequence[str], signs: Array, *, remainder: bool) -> dict[str, Array]:
        edge, first = self._first_by_output(parameters, remainder=remainder)
        uses = {p: self._uses.use(p) for p in parameters}
        estimates = {p: np.zeros((len(signs), *self._tensors[p].shape)) for p in parameters}
        if first is not None and first.requires_grad:
            layout = next(iter(uses.values())).layout
            for k, probe in enumerate(self._by_row(signs)):
                vector = layout.original(probe)
                (product,) = self._second([first], [edge], [vector])
                if product is not None:
                    for name, use in uses.items():
                        estimates[name][k] = bus.to_host(use.products([vector], [product]))
        return estimates

    def sample_gradients(self, parameters: Sequence[str], columns: Array) -> Array:
        edges, which = self._uses.edges(parameters)
        uses = [self._uses.use(p) for p in parameters]
        starts = np.cumsum([0, *(self._tensors[p].numel() for p in parameters)])
        gradients = np.zeros((len(columns), self.samples, int(starts[-1])))
        for k, column in enumerate(self._by_row(columns)):
            deltas = self._backward(edges, column)
            for j, (use, i) in enumerate(zip(uses, which, strict=True)):
                delta = deltas[i]
                if delta is not None:
                    own = use.sample_gradients(delta)[: self.samples]
                    gradients[k, :, starts[j] : starts[j + 1]] = bus.seen(own)
        return gradients

    def _second(
        self, first: Sequence[Tensor | None], inputs: Sequence[Any], vectors: Sequence[Tensor] | None
    ) -> tuple[Tensor | None, ...]:
        self._forward.parameters.require(self._names)
        failure = f"{self._forward.where}: an operation has no second derivative"
        return derivatives(first, inputs, vectors, failure)

    def hessian_products(self, block: Sequence[str], vectors: Vectors) -> Vectors:
        tensors = [self._tensors[p] for p in block]
        return bundled(self._along(self._first_derivatives(block), tensors, tensors, vectors), tensors)

    def _along(
        self,
        outputs: Sequence[Tensor | None],
        like: Sequence[Tensor],
        inputs: Sequence[Tensor],
        vectors: Vectors | Array,
    ) -> Iterator[tuple[Tensor | None, ...]]:
        """For each vector, raveled and joined ``like`` the outputs, the derivative of ⟨outputs, vector⟩ by inputs."""
        live = [i for i, g in enumerate(outputs) if g is not None and g.requires_grad]
        sizes = [t.numel() for t in like]
        for row in rows_on(vectors, self._forward.parameters):
            if not live:
                yield (None,) * len(inputs)
                continue
            every = torch.split(row, sizes)
            parts = [every[i].view(like[i].shape) for i in live]
            if self._forward.program.complex:
                # Seen as pairs, real numbers must begin at an even place of their memory.
                parts = [part.clone() for part in parts]
            yield self._second([outputs[i] for i in live], inputs, parts)

    def pushforward(self, block: Sequence[str], vectors: Vectors | Array) -> Array:
        """See the protocol; J_o v is the derivative of u ↦ J_oᵀ u, which is linear, times v."""
        if self._pulled is None:
            dummy = torch.zeros_like(self._end.raw, requires_grad=True)
            self._pulled = dummy, self._backward(list(self._tensors.values()), dummy, create_graph=True)
        dummy, pulled = self._pulled
        by_name = dict(zip(self._names, pulled, strict=True))
        tensors = [self._tensors[p] for p in block]
        pushed = np.zeros((len(vectors), *self._end.raw.shape))
        for k, (value,) in enumerate(self._along([by_name[p] for p in block], tensors, [dummy], vectors)):
            if value is not None:
                pushed[k] = bus.seen(value)
        return pushed if self._end.samples == self._end.rows else pushed[:, : self.samples]

    def pullback(self, block: Sequence[str], cotangents: Array) -> Vectors:
        tensors = [self._tensors[p] for p in block]
        return bundled((self._backward(tensors, cotangent) for cotangent in self._by_row(cotangents)), tensors)

    def hessian_diagonal_entries(self, parameter: str, indices: Array) -> Array:
        tensor = self._tensors[parameter]
        (first,) = self._first_derivatives([parameter])
        entries = np.zeros(len(indices))
        if first is None or not first.requires_grad:
            return entries
        flat = first.reshape(-1)
        for k, index in enumerate(indices):
            (row,) = self._second([flat[int(index)]], [tensor], None)
            if row is not None:
                entries[k] = bus.number(row.reshape(-1)[int(index)])
        return entries

    def diagonal_entries(self, places: Mapping[str, int]) -> dict[str, float]:
        return {
            name: float(self.hessian_diagonal_entries(name, np.array([place]))[0]) for name, place in places.items()
        }
