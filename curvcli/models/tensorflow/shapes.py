"""What is known of tensors before any derivative is taken: shapes, dtypes, and whether the data changes these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curvcli.data.interface import Batch
from curvcli.models.tensorflow.runtime import tensorflow

if TYPE_CHECKING:
    from curvcli.models.tensorflow.objective import TensorFlowObjective

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """One tensor in the first batch.

    Attributes:
        shape: there.
        dtype: TensorFlow's number of it.
        steady: whether the graph fixes the shape, given the inputs' shapes.
    """

    shape: Shape
    dtype: int
    steady: bool


def measure(objective: TensorFlowObjective, tensors: Sequence[str], data: Batch) -> dict[str, Measured]:
    """One forward pass over a batch."""
    tf, o = tensorflow(), objective

    def forward(weights: Any, fed: Any) -> Any:
        found = o.import_graph(weights, o.input_tensors, fed, tensors)
        steady = [tensor.shape.is_fully_defined() for tensor in found]
        dtypes = [tensor.dtype.base_dtype.as_datatype_enum for tensor in found]
        return [tf.shape(tensor) for tensor in found], tf.constant(dtypes), tf.constant(steady)

    shapes, dtypes, steady = o.call(("shapes", tuple(tensors)), forward, o.all_weights(), o.feed(data))
    columns = zip(tensors, shapes, dtypes.numpy(), steady.numpy(), strict=True)
    return {t: Measured(tuple(int(n) for n in s), int(d), bool(known)) for t, s, d, known in columns}


def changing(objective: TensorFlowObjective, first: Mapping[str, Measured], rows: Sequence[str]) -> set[str]:
    """The tensors whose shape per sample is not the same in every batch.

    Shapes that the graph fixes are taken from the first batch; only for others are all batches run.

    Args:
        objective: for its graph and data.
        first: the first batch.
        rows: those whose first axis must count samples; others may lack that axis, or repeat it for all samples.
    """
    o = objective
    loose = [t for t, measured in first.items() if not measured.steady]
    found: set[str] = set()
    if not loose:
        return found
    batches = o.samples.batches(o.batch_size)
    samples = _samples(next(batches))
    for data in batches:
        here, now = _samples(data), measure(o, loose, data)
        for tensor in loose:
            before, after = first[tensor].shape, now[tensor].shape
            in_step = before[1:] == after[1:] and bool(before) and before[0] * here == after[0] * samples
            if not in_step and (tensor in rows or before != after):
                found.add(tensor)
    return found


def _samples(batch: Batch) -> int:
    return len(next(iter(batch.inputs.values())))
