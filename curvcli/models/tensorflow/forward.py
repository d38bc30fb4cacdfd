"""Forward passes of a flat graph: any of its tensors from its weights and what is fed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array, as_float64
from curvcli.models.outputs import named_output
from curvcli.models.tensorflow.flatten import FlatGraph
from curvcli.models.tensorflow.functions import Functions, reason_of
from curvcli.models.tensorflow.graph import GraphReader
from curvcli.models.tensorflow.library import own_functions
from curvcli.models.tensorflow.runtime import quiet_stderr, tensorflow

# How far the flat graph's outputs may be from the saved function's, which is in the file's own dtype.
_SAME = 1e-2
# Where the file computes in 16 bits; bfloat16 has three digits.
_SAME_IN_16_BITS = 1e-1


@dataclass(frozen=True)
class Original:
    """The function as it was saved.

    Attributes:
        function: concrete, with inputs and outputs by name.
        owner: holds its variables, and has to live as long.
    """

    function: Any
    owner: Any


class Forward:
    """A flat graph with its weights.

    Attributes:
        flat: the graph.
        reader: of the graph.
        weights: tensors by parameter.
        dtype: of the weights.
        functions: traced from it.
        output: the tensor that the loss is taken of; set by `take`.
        needed: the nodes that make it; set by `take`.
    """

    output: str
    needed: set[str]

    def __init__(self, flat: FlatGraph, weights: Mapping[str, Any], dtype: Any, functions: Functions) -> None:
        self.weights, self.dtype, self.functions = weights, dtype, functions
        self.replace(flat)

    @property
    def where(self) -> str:
        """The model, for messages."""
        return self.functions.where

    def replace(self, flat: FlatGraph) -> None:
        """Run another graph of the same weights and inputs from now on."""
        self.flat, self.reader = flat, GraphReader(flat)
        self._cuts: dict[tuple[str, ...], tuple[set[str], list[str], bool]] = {}

    def take(self, output: str) -> None:
        """Take the loss of this tensor."""
        self.output, self.needed = output, self.reader.upstream(output)
        self._cuts = {}

    def cut(self, parameters: tuple[str, ...]) -> tuple[set[str], list[str], bool]:
        """What ``GraphReader.cut`` says of these weights and the output, and whether a loop lies between them."""
        if parameters not in self._cuts:
            inside, frontier = self.reader.cut(parameters, self.needed)
            self._cuts[parameters] = inside, frontier, self.reader.has_loops(inside)
        return self._cuts[parameters]

    def returned(self, output: str | None) -> str:
        """The tensor of a named output.

        Raises:
            UsageError: there is none.
        """
        return named_output(self.flat.outputs, output, self.where)

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
        tensors = []
        for name, tensor in self.flat.inputs.items():
            dtype = tf.dtypes.as_dtype(self.reader.nodes[tensor.split(":")[0]].attr["dtype"].type)
            tensors.append(tf.constant(batch.inputs[name], dtype=dtype))
        return tensors

    def import_graph(
        self, weights: Sequence[Any], feeds: Sequence[str], fed: Sequence[Any], fetch: Sequence[str]
    ) -> list[Any]:
        """Put the graph into the function being traced, with weights and ``feeds`` replaced; return ``fetch``."""
        replaced = {f"{self.flat.weights[name]}:0": t for name, t in zip(self.weights, weights, strict=True)}
        replaced |= dict(zip(feeds, fed, strict=True))
        # A tensor that is fed is not made again: fetching it gives what was fed.
        wanted = [t for t in dict.fromkeys(fetch) if t not in replaced]
        part, used = self.reader.subgraph(self.flat.graph_def, wanted, replaced)
        own_functions(part)
        inputs = {t: value for t, value in replaced.items() if t in used}
        made = tensorflow().graph_util.import_graph_def(part, input_map=inputs, return_elements=wanted, name="")
        value_by_tensor = dict(zip(wanted, made, strict=True)) | replaced
        return [value_by_tensor[t] for t in fetch]

    def values(self, tensor: str, batch: Batch) -> Array:
        """A tensor's entries for one batch, float64."""

        def forward(weights: Any, data: Any) -> Any:
            return self.import_graph(weights, self.input_tensors, data, [tensor])[0]

        return as_float64(self.functions.call(("output", tensor), forward, self.all_weights(), self.feed(batch)))

    def looked_up(self, parameter: str, batch: Batch) -> Array | None:
        """The rows of a weight that a batch looks up, ascending; None where something else reads it, or all are."""
        tensors = self.reader.look_ups(parameter, self.reader.live(self.output))
        count = int(self.weights[parameter].shape[0]) if tensors else 0
        if tensors is None:
            return None
        rows = np.unique(np.concatenate([self.values(tensor, batch).reshape(-1) for tensor in tensors])).astype(
            np.int64
        )
        rows = rows[(rows >= 0) & (rows < count)]
        return None if len(rows) == count else rows

    @contextmanager
    def at(self, values: Mapping[str, Array]) -> Iterator[None]:
        """Within it, the weights have these values, each in its parameter's shape."""
        tf, kept = tensorflow(), self.weights
        changed = {n: tf.constant(array, dtype=self.dtype) for n, array in values.items() if n in kept}
        self.weights = {**kept, **changed}
        try:
            yield
        finally:
            self.weights = kept

    def compare(self, original: Original, batch: Batch, values: Array, output: str | None) -> str | None:
        """Compare what the flat graph returns for a batch with what the saved function does.

        What this machine has no kernel for (grouped convolutions of volumes on a CPU) can't be compared.

        Args:
            original: the saved function.
            batch: to run it on.
            values: of the flat graph.
            output: which.

        Returns:
            Why they could not be compared; None if they were.

        Raises:
            ModelError: they differ by more than rounding.
        """
        tf = tensorflow()
        wanted = original.function.structured_input_signature[1]
        try:
            with tf.device(self.functions.device), quiet_stderr():
                returned = original.function(**{n: tf.constant(batch.inputs[n], dtype=wanted[n].dtype) for n in wanted})
        except tf.errors.OpError as refused:
            return reason_of(refused)
        saved = as_float64(named_output(returned, output, self.where))
        error, scale = (float(np.abs(array).max(initial=0.0)) for array in (saved - values, saved))
        if np.isfinite(saved).all() and error > (_SAME_IN_16_BITS if self.flat.narrow else _SAME) * scale:
            raise ModelError(
                f"{self.where}: written out in operations that can be differentiated, the model returns other numbers "
                f"(by {error / scale:.2g} of the largest), so its derivatives would be of another function.\n"
                "Please report this with the model."
            )
        return None
