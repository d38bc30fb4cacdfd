"""The declared loss over the data: settled against the model's output, with the targets and the denominator."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from curvcli.data.interface import Batch, Samples
from curvcli.errors import UsageError
from curvcli.models.base import Array, Link
from curvcli.models.loss import BatchLoss, TargetReader, check_declaration, resolve_link, total_weight
from curvcli.spec.dataset import LossSpec


class DataLoss:
    """The loss that a dataset spec declares, over its samples.

    What says so is known once the first batch's output has been seen; see `settle`.

    Attributes:
        spec: the declaration.
        where: the model, for messages.
        batch_size: in use; the whole data where the model returns one number per batch.
        scalar: whether the model returns one number per batch; settled.
        link: of the loss on the output in use; settled.
        cut: whether the output in use stands before the model's final softmax or sigmoid; settled.
        final: the softmax, log-softmax or sigmoid that the graph ends in; settled.
        batch_weights: see ``base.Objective``; settled.
        denominator: see ``base.Objective``; settled.
    """

    link: Link
    cut: bool
    final: str | None
    batch_weights: Array
    denominator: float

    def __init__(self, samples: Samples, spec: LossSpec, batch_size: int, where: str) -> None:
        self._samples, self.spec, self.where = samples, spec, where
        self.batch_size = batch_size
        self.scalar = False

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    def batches(self, *, start: int = 0, batch_size: int | None = None) -> Iterator[Batch]:
        """The data from batch ``start`` on; ``batch_size`` samples at a time instead of the one in use."""
        return self._samples.batches(self.batch_size if batch_size is None else batch_size, start=start)

    def batch_count(self) -> int:
        """How many batches there are."""
        return -(-len(self._samples) // self.batch_size)

    def first_batch(self) -> Batch:
        """The data's first batch."""
        return next(self.batches())

    def settle(self, values: Array, final: str | None, class_axis: int) -> None:
        """Compare the declaration with the first batch's output, then weigh all targets.

        Args:
            values: what the model returned.
            final: the softmax or sigmoid the graph ends in.
            class_axis: by the framework's convention, for outputs of three axes and more.

        Raises:
            SpecError: the loss declaration contradicts the model.
            UsageError: the loss can't be taken of such an output.
            DataError: targets that do not fit the output.
        """
        self.final = final
        self.link, self.cut = resolve_link(self.spec, final, self.where)
        first = min(self.batch_size, len(self._samples))
        self.scalar = self.spec.name == "output" and (values.ndim == 0 or values.size == 1 < first)
        if self.scalar:
            # One number per batch: only the whole data in one batch gives the loss that was meant.
            self.batch_size = len(self._samples)
        elif values.ndim == 0:
            raise UsageError(f"{self.where} returns one number for the whole batch: set loss.name = 'output'.")
        elif self.spec.name == "output" and values.size != values.shape[0]:
            raise UsageError(
                f"loss.name = 'output' needs one number per sample; {self.where} returns {values.shape[1:]}.\n"
                "Name a loss for it, or choose an output with loss.output."
            )
        elif self.spec.name != "output" and not self.cut:
            check_declaration(self.spec, self.link, values, class_axis if values.ndim > 2 else -1, self.where)
        self._targets = TargetReader(self.spec, self.link, class_axis, self._samples.target_column or "target")
        self.batch_weights = self._weigh(tuple(values.shape[1:]))
        self.denominator = self._denominator()

    def _weigh(self, per_sample: tuple[int, ...]) -> Array:
        weights = []
        for batch in self.batches():
            count = len(next(iter(batch.inputs.values())))
            weights.append(total_weight(self.batch_loss(batch, (count, *per_sample)), count))
        return np.array(weights)

    def _denominator(self) -> float:
        total = float(self.batch_weights.sum())
        if self.spec.reduction == "sum" or self.scalar:
            return 1.0
        if total == 0:
            raise UsageError("every target is ignored or has weight zero: there is no loss to take a mean of.")
        return total

    def batch_loss(self, batch: Batch, shape: tuple[int, ...]) -> BatchLoss:
        """The targets of a batch, for an output of ``shape``."""
        rows = self._samples.rows[batch.start : batch.start + (shape[0] if shape else 1)]
        return self._targets.batch(batch.target, shape, [int(r) for r in rows])

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
