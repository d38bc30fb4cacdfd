"""What a flat graph returns for a batch: every output with the softmax or sigmoid that it comes from."""

from __future__ import annotations

from curvcli.data.interface import Batch
from curvcli.models.returned import Returned, class_axes
from curvcli.models.tensorflow.end import logits_of
from curvcli.models.tensorflow.forward import Forward


def returned_by(forward: Forward, batch: Batch) -> tuple[Returned, ...]:
    """All outputs, in the model's order.

    Args:
        forward: of a graph that serves for nothing else.
        batch: to run it on.
    """
    outputs = []
    for name in tuple(forward.flat.outputs):
        tensor = forward.returned(name)
        values = forward.values(tensor, batch)
        finals = {}
        for axis in class_axes(values.shape):
            _, final = logits_of(forward, tensor, batch, axis, values.ndim)
            if final is not None:
                finals[axis] = final
        outputs.append(Returned(name, values, finals))
    return tuple(outputs)
