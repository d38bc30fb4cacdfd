"""What is known of tensors before any derivative is taken: shapes, dtypes, and whether the data changes these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
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
        # In a deep network there are many, and each output of a function takes time.
        settled = [
            n for tensor in values if tensor.shape.is_fully_defined() for n in (tensor.shape.rank, *tensor.shape)
        ]
        loose = [tf.shape(tensor) for tensor in values if not tensor.shape.is_fully_defined()]
        dtypes = [tensor.dtype.base_dtype.as_datatype_enum for tensor in values]
        return tf.constant(settled, tf.int64), loose, tf.constant(dtypes), tf.constant(steady)

    settled, loose, dtypes, steady = forward.functions.call(
        ("shapes", tuple(tensors)), run, forward.all_weights(), forward.feed(data)
    )
    numbers, others = iter(settled.numpy().tolist()), iter(loose)
    columns = zip(tensors, dtypes.numpy(), steady.numpy(), strict=True)
    return {
        t: Measured(
            tuple(islice(numbers, next(numbers))) if fixed else tuple(int(n) for n in next(others)), int(d), bool(fixed)
        )
        for t, d, fixed in columns
    }


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
