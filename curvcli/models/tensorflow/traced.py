"""A Python function as one traced graph, called as the operation that it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from curvcli.models.tensorflow.runtime import tensorflow


class TracedFunction:
    """A graph for arguments of fixed shapes.

    ``tf.function`` looks at every argument of every call to find the right graph, which takes longer than all else that
    a product of a small network does. Here the caller knows that they have the same shapes.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], rows: Any = None) -> None:
        """Trace it.

        Args:
            function: of tensors, or sequences of them; returns the same.
            arguments: for their structure, shapes and dtypes.
            rows: what stands for the last of them where it may have any number of rows, a ``tf.TensorSpec``.
        """
        tf = tensorflow()
        if rows is None:
            self._function = tf.function(function, autograph=False)
            self._graph = self._function.get_concrete_function(*arguments)
        else:
            signature = [*(tf.TensorSpec(t.shape, t.dtype) for t in arguments[:-1]), rows]
            self._function = tf.function(function, signature, autograph=False)
            self._graph = self._function.get_concrete_function()
        self._captured = list(self._graph.captured_inputs)
        self._returned = self._graph.structured_outputs
        leaves = tf.nest.flatten(self._returned)
        self._dtypes = [leaf.dtype for leaf in leaves if isinstance(leaf, tf.TensorSpec | tf.Tensor)]
        self._single = isinstance(self._returned, tf.TensorSpec | tf.Tensor)
        # The operation takes int32 for numbers on the device, where TensorFlow has them in the machine's memory.
        on_device = [t.dtype for t in tf.nest.flatten(arguments) if "CPU" not in t.device]
        narrow = tf.int32 in (*self._dtypes, *on_device)
        self._plain = not narrow and len(self._dtypes) == len(leaves) == len(self._graph.outputs)

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns for arguments like those that it was traced with."""
        if not self._plain:
            return self._function(*arguments)
        tf = tensorflow()
        tensors = [*tf.nest.flatten(arguments), *self._captured]
        made = tf.raw_ops.StatefulPartitionedCall(args=tensors, Tout=self._dtypes, f=self._graph)
        if self._single:
            return made[0]
        return tf.nest.pack_sequence_as(self._returned, made)
