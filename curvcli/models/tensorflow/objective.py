"""The objective of a flat TensorFlow graph: traced functions that differentiate it symbolically.

Every derivative is taken with ``tf.gradients`` inside one traced function into which the graph is imported, so that any
tensor of it can be the variable. The part before the chosen weights runs once per batch; its results are fed to the
rest. Loops over columns and vectors run inside the function and share the forward pass and the first derivative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from curvcli.data.interface import Batch
from curvcli.models.base import Array, Site
from curvcli.models.data_loss import DataLoss
from curvcli.models.objective import DataObjective
from curvcli.models.pointwise import SampleFunction, Side
from curvcli.models.tensorflow.activations import TensorFlowActivationBatch
from curvcli.models.tensorflow.batch import TensorFlowBatch
from curvcli.models.tensorflow.chain import TensorFlowChainBatch
from curvcli.models.tensorflow.confirm import Located
from curvcli.models.tensorflow.end import logits_of
from curvcli.models.tensorflow.forward import Forward, Original
from curvcli.models.tensorflow.inputs import TensorFlowInputBatch
from curvcli.models.tensorflow.memory import memory_of
from curvcli.models.tensorflow.nodes import all_nodes
from curvcli.models.tensorflow.threads import threads_in_use

_CHOICES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
# TensorFlow's convention where neither spec nor targets say it: the classes are the last axis.
_CLASS_AXIS = -1


class TensorFlowObjective(DataObjective):
    """L(θ) of a flat graph over samples (see ``model.ModelObjective``)."""

    def __init__(self, forward: Forward, data_loss: DataLoss, original: Original | None) -> None:
        """Settle the link, the output's shape and the denominator, with one forward pass.

        Args:
            forward: of the graph; told here which tensor the loss is taken of.
            data_loss: to settle.
            original: the saved function, to compare with; None if that was done before.

        Raises:
            SpecError: the loss declaration contradicts the model.
            DataError: targets that do not fit the output.
            ModelError: the forward pass fails, or returns other numbers than the original.
        """
        super().__init__(data_loss, memory_of(forward.functions.device))
        self._forward = forward
        self._located: dict[str, Located] = {}
        returned, first = forward.returned(data_loss.spec.output), data_loss.first_batch()
        values = forward.values(returned, first)
        axis = data_loss.class_axis(values.shape, _CLASS_AXIS)
        logits, final = logits_of(forward, returned, first, axis, values.ndim)
        if original is not None and not forward.flat.random:
            self.uncompared = forward.compare(original, first, values, data_loss.spec.output)
        self.widened = forward.flat.narrow
        data_loss.settle(values, final, axis)
        forward.take(logits if self.loss.cut else returned)

    @property
    def dtype(self) -> str:
        return str(self._forward.dtype.name)

    @property
    def threads(self) -> int:
        return threads_in_use()

    @property
    def random(self) -> tuple[str, ...]:
        return self._forward.flat.random

    @property
    def branches(self) -> bool:
        return any(node.op in _CHOICES for node in all_nodes(self._forward.flat.graph_def))

    @property
    def batch_statistics(self) -> bool:
        return self._forward.flat.batch_statistics

    def _output_values(self, batch: Batch) -> Array:
        return self._forward.values(self._forward.output, batch)

    def _batch(self, data: Batch, parameters: Sequence[str]) -> TensorFlowBatch:
        return TensorFlowBatch(self._forward, self.data_loss, self._located, self.sites, data, parameters)

    def _read_sites(self, parameters: Sequence[str]) -> Mapping[str, Site]:
        return self._batch(self.data_loss.first_batch(), parameters).read_sites()

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        reader = self._forward.reader
        return reader.blockers([reader.leaves(parameters)], self._forward.needed)[0]

    def _tables(self, parameters: Sequence[str]) -> list[str]:
        live = self._forward.reader.live(self._forward.output)
        return [name for name in parameters if self._forward.reader.look_ups(name, live)]

    def _looked_up(self, data: Batch, tables: Sequence[str]) -> Mapping[str, Array | None]:
        return {name: self._forward.looked_up(name, data) for name in tables}

    # -- derivatives by the inputs, and in two parts ------------------------------------------------------------------

    def differentiable_inputs(self) -> tuple[str, ...]:
        fed = self._forward.feed(self.data_loss.first_batch())
        pairs = zip(self._forward.flat.inputs, fed, strict=True)
        return tuple(name for name, tensor in pairs if tensor.dtype.is_floating)

    def output_shape(self, output: str | None) -> tuple[int, ...]:
        tensor = self._forward.output if output is None else self._forward.returned(output)
        return self.data_loss.of_one_sample(self._forward.values(tensor, self.data_loss.first_batch()).shape, output)

    @property
    def probe_samples(self) -> int:  # type: ignore[override]
        """A whole batch: tracing for another number of samples takes longer than computing."""
        return self.batch_size

    def _input_batch(self, data: Batch, function: SampleFunction, inputs: Sequence[str]) -> TensorFlowInputBatch:
        return TensorFlowInputBatch(self._forward, self.data_loss, data, function, inputs)

    def _chain_batch(
        self, data: Batch, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str]
    ) -> TensorFlowChainBatch:
        return TensorFlowChainBatch(self._forward, self.data_loss, data, layer, parameters, inputs, self._orders)

    def _activation_batch(self, data: Batch, layer: Sequence[str], side: Side) -> TensorFlowActivationBatch:
        return TensorFlowActivationBatch(self._forward, self.data_loss, data, layer, self._orders, side)

    def at(self, values: Mapping[str, Array]) -> AbstractContextManager[None]:
        return self._forward.at(values)
