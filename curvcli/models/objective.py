"""What both frameworks' objectives share: the data's loss, the sites found so far, and whether samples interact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np

from curvcli.data.interface import Batch
from curvcli.losses.interface import Loss
from curvcli.models.arrays import NumPySpace
from curvcli.models.base import Array, DifferentiatedBatch, Parameter, Site
from curvcli.models.data_loss import DataLoss
from curvcli.models.device_memory import Memory
from curvcli.models.memory import keep_small_arrays
from curvcli.models.pointwise import ActivationBatch, ChainBatch, InputBatch, SampleFunction, Side
from curvcli.models.rows import RowOrders
from curvcli.models.vectors import VectorSpace

# Outputs this far apart, relative to the largest, differ by more than the order in which a kernel adds numbers up.
_INTERACTION = 1e-5


class DataObjective(ABC):
    """The framework-free half of ``model.ModelObjective``.

    Attributes:
        data_loss: settled by the framework's half.
        memory: see ``base.Objective``.
        uncompared: see ``model.ModelObjective``.
        widened: see ``model.ModelObjective``.
        caveat: see ``model.ModelObjective``.
        probe_samples: on which a method is tried before it is chosen, at most.
    """

    probe_samples: int = 3

    def __init__(self, data_loss: DataLoss, memory: Memory) -> None:
        keep_small_arrays()
        self.data_loss, self.memory = data_loss, memory
        self.uncompared: str | None = None
        self.widened = False
        self.caveat: str | None = None
        self._sites: dict[str, Site] = {}
        self._orders = RowOrders()

    # -- the data and the loss ----------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def dtype(self) -> str:
        """Of the weights, and of all products."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """Of the processor's, that the framework computes on."""

    @property
    def batch_size(self) -> int:
        """See ``model.ModelObjective``."""
        return self.data_loss.batch_size

    @property
    def scalar(self) -> bool:
        """See ``pointwise.PointwiseObjective``."""
        return self.data_loss.scalar

    @property
    def loss(self) -> Loss:
        """See ``model.ModelObjective``."""
        return self.data_loss.loss

    @property
    def classes(self) -> int | None:
        """See ``model.ModelObjective``."""
        return self.data_loss.classes

    @property
    def undecided(self) -> str | None:
        """See ``model.ModelObjective``."""
        return self.data_loss.undecided

    @property
    def final(self) -> str | None:
        """See ``model.ModelObjective``."""
        return self.data_loss.final

    @property
    def batch_weights(self) -> Array:
        """See ``base.Objective``."""
        return self.data_loss.batch_weights

    @property
    def denominator(self) -> float:
        """See ``base.Objective``."""
        return self.data_loss.denominator

    def batch_count(self) -> int:
        """See ``base.Objective``."""
        return self.data_loss.batch_count()

    # -- what the model returns ---------------------------------------------------------------------------------------

    @abstractmethod
    def _output_values(self, batch: Batch) -> Array:
        """What the loss is taken of for one batch, float64."""

    def outputs(self, batch_size: int) -> Array:
        """See ``model.ModelObjective``."""
        values = [self._output_values(batch) for batch in self.data_loss.batches(batch_size=batch_size)]
        return np.stack(values) if values[0].ndim == 0 else np.concatenate(values)

    @property
    @abstractmethod
    def random(self) -> tuple[str, ...]:
        """See ``model.ModelObjective``."""

    @property
    @abstractmethod
    def branches(self) -> bool:
        """Whether the graph takes one way or another by what it computes."""

    @property
    @abstractmethod
    def batch_statistics(self) -> bool:
        """See ``model.ModelObjective``."""

    def samples_interact(self) -> bool:
        """See ``model.ModelObjective``."""
        if self.scalar:
            return False
        batches = self.data_loss.batches() if self.branches else [self.data_loss.first_batch()]
        return any(map(self._samples_interact_in, batches))

    def _samples_interact_in(self, batch: Batch) -> bool:
        """Some samples are replaced by copies of one that stays, so that the batch keeps its size."""
        numbers = np.arange(len(batch))
        outputs = self._output_values(batch)
        scale = float(np.abs(outputs).max(initial=0.0))
        for replaced in (numbers >= (len(batch) + 1) // 2, numbers % 2 == 1, numbers % 3 == 0):
            if not replaced.any() or replaced.all():
                continue
            rows = np.where(replaced, numbers[~replaced][0], numbers)
            others = replace(batch, inputs={name: values[rows] for name, values in batch.inputs.items()})
            with np.errstate(invalid="ignore"):  # outputs that are infinite
                change = np.abs(outputs - self._output_values(others))[~replaced]
            if float(change.max(initial=0.0)) > _INTERACTION * scale:
                return True
        return False

    # -- derivatives --------------------------------------------------------------------------------------------------

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        """See ``base.Objective``."""
        missing = [p for p in parameters if p not in self._sites]
        if missing:
            sites = self._read_sites(missing)
            rows = self._rows([name for name in missing if sites[name].reached])
            self._sites.update({p: replace(site, rows=rows.get(p)) for p, site in sites.items()})
        return {p: self._sites[p] for p in parameters}

    def _rows(self, parameters: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Of those that are only looked up in, the rows that any sample looks up; see ``Site.rows``."""
        used: dict[str, set[int]] = {name: set() for name in self._tables(parameters)}
        for data in self.data_loss.batches():
            if not used:
                break
            for name, rows in self._looked_up(data, tuple(used)).items():
                if rows is None:
                    del used[name]
                else:
                    used[name].update(rows.tolist())
        return {name: tuple(sorted(rows)) for name, rows in used.items()}

    @abstractmethod
    def _tables(self, parameters: Sequence[str]) -> list[str]:
        """Those that may be only looked up in."""

    @abstractmethod
    def _looked_up(self, data: Batch, tables: Sequence[str]) -> Mapping[str, Array | None]:
        """The rows of each table that a batch looks up; see ``base.DifferentiatedBatch.rows``."""

    @abstractmethod
    def _read_sites(self, parameters: Sequence[str]) -> Mapping[str, Site]:
        """Read the sites off the graph."""

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """See ``model.ModelObjective``; where products are made in this machine's memory."""
        return NumPySpace(tuple(parameters), self.dtype, self.threads)

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """See ``base.Objective``."""
        for data in self.data_loss.batches(start=start):
            yield self._batch(data, parameters)

    @abstractmethod
    def at(self, values: Mapping[str, Array]) -> AbstractContextManager[None]:
        """See ``pointwise.PointwiseObjective``."""

    def batches_at(
        self, values: Mapping[str, Array], parameters: Sequence[str], *, start: int = 0
    ) -> Iterator[DifferentiatedBatch]:
        """See ``pointwise.PointwiseObjective``."""
        with self.at(values):
            yield from self.batches(parameters, start=start)

    def minibatches(self, groups: Array, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """See ``pointwise.PointwiseObjective``."""
        for data in self.data_loss.minibatches(groups, start=start):
            yield self._batch(data, parameters)

    @abstractmethod
    def _batch(self, data: Batch, parameters: Sequence[str]) -> DifferentiatedBatch:
        """One batch, prepared for derivatives by these parameters."""

    def input_batches(self, function: SampleFunction, inputs: Sequence[str], *, start: int = 0) -> Iterator[InputBatch]:
        """See ``pointwise.PointwiseObjective``."""
        for data in self.data_loss.batches(start=start):
            yield self._input_batch(data, function, inputs)

    def input_probe(self, function: SampleFunction, inputs: Sequence[str]) -> InputBatch:
        """See ``pointwise.PointwiseObjective``."""
        few = self.batch_size if self.scalar else min(self.batch_size, self.probe_samples)
        return self._input_batch(next(iter(self.data_loss.batches(batch_size=few))), function, inputs)

    @abstractmethod
    def _input_batch(self, data: Batch, function: SampleFunction, inputs: Sequence[str]) -> InputBatch:
        """One batch, prepared for derivatives of ``function`` by these inputs."""

    def chain_batches(
        self, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[ChainBatch]:
        """See ``pointwise.PointwiseObjective``."""
        if start and (*layer, "output") not in self._orders:
            self._chain_batch(self.data_loss.first_batch(), layer, parameters, inputs)
        for data in self.data_loss.batches(start=start):
            yield self._chain_batch(data, layer, parameters, inputs)

    @abstractmethod
    def _chain_batch(
        self, data: Batch, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str]
    ) -> ChainBatch:
        """One batch, split at the output of the layer with these parameters."""

    def activation_batches(self, layer: Sequence[str], side: Side, *, start: int = 0) -> Iterator[ActivationBatch]:
        """See ``pointwise.PointwiseObjective``."""
        if start and (*layer, side) not in self._orders:
            self._activation_batch(self.data_loss.first_batch(), layer, side)
        for data in self.data_loss.batches(start=start):
            yield self._activation_batch(data, layer, side)

    @abstractmethod
    def _activation_batch(self, data: Batch, layer: Sequence[str], side: Side) -> ActivationBatch:
        """One batch as a function of an activation of the layer with these parameters."""
