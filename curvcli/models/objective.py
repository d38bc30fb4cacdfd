"""What both frameworks' objectives share: the loss settled against the model, the targets, and the denominator."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from curvcli.data.interface import Batch, Samples
from curvcli.errors import UsageError
from curvcli.losses.class_targets import class_axis_of
from curvcli.losses.interface import End, Given, Loss, Targets
from curvcli.losses.registry import settle
from curvcli.models.base import Array, DifferentiatedBatch, Parameter, Site
from curvcli.models.vectors import NumPySpace, VectorSpace
from curvcli.spec.loss import LossSpec

# Outputs this far apart, relative to the largest, differ by more than the order in which a kernel adds numbers up.
_COMPANY = 1e-5


class DataObjective(ABC):
    """The framework-free half of ``base.Objective``.

    Attributes:
        samples: the data.
        loss_spec: the loss, as declared.
        loss: settled on the output in use; which may stand before the model's final softmax or sigmoid.
        where: the model, for messages.
        batch_size: in use; the whole data where the model returns one number per batch.
        final: the softmax, log-softmax or sigmoid that the graph ends in.
        scalar: whether the model returns one number per batch.
        batch_weights: see ``base.Objective``.
        denominator: see ``base.Objective``.
        backward_passes: see ``base.Objective``.
        uncompared: why the file's own function can't be run here, and was not compared; None if it was.
    """

    loss: Loss
    final: str | None
    batch_weights: Array
    denominator: float

    def __init__(self, samples: Samples, loss: LossSpec, batch_size: int, target_column: str, where: str) -> None:
        """Keep what the spec says; ``_settle`` follows once the model's output has been seen."""
        self.samples, self.loss_spec, self.where = samples, loss, where
        self.batch_size = batch_size
        self.scalar = False
        self.backward_passes = 0
        self._target_column = target_column
        self._sites: dict[str, Site] = {}
        self.uncompared: str | None = None

    def first_batch(self) -> Batch:
        """The data's first batch."""
        return next(iter(self.samples.batches(self.batch_size)))

    def _class_axis(self, shape: tuple[int, ...], convention: int) -> int:
        """The axis of the classes in an output of the first batch, counted from the samples' axis 0.

        Args:
            shape: of the output.
            convention: the framework's, for outputs of three axes and more.

        Raises:
            SpecError: there is no such axis, or several fit the targets.
        """
        return class_axis_of(self.loss_spec, shape, self.first_batch().target, convention, self.where)

    def _settle(self, values: Array, final: str | None, class_axis: int) -> None:
        """Compare the declaration with the first batch's output, then weigh all targets.

        Args:
            values: what the model returned.
            final: the softmax or sigmoid the graph ends in.
            class_axis: see ``_class_axis``.

        Raises:
            SpecError: the loss declaration contradicts the model.
            UsageError: the loss can't be taken of such an output.
            DataError: targets that do not fit the output.
        """
        self.final = final
        self.loss = settle(self.loss_spec, End(final, class_axis, self._target_column, self.where))
        first = min(self.batch_size, len(self.samples))
        self.scalar = self.loss.name == "output" and (values.ndim == 0 or values.size == 1 < first)
        if self.scalar:
            # One number per batch: only the whole data in one batch gives the loss that was meant.
            self.batch_size = len(self.samples)
        elif values.ndim == 0:
            raise UsageError(f"{self.where} returns one number for the whole batch: set loss.name = 'output'.")
        elif self.loss.name == "output" and values.size != values.shape[0]:
            raise UsageError(
                f"loss.name = 'output' needs one number per sample; {self.where} returns {values.shape[1:]}.\n"
                "Name a loss for it, or choose an output with loss.output."
            )
        elif not self.loss.cut:
            self.loss.check(values)
        if self.scalar and self.loss_spec.sample_weight is not None:
            raise UsageError(
                f"{self.where} returns one number for the whole batch: its samples can't be weighted.\n"
                "Remove loss.sample_weight, or export a model that returns one number per sample."
            )
        self.batch_weights = self._weigh(tuple(values.shape[1:]))
        self.denominator = self._denominator()

    def _weigh(self, per_sample: tuple[int, ...]) -> Array:
        weights = []
        for batch in self.samples.batches(self.batch_size):
            count = len(next(iter(batch.inputs.values())))
            weights.append(self.targets(batch, (count, *per_sample)).total)
        return np.array(weights)

    def _denominator(self) -> float:
        total = float(self.batch_weights.sum())
        if self.loss_spec.reduction == "sum" or self.scalar:
            return 1.0
        if total == 0:
            raise UsageError("every target is ignored or has weight zero: there is no loss to take a mean of.")
        return total

    def outputs(self, batch_size: int) -> Array:
        """What the model returns for every sample, so many at a time, float64; its own number per batch as it is."""
        found = [self._output_values(batch) for batch in self.samples.batches(batch_size)]
        return np.stack(found) if found[0].ndim == 0 else np.concatenate(found)

    @abstractmethod
    def _output_values(self, batch: Batch) -> Array:
        """What the model returns for one batch, float64."""

    def _of_one_sample(self, shape: tuple[int, ...], output: str | None) -> tuple[int, ...]:
        """One sample's part of an output of the first batch.

        Raises:
            UsageError: the output has no axis of samples.
        """
        if self.scalar:
            if math.prod(shape) != 1:
                raise UsageError(
                    f"{self.where}: the loss is one number per batch, which makes the data one sample; output "
                    f"{output!r} has shape {shape}.\nName another loss in the dataset spec."
                )
            return shape
        if not shape or shape[0] != min(self.batch_size, len(self.samples)):
            raise UsageError(f"{self.where}: output {output!r} has shape {shape}, and so no axis of samples.")
        return shape[1:]

    def targets(self, batch: Batch, shape: tuple[int, ...]) -> Targets:
        """The targets of a batch, for an output of ``shape``."""
        rows = self.samples.rows[batch.start : batch.start + (shape[0] if shape else 1)]
        return self.loss.targets(Given(batch.target, batch.weight, shape, [int(r) for r in rows]))

    def batch_count(self) -> int:
        """How many batches there are."""
        return -(-len(self.samples) // self.batch_size)

    @property
    @abstractmethod
    def random(self) -> tuple[str, ...]:
        """The operations of the graph that draw random numbers, as a person reads them."""

    @property
    @abstractmethod
    def branches(self) -> bool:
        """Whether the graph takes one way or another by what it computes."""

    @property
    @abstractmethod
    def batch_statistics(self) -> bool:
        """Whether a batch norm in the graph uses the statistics of the batch."""

    def company_matters(self) -> bool:
        """Whether a sample's output changes with the other samples of its batch.

        Looked at in the first batch, in all of them where the graph branches.
        """
        if self.scalar:
            return False
        batches = self.samples.batches(self.batch_size) if self.branches else [self.first_batch()]
        return any(map(self._company_matters_in, batches))

    def _company_matters_in(self, batch: Batch) -> bool:
        """Some samples are replaced by copies of one that stays, so that the batch keeps its size."""
        numbers = np.arange(len(batch))
        mine = self._output_values(batch)
        scale = float(np.abs(mine).max(initial=0.0))
        for replaced in (numbers >= (len(batch) + 1) // 2, numbers % 2 == 1, numbers % 3 == 0):
            if not replaced.any() or replaced.all():
                continue
            rows = np.where(replaced, numbers[~replaced][0], numbers)
            others = replace(batch, inputs={name: values[rows] for name, values in batch.inputs.items()})
            change = np.abs(mine - self._output_values(others))[~replaced]
            if float(change.max(initial=0.0)) > _COMPANY * scale:
                return True
        return False

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        """How each parameter enters; see ``base.Objective``."""
        missing = [p for p in parameters if p not in self._sites]
        if missing:
            self._sites.update(self._read_sites(missing))
        return {p: self._sites[p] for p in parameters}

    @abstractmethod
    def _read_sites(self, parameters: Sequence[str]) -> Mapping[str, Site]:
        """Read the sites off the graph of the first batch."""

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """The vectors of some parameters, as products take and return them."""
        return NumPySpace(tuple(parameters))

    @abstractmethod
    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """The data from batch ``start`` on; see ``base.Objective``."""
