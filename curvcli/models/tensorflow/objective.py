"""The objective of a flat TensorFlow graph: traced functions that differentiate it symbolically.

Every derivative is taken with ``tf.gradients`` inside one traced function into which the graph is imported, so that any
tensor of it can be the variable. The part before the chosen weights runs once per batch; its results are fed to the
rest. Loops over columns and vectors run inside the function and share the forward pass and the first derivative.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from curvcli.data.interface import Batch, Samples
from curvcli.errors import ModelError, UsageError
from curvcli.memory import available_memory
from curvcli.models.base import Array, Site, as_float64
from curvcli.models.memory import peak_memory, process_memory, release_memory
from curvcli.models.objective import DataObjective
from curvcli.models.pointwise import SampleFunction
from curvcli.models.tensorflow.batch import TensorFlowBatch
from curvcli.models.tensorflow.chain import TensorFlowChainBatch
from curvcli.models.tensorflow.confirm import Located
from curvcli.models.tensorflow.end import End, find_end, with_moved_logits
from curvcli.models.tensorflow.flatten import FlatGraph
from curvcli.models.tensorflow.graph import GraphReader
from curvcli.models.tensorflow.imported import normaliser
from curvcli.models.tensorflow.inputs import TensorFlowInputBatch
from curvcli.models.tensorflow.nodes import all_nodes
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.runtime import quiet_stderr, tensorflow
from curvcli.models.tensorflow.split import SplitFunction
from curvcli.spec.loss import LossSpec
from curvcli.wording import option

# How far the flat graph's outputs may be from the saved function's, which is in the file's own dtype.
_SAME = 1e-2
_CHOICES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
# TensorFlow's convention where neither spec nor targets say it: the classes are the last axis.
_CLASS_AXIS = -1


class TensorFlowObjective(DataObjective):
    """L(θ) of a flat graph over samples (see ``base.Objective``)."""

    def __init__(
        self,
        flat: FlatGraph,
        weights: Mapping[str, Any],
        samples: Samples,
        loss: LossSpec,
        *,
        output: str | None,
        batch_size: int,
        target_column: str,
        device: str,
        dtype: Any,
        where: str,
        original: Any = None,
    ) -> None:
        """Prepare, with one forward pass that settles the link, the output's shape and the denominator.

        Raises:
            SpecError: the loss declaration contradicts the model.
            DataError: targets that do not fit the output.
            ModelError: the forward pass fails.
        """
        super().__init__(samples, loss, batch_size, target_column, where)
        self.flat, self.weights, self.reader = flat, weights, GraphReader(flat)
        self.device, self.dtype = device, dtype
        self._functions: dict[tuple[Any, ...], Any] = {}
        self._splits: dict[tuple[Any, ...], SplitFunction] = {}
        self.located: dict[str, Located] = {}
        returned = _choose(flat.outputs, output, where)
        values = self._run_output(returned, self.first_batch())
        axis = self._class_axis(values.shape, _CLASS_AXIS)
        logits, final = self._logits(returned, axis, values.ndim)
        if original is not None and not flat.random:
            self._hold_against(original, values, output)
        self._settle(values, final, axis)
        self.output = logits if self.loss.cut else returned
        self.needed = self.reader.upstream(self.output)

    def _hold_against(self, original: Any, values: Array, output: str | None) -> None:
        """Compare what the flat graph returns for the first batch with what the saved function does.

        What this machine has no kernel for (grouped convolutions of volumes on a CPU) can't be compared.

        Raises:
            ModelError: they differ by more than rounding.
        """
        tf, batch = tensorflow(), self.first_batch()
        wanted = original.structured_input_signature[1]
        try:
            with tf.device(self.device), quiet_stderr():
                returned = original(**{n: tf.constant(batch.inputs[n], dtype=wanted[n].dtype) for n in wanted})
        except tf.errors.OpError as refused:
            self.uncompared = _reason(refused)
            return
        own = as_float64(_choose(returned, output, self.where))
        error, scale = (float(np.abs(array).max(initial=0.0)) for array in (own - values, own))
        if np.isfinite(own).all() and error > _SAME * scale:
            raise ModelError(
                f"{self.where}: written out in operations that can be differentiated, the model returns other numbers "
                f"(by {error / scale:.2g} of the largest), so its derivatives would be of another function.\n"
                "Please report this with the model."
            )

    def _logits(self, returned: str, axis: int, axes: int) -> tuple[str, str | None]:
        """The tensor to take the loss of where it can be had, and the normaliser that what is returned comes from.

        Args:
            returned: what the model returns.
            axis: the classes' in it.
            axes: how many it has.
        """
        end = find_end(self.reader, returned)
        if end.kind is None:
            return end.logits, None
        if end.plain:
            # TensorFlow's own softmax normalises the last axis.
            along_classes = end.kind == "sigmoid" or axis >= axes - 1
            return (end.logits, end.kind) if along_classes else (returned, None)
        original = self.flat
        self.flat, moved = with_moved_logits(original, self.reader, end)
        self.reader = GraphReader(self.flat)
        if self._same(end, moved, axis if axes > 2 else -1):
            return moved, end.kind
        self.flat, self.reader = original, GraphReader(original)
        return returned, None

    def _same(self, end: End, moved: str, axis: int) -> bool:
        """Whether the normaliser of the moved logits is what the model returns, for logits at random."""
        tf = tensorflow()

        def difference(weights: Any, data: Any) -> Any:
            (logits,) = self.import_graph(weights, self.input_tensors, data, [end.logits])
            noise = tf.random.stateless_normal(tf.shape(logits), [1, 2], dtype=logits.dtype)
            normalised = normaliser(end.kind)(noise)
            feeds = [*self.input_tensors, end.logits, end.probabilities]
            old, new = self.import_graph(weights, feeds, [*data, noise, normalised], [end.returned, moved])
            return tf.reduce_max(tf.abs(old - normaliser(end.kind, axis)(new))), tf.shape(old), tf.shape(new)

        arguments = self.all_weights(), self.feed(self.first_batch())
        error, before, after = self.call(("same", end.returned), difference, *arguments)
        tolerance = {tf.float64: 1e-12, tf.float32: 1e-5}.get(error.dtype, 1e-2)
        return before.numpy().tolist() == after.numpy().tolist() and float(error) <= tolerance

    def _run_output(self, tensor: str, batch: Batch) -> Array:
        def forward(weights: Any, data: Any) -> Any:
            return self.import_graph(weights, self.input_tensors, data, [tensor])[0]

        return as_float64(self.call(("output", tensor), forward, self.all_weights(), self.feed(batch)))

    def _output_values(self, batch: Batch) -> Array:
        return self._run_output(self.output, batch)

    # -- running functions --------------------------------------------------------------------------------------------

    @property
    def input_tensors(self) -> list[str]:
        """The tensors that data is fed to."""
        return list(self.flat.inputs.values())

    def all_weights(self) -> list[Any]:
        """Every weight, in a fixed order."""
        return list(self.weights.values())

    def feed(self, batch: Batch) -> list[Any]:
        """A batch's inputs as tensors."""
        tf = tensorflow()
        by_node = self.reader.nodes
        tensors = []
        for name, tensor in self.flat.inputs.items():
            dtype = tf.dtypes.as_dtype(by_node[tensor.split(":")[0]].attr["dtype"].type)
            tensors.append(tf.constant(batch.inputs[name], dtype=dtype))
        return tensors

    def import_graph(
        self, weights: Sequence[Any], feeds: Sequence[str], fed: Sequence[Any], fetch: Sequence[str]
    ) -> list[Any]:
        """Put the graph into the function being traced, with weights and ``feeds`` replaced; return ``fetch``."""
        tf = tensorflow()
        replaced = {f"{self.flat.weights[name]}:0": t for name, t in zip(self.weights, weights, strict=True)}
        replaced |= dict(zip(feeds, fed, strict=True))
        # A tensor that is fed is not made again: fetching it gives what was fed.
        wanted = [t for t in dict.fromkeys(fetch) if t not in replaced]
        part, used = self.reader.subgraph(self.flat.graph_def, wanted, replaced)
        inputs = {t: value for t, value in replaced.items() if t in used}
        made = tf.graph_util.import_graph_def(part, input_map=inputs, return_elements=wanted, name="")
        found = dict(zip(wanted, made, strict=True)) | replaced
        return [found[t] for t in fetch]

    def call(self, key: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """Trace ``function`` once per key and argument shapes, then run it."""
        tf = tensorflow()
        full = (key, _shapes(tf.nest.flatten(arguments)))
        with self.explained():
            if full not in self._functions:
                self._functions[full] = tf.function(function, autograph=False)
            return self._functions[full](*arguments)

    def split(self, key: Any, function: Callable[..., Any], arguments: Sequence[Any], vector: Any) -> SplitFunction:
        """Cut ``function(*arguments, vector)`` in two, once per key and shapes."""
        full = (key, _shapes([*arguments, vector]))
        if full not in self._splits:
            self._splits[full] = SplitFunction(function, arguments, vector)
        return self._splits[full]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """On the chosen device, and with errors that a person can read."""
        tf = tensorflow()
        try:
            with tf.device(self.device):
                yield
        except LookupError as error:
            raise ModelError(f"{self.where}: {_no_gradient(error)}") from error
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise ModelError(f"{self.where} can't be computed: {_reason(error)}") from error

    @property
    def random(self) -> tuple[str, ...]:
        """See ``DataObjective``."""
        return self.flat.random

    @property
    def branches(self) -> bool:
        """See ``DataObjective``."""
        return any(node.op in _CHOICES for node in all_nodes(self.flat.graph_def))

    @property
    def batch_statistics(self) -> bool:
        """See ``DataObjective``."""
        return self.flat.batch_statistics

    # -- the protocol -------------------------------------------------------------------------------------------------

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """See ``base.Objective``."""
        return self.reader.blockers([self.reader.leaves(parameters)], self.needed)[0]

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[TensorFlowBatch]:
        """The data from batch ``start`` on; see ``base.Objective``."""
        for data in self.samples.batches(self.batch_size, start=start):
            yield TensorFlowBatch(self, data, parameters)

    # -- derivatives by the inputs, and in parts (see ``pointwise.PointwiseObjective``) -------------------------------

    def returned(self, output: str) -> str:
        """The tensor of a named output."""
        return str(_choose(self.flat.outputs, output, self.where))

    def differentiable_inputs(self) -> tuple[str, ...]:
        """The names of the floating-point inputs."""
        fed = self.feed(self.first_batch())
        return tuple(name for name, tensor in zip(self.flat.inputs, fed, strict=True) if tensor.dtype.is_floating)

    def output_shape(self, output: str | None) -> tuple[int, ...]:
        """One sample's shape of an output."""
        tensor = self.output if output is None else self.returned(output)
        shape = self._run_output(tensor, self.first_batch()).shape
        return self._of_one_sample(shape, output)

    def input_batches(
        self, function: SampleFunction, inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[TensorFlowInputBatch]:
        """The data from batch ``start`` on."""
        for data in self.samples.batches(self.batch_size, start=start):
            yield TensorFlowInputBatch(self, data, function, inputs)

    def chain_batches(
        self, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[TensorFlowChainBatch]:
        """The data from batch ``start`` on, split at a layer."""
        for data in self.samples.batches(self.batch_size, start=start):
            yield TensorFlowChainBatch(self, data, layer, parameters, inputs)

    @contextmanager
    def moved(self, offsets: Mapping[str, Array]) -> Iterator[None]:
        """See ``pointwise.PointwiseObjective``."""
        tf, kept = tensorflow(), self.weights
        changed = {n: kept[n] + tf.constant(offset, dtype=self.dtype) for n, offset in offsets.items() if n in kept}
        self.weights = {**kept, **changed}
        try:
            yield
        finally:
            self.weights = kept

    def memory_in_use(self) -> int:
        """See ``base.Objective``."""
        if "GPU" in self.device:
            return int(tensorflow().config.experimental.get_memory_info(_gpu(self.device))["current"])
        return process_memory()

    def memory_peak(self) -> int:
        """See ``base.Objective``."""
        if "GPU" in self.device:
            return int(tensorflow().config.experimental.get_memory_info(_gpu(self.device))["peak"])
        return peak_memory()

    def memory_release(self) -> None:
        """See ``base.Objective``."""
        release_memory()

    def memory_free(self) -> int:
        """See ``base.Objective``; TensorFlow takes a whole GPU for itself and does not tell its size."""
        return available_memory()

    def _read_sites(self, parameters: Sequence[str]) -> Mapping[str, Site]:
        return next(self.batches(parameters)).read_sites()


def _shapes(tensors: Sequence[Any]) -> tuple[Any, ...]:
    return tuple((tuple(t.shape), t.dtype.name) for t in tensors)


def _choose(outputs: Mapping[str, Any], name: str | None, where: str) -> Any:
    if name in (None, "output") and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name is None or name not in outputs:
        raise UsageError(
            f"{where} has the outputs {', '.join(outputs)}: "
            f"choose one of them (loss.output in the dataset spec, or {option('of')})."
        )
    return outputs[name]


def _gpu(device: str) -> str:
    """``/device:GPU:0`` → ``GPU:0``."""
    return device.rpartition("device:")[2] or device.lstrip("/")


def _reason(error: Exception) -> str:
    """The line of a runtime error that says something."""
    boilerplate = ("Graph execution error", "Detected at node", "<stack traces", "in user code", "File ")
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(boilerplate)]
    return told[0][:300] if told else type(error).__name__


def _no_gradient(error: LookupError) -> str:
    """TensorFlow's message names the operation in the middle of much else."""
    found = re.search(r"op(?:eration)? type: (\w+)", str(error))
    if found is not None:
        return f"the operation {readable(found[1])} has no derivative."
    return f"an operation has no derivative ({str(error)[:200]})."
