"""A model of any TensorFlow format, once it is a flat graph and its weights are tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curvcli.data.interface import Samples
from curvcli.errors import ModelError
from curvcli.models.base import Array, Layer, Port, as_float64
from curvcli.models.data_loss import DataLoss
from curvcli.models.model import Backend
from curvcli.models.returned import Returned
from curvcli.models.tensorflow.flatten import FlatGraph
from curvcli.models.tensorflow.forward import Forward, Original
from curvcli.models.tensorflow.functions import Functions
from curvcli.models.tensorflow.loops import same_gradient
from curvcli.models.tensorflow.objective import TensorFlowObjective
from curvcli.models.tensorflow.precision import float32_only, widen
from curvcli.models.tensorflow.returned import returned_by
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.threads import threads_in_use
from curvcli.spec.loss import LossSpec

_STILL_LOOPS = "written out step by step its loops have another gradient, so they stay loops: please report this"


@dataclass
class TensorFlowModel:
    """A flat graph on one device, in one dtype (see ``model.Model``).

    Attributes:
        path: of the file or directory.
        sha256: of the bytes that were loaded.
        flat: the graph.
        weights: tensors by parameter, of the parameters that the graph reads.
        unused: the values of those that it does not read.
        device: as TensorFlow names it.
        dtype: of the weights.
        original: the function as saved, until it has been compared with the graph.
        layers: see ``model.Model``.
        inputs: see ``model.Model``.
        outputs: see ``model.Model``.
        why_no_layers: see ``model.Model``.
        part: see ``model.Model``.
    """

    path: Path
    sha256: str
    flat: FlatGraph
    weights: dict[str, Any]
    unused: dict[str, Array]
    device: str
    dtype: Any
    original: Original | None
    layers: tuple[Layer, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    why_no_layers: str
    part: Mapping[str, str]

    @property
    def backend(self) -> Backend:
        return "tensorflow"

    @property
    def threads(self) -> int:
        return threads_in_use()

    def precise(self) -> TensorFlowModel:
        """The same model in float64, from what was read; not compared with the saved function."""
        tf = tensorflow()
        graph_def = type(self.flat.graph_def)()
        graph_def.CopyFrom(self.flat.graph_def)
        if float32_only(graph_def) is not None:
            raise ModelError(f"{self.path}: an operation that TensorFlow has in float32 only.")
        if self.dtype != tf.float64:
            widen(graph_def)
        with tf.device(self.device):
            weights = {name: tf.cast(value, tf.float64) for name, value in self.weights.items()}
        flat = replace(self.flat, graph_def=graph_def, looped=None)
        return replace(self, flat=flat, weights=weights, dtype=tf.float64, original=None)

    def values(self, parameter: str) -> Array:
        return self.unused[parameter] if parameter in self.unused else as_float64(self.weights[parameter])

    def returned(self, samples: Samples, batch_size: int) -> tuple[Returned, ...]:
        self._refuse_tables()
        return returned_by(self._forward(self.flat), next(samples.batches(batch_size)))

    def _refuse_tables(self) -> None:
        if set(self.flat.inputs) - {port.name for port in self.inputs}:
            raise ModelError(
                f"{self.path}: its signature looks values up in a table, which can't be written out for derivatives.\n"
                "Export the network from after the lookup (StringLookup, IntegerLookup)."
            )

    def objective(self, samples: Samples, loss: LossSpec, batch_size: int) -> TensorFlowObjective:
        self._refuse_tables()
        # Once per opened model: what was the same on one batch of data is the same function.
        original, self.original = self.original, None
        where = str(self.path)
        forward, data_loss = self._forward(self.flat), DataLoss(samples, loss, batch_size, where)
        caveat = self._hold_loops(forward, data_loss)
        objective = TensorFlowObjective(forward, data_loss, original)
        objective.caveat = caveat
        return objective

    def _forward(self, flat: FlatGraph) -> Forward:
        return Forward(flat, self.weights, self.dtype, Functions(self.device, str(self.path)))

    def _hold_loops(self, forward: Forward, data_loss: DataLoss) -> str | None:
        """Hold loops that were written out against the loops, once, and go back to these where they differ."""
        looped, self.flat.looped = self.flat.looped, None
        if looped is None or self.flat.random:
            return None
        if same_gradient(forward, self._forward(looped), data_loss.spec.output, data_loss.first_batch()):
            return None
        self.flat = looped
        forward.replace(looped)
        return _STILL_LOOPS
