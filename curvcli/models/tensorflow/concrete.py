"""Makes a model of a concrete function and its variables, wherever they were loaded from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curvcli.errors import ModelError
from curvcli.models.base import Port, as_float64
from curvcli.models.tensorflow.flatten import flatten
from curvcli.models.tensorflow.forward import Original
from curvcli.models.tensorflow.graph import GraphReader
from curvcli.models.tensorflow.layers import layers_of
from curvcli.models.tensorflow.model import TensorFlowModel
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.precision import float32_only, widen
from curvcli.models.tensorflow.runtime import quiet_stderr, tensorflow


@dataclass(frozen=True)
class Variable:
    """A variable that may be differentiated by.

    Attributes:
        handle: the ``id`` of the handle that a function captures.
        value: of it, as a tensor or variable.
        trained: whether it was a parameter in training, where the file tells.
    """

    handle: int
    value: Any
    trained: bool = True


def model_of(
    original: Original,
    variables: Mapping[str, Variable],
    *,
    path: Path,
    sha256: str,
    device: str,
    dtype: str,
    why_no_layers: str,
    part: Mapping[str, str] | None = None,
) -> TensorFlowModel:
    """Flatten the function, convert its numbers and name its layers.

    Args:
        original: the function.
        variables: the trainable ones, in model order by their names.
        path: the model's, for messages.
        sha256: of the bytes that were loaded.
        device: as TensorFlow names it.
        dtype: ``float32`` or ``float64``.
        why_no_layers: what to tell where there are no variables.
        part: see ``model.Model``.

    Raises:
        ModelError: the function can't be made one graph, or not in float64.
    """
    tf, function = tensorflow(), original.function
    try:
        with quiet_stderr():
            flat = flatten(function, {one.handle: name for name, one in variables.items()})
    except (tf.errors.OpError, ValueError, TypeError, LookupError) as error:
        raise ModelError(f"{path}: its signature can't be made one graph: {first_line(error)}") from error
    if dtype == "float64":
        narrow = float32_only(flat.graph_def)
        if narrow is not None:
            raise ModelError(
                f"{path}: TensorFlow has its operation {readable(narrow)} in float32 only, so the model can be "
                "neither computed in float64 nor checked."
            )
        for graph in flat.graphs:
            widen(graph.graph_def)
    numbers = tf.dtypes.as_dtype(dtype)
    with tf.device(device):
        # A cast to the dtype that it has leaves a variable one, which no graph can be fed.
        tensors = {name: tf.convert_to_tensor(one.value) for name, one in variables.items() if name in flat.weights}
        weights = {name: tf.cast(tensor, numbers) for name, tensor in tensors.items()}
    shapes = {name: tuple(int(n) for n in one.value.shape) for name, one in variables.items()}
    untrained = {name for name, one in variables.items() if not one.trained}
    return TensorFlowModel(
        path=path,
        sha256=sha256,
        flat=flat,
        weights=weights,
        unused={name: as_float64(one.value) for name, one in variables.items() if name not in weights},
        device=device,
        dtype=numbers,
        original=original,
        layers=tuple(layers_of(shapes, untrained, GraphReader(flat))),
        inputs=_ports(function.structured_input_signature[1]),
        outputs=_ports(function.structured_outputs),
        why_no_layers=why_no_layers,
        part=part or {},
    )


def first_line(error: Exception) -> str:
    """Of what an exception says; its class where it says nothing."""
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _ports(specs: Mapping[str, Any]) -> tuple[Port, ...]:
    return tuple(Port(name, _dimensions(specs[name]), specs[name].dtype.name) for name in sorted(specs))


def _dimensions(spec: Any) -> tuple[int | None, ...] | None:
    return None if spec.shape.rank is None else tuple(spec.shape.as_list())
