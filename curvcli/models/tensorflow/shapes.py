"""What is known of tensors before any derivative is taken: shapes, dtypes, and whether the data changes these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curvcli.data.interface import Batch
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.runtime import tensorflow

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


def measure(forward: Forward, tensors: Sequence[str], data: Batch) -> dict[str, Measured]:
    """One forward pass over a batch."""
    tf = tensorflow()

    def run(weights: Any, fed: Any) -> Any:
        values = forward.import_graph(weights, forward.input_tensors, fed, tensors)
        steady = [tensor.shape.is_fully_defined() for tensor in values]
        dtypes = [tensor.dtype.base_dtype.as_datatype_enum for tensor in values]
        return [tf.shape(tensor) for tensor in values], tf.constant(dtypes), tf.constant(steady)

    shapes, dtypes, steady = forward.functions.call(
        ("shapes", tuple(tensors)), run, forward.all_weights(), forward.feed(data)
    )
    columns = zip(tensors, shapes, dtypes.numpy(), steady.numpy(), strict=True)
    return {t: Measured(tuple(int(n) for n in s), int(d), bool(steady)) for t, s, d, steady in columns}


def changing(
    forward: Forward, batches: Iterator[Batch], first: Mapping[str, Measured], rows: Sequence[str]
) -> set[str]:
    """The tensors whose shape per sample is not the same in every batch.

    Shapes that the graph fixes are taken from the first batch; only for others are all batches run.

    Args:
        forward: runs the graph.
        batches: all of them.
        first: what was measured in the first.
        rows: those whose first axis must count samples; others may lack that axis, or repeat it for all samples.
    """
    loose = [t for t, measured in first.items() if not measured.steady]
    varying: set[str] = set()
    if not loose:
        return varying
    samples = len(next(batches))
    for data in batches:
        here, now = len(data), measure(forward, loose, data)
        for tensor in loose:
            before, after = first[tensor].shape, now[tensor].shape
            in_step = before[1:] == after[1:] and bool(before) and before[0] * here == after[0] * samples
            if not in_step and (tensor in rows or before != after):
                varying.add(tensor)
    return varying
