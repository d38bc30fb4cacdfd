"""The declared loss over the data: settled against the model's output, with the targets and the denominator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curvcli.data.interface import Batch, Rows, Samples
from curvcli.errors import UsageError
from curvcli.losses.class_targets import class_axis_of
from curvcli.losses.interface import End, Loss, RawTargets, Targets
from curvcli.losses.registry import settle
from curvcli.models.base import Array
from curvcli.spec.loss import LossSpec

# Bytes of targets that are kept as the loss's formulas take them: of small batches it takes long to make them.
_ROOM = 1 << 20


@dataclass(frozen=True)
class _Made:
    """A batch's targets, and what they were made of."""

    target: Array | None
    weight: Array | None
    targets: Targets

    def fits(self, batch: Batch) -> bool:
        return _same(self.target, batch.target) and _same(self.weight, batch.weight)

    @property
    def bytes(self) -> int:
        arrays = (self.target, self.weight, self.targets.truth, self.targets.weight, self.targets.sample_weights)
        return sum(array.nbytes for array in arrays if array is not None)


def _same(one: Array | None, other: Array | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and np.array_equal(one, other)


class DataLoss:
    """The loss that a dataset spec declares, over its samples.

    What says so is known once the first batch's output has been seen; see `settle`.

    Attributes:
        spec: the declaration.
        where: the model, for messages.
        batch_size: in use; the whole data where the model returns one number per batch.
        undecided: what the data left open about the loss, and how it was taken; None if nothing.
        scalar: whether the model returns one number per batch; settled.
        loss: of the output in use, which may stand before the model's final softmax or sigmoid; settled.
        classes: that the output tells apart, of cross-entropy; None of other losses; settled.
        final: the softmax, log-softmax or sigmoid that the graph ends in; settled.
        batch_weights: see ``base.Objective``; settled.
        denominator: see ``base.Objective``; settled.
    """

    loss: Loss
    final: str | None
    batch_weights: Array
    denominator: float

    def __init__(self, samples: Samples, spec: LossSpec, batch_size: int, where: str) -> None:
        self._samples, self.spec, self.where = samples, spec, where
        self.batch_size = batch_size
        self._made: dict[tuple[int, tuple[int, ...]], _Made] = {}
        self._room = _ROOM
        self.scalar = False
        self.undecided: str | None = None
        self.classes: int | None = None

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    def batches(self, *, start: int = 0, batch_size: int | None = None) -> Iterator[Batch]:
        """The data from batch ``start`` on; ``batch_size`` samples at a time instead of the one in use."""
        return self._samples.batches(self.batch_size if batch_size is None else batch_size, start=start)

    def minibatches(self, groups: Rows, *, start: int = 0) -> Iterator[Batch]:
        """A batch for each row of positions in ``groups``, (m, size), ascending, from row ``start`` on."""
        return (self._samples.some(places) for places in groups[start:])

    def batch_count(self) -> int:
        """How many batches there are."""
        return -(-len(self._samples) // self.batch_size)

    def first_batch(self) -> Batch:
        """The data's first batch."""
        return next(self.batches())

    def class_axis(self, shape: tuple[int, ...], convention: int) -> int:
        """The axis of the classes in an output of the first batch, counted from the samples' axis 0.

        Args:
            shape: of the output.
            convention: the framework's, for outputs of three axes and more.

        Raises:
            SpecError: there is no such axis, or several fit the targets and none is the convention.
        """
        axis, others = class_axis_of(self.spec, shape, self.first_batch().target, convention, self.where)
        if others:
            self.undecided = (
                f"the classes of an output of shape {shape[1:]} per sample are taken to be axis {axis}; the targets "
                f"fit axis {' and '.join(map(str, others))} too: add class_axis = {axis} to [loss], or the other"
            )
        return axis

    def settle(self, values: Array, final: str | None, class_axis: int) -> None:
        """Compare the declaration with the first batch's output, then weigh all targets.

        Args:
            values: what the model returned.
            final: the softmax or sigmoid the graph ends in.
            class_axis: of the output.

        Raises:
            SpecError: the loss declaration contradicts the model.
            UsageError: the loss can't be taken of such an output.
            DataError: targets that do not fit the output.
        """
        self.final = final
        column = self._samples.target_column or "target"
        self.loss = settle(self.spec, End(final, class_axis, column, self.where))
        self._made, self._room = {}, _ROOM
        first = min(self.batch_size, len(self._samples))
        self.scalar = self.loss.name == "output" and (values.ndim == 0 or values.size == 1 < first)
        if self.scalar:
            # One number per batch: only the whole data in one batch gives the loss that was meant.
            self.batch_size = len(self._samples)
        elif values.ndim == 0:
            raise UsageError(f"{self.where} returns one number for the whole batch: set loss.name = 'output'.")
        elif self.loss.name == "output" and values.size != values.shape[0]:
            raise UsageError(
                f"loss.name = 'output' needs one number per sample; {self.where} returns {values.shape[1:]}.\n"
                "Name a loss for it, or choose an output with loss.output."
            )
        elif not self.loss.cut:
            self.loss.check(values)
        if self.loss.name == "cross_entropy" and values.ndim > class_axis:
            self.classes = values.shape[class_axis]
        if self.scalar and self.spec.sample_weight is not None:
            raise UsageError(
                f"{self.where} returns one number for the whole batch: its samples can't be weighted.\n"
                "Remove loss.sample_weight, or export a model that returns one number per sample."
            )
        self.batch_weights = self._weigh(tuple(values.shape[1:]))
        self.denominator = self._denominator()

    def _weigh(self, per_sample: tuple[int, ...]) -> Array:
        weights = []
        for batch in self.batches():
            count = len(next(iter(batch.inputs.values())))
            weights.append(self.targets(batch, (count, *per_sample)).total)
        return np.array(weights)

    def _denominator(self) -> float:
        total = float(self.batch_weights.sum())
        if self.spec.reduction == "sum" or self.scalar:
            return 1.0
        if total == 0:
            raise UsageError("every target is ignored or has weight zero: there is no loss to take a mean of.")
        return total

    def targets(self, batch: Batch, shape: tuple[int, ...]) -> Targets:
        """The targets of a batch, for an output of ``shape``; not to be changed."""
        if batch.places is not None:
            return self._targets(batch, shape)
        place = batch.start, shape
        made = self._made.get(place)
        if made is not None and made.fits(batch):
            return made.targets
        made = _Made(batch.target, batch.weight, self._targets(batch, shape))
        if place not in self._made and made.bytes <= self._room:
            self._made[place] = made
            self._room -= made.bytes
        return made.targets

    def _targets(self, batch: Batch, shape: tuple[int, ...]) -> Targets:
        consecutive = slice(batch.start, batch.start + (shape[0] if shape else 1))
        rows = self._samples.rows[consecutive if batch.places is None else batch.places]
        return self.loss.targets(RawTargets(batch.target, batch.weight, shape, [int(r) for r in rows]))

    def of_one_sample(self, shape: tuple[int, ...], output: str | None) -> tuple[int, ...]:
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
        if not shape or shape[0] != min(self.batch_size, len(self._samples)):
            raise UsageError(f"{self.where}: output {output!r} has shape {shape}, and so no axis of samples.")
        return shape[1:]
