"""Functions traced once per shape and run on one device, with errors that a person can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from curvcli.errors import ModelError
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.split import SplitFunction
from curvcli.models.tensorflow.traced import TracedFunction


class Functions:
    """What was traced so far, by key and shapes of the arguments.

    Attributes:
        device: as TensorFlow names it.
        where: the model, for messages.
    """

    def __init__(self, device: str, where: str) -> None:
        self.device, self.where = device, where
        self._functions: dict[tuple[Any, ...], TracedFunction] = {}
        self._splits: dict[tuple[Any, ...], SplitFunction] = {}

    def call(self, key: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """Trace ``function`` once per key and argument shapes, then run it.

        Raises:
            ModelError: it can't be differentiated or computed.
        """
        full = (key, _shapes(tensorflow().nest.flatten(arguments)))
        with self.explained():
            if full not in self._functions:
                self._functions[full] = TracedFunction(function, arguments)
            return self._functions[full](*arguments)

    def call_for_rows(self, key: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """The same of tensors alone, the last with any number of rows: tracing takes longer than the last few.

        Raises:
            ModelError: it can't be differentiated or computed.
        """
        *shapes, (rows, dtype) = _shapes(arguments)
        specs = [*shapes, ((None, *rows[1:]), dtype)]
        full = (key, tuple(specs))
        with self.explained():
            if full not in self._functions:
                self._functions[full] = TracedFunction(function, arguments, tensorflow().TensorSpec(*specs[-1]))
            return self._functions[full](*arguments)

    def split(self, key: Any, function: Callable[..., Any], arguments: Sequence[Any], vector: Any) -> SplitFunction:
        """Cut ``function(*arguments, vector)`` in two, once per key and shapes."""
        full = (key, _shapes([*arguments, vector]))
        if full not in self._splits:
            self._splits[full] = SplitFunction(function, arguments, vector)
        return self._splits[full]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """On the device; what TensorFlow raises becomes a ModelError."""
        tf = tensorflow()
        try:
            with tf.device(self.device):
                yield
        except LookupError as error:
            raise ModelError(f"{self.where}: {_no_gradient(error)}") from error
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise ModelError(f"{self.where} can't be computed: {reason_of(error)}") from error


def _shapes(tensors: Sequence[Any]) -> tuple[Any, ...]:
    return tuple((tuple(t.shape.as_list()), t.dtype.name) for t in tensors)


def reason_of(error: Exception) -> str:
    """The line of a runtime error that says something."""
    boilerplate = ("Graph execution error", "Detected at node", "<stack traces", "in user code", "File ")
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(boilerplate)]
    return told[0][:300] if told else type(error).__name__


def _no_gradient(error: LookupError) -> str:
    """TensorFlow's message names the operation in the middle of much else."""
    operation = re.search(r"op(?:eration)? type: (\w+)", str(error))
    if operation is not None:
        return f"the operation {readable(operation[1])} has no derivative."
    return f"an operation has no derivative ({str(error)[:200]})."
