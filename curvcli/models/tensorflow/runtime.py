"""Imports TensorFlow without letting its start-up chatter reach the user, and names its devices."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from curvcli.errors import UsageError
from curvcli.wording import option

_CUDA: Final = re.compile(r"cuda(?::([0-9]{1,4}))?")


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send file descriptor 2 to a file that is thrown away: the C++ side logs past Python's streams."""
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed: there is nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextmanager
def keras_on_tensorflow() -> Iterator[None]:
    """Within it, Keras is imported on TensorFlow, which imports it too, whatever backend is set for other programs."""
    backend = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        yield
    finally:
        if backend is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = backend


@cache
def tensorflow() -> Any:
    """The ``tensorflow`` module, imported on first use, its runtime started."""
    tf = imported()
    with quiet_stderr():
        # The first operation prints too.
        tf.constant(0)
    return tf


def imported() -> Any:
    """The ``tensorflow`` module, imported on first use; its runtime need not have started."""
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr(), keras_on_tensorflow():
        import tensorflow as tf

        tf.get_logger().setLevel(logging.ERROR)
    return tf


def hide_gpus(device: str) -> None:
    """Before TensorFlow is imported for work on the CPU: it takes every GPU it sees, and all of its memory."""
    if device == "cpu":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def device_of(name: str) -> str:
    """TensorFlow's name of a device, e.g. ``/GPU:1`` of ``cuda:1``.

    Raises:
        UsageError: it is not there.
    """
    if name == "cpu":
        return "/CPU:0"
    match = _CUDA.fullmatch(name)
    if match is None:
        raise UsageError(f"{option('device', name)}: the devices are cpu, cuda, cuda:1 ….")
    tf = tensorflow()
    if not tf.test.is_built_with_cuda() and not tf.test.is_built_with_rocm():
        reason = f"TensorFlow {tf.__version__} was built for the processor alone; install tensorflow[and-cuda]"
        raise UsageError(f"{option('device', name)}: {reason}.")
    count, number = len(tf.config.list_logical_devices("GPU")), int(match[1] or 0)
    if number >= count:
        reason = (
            f"TensorFlow sees {count} here, the last is cuda:{count - 1}" if count else "TensorFlow sees no GPU here"
        )
        raise UsageError(f"{option('device', name)}: {reason}.")
    return f"/GPU:{number}"


def compute_exactly() -> Callable[[], object]:
    """Have GPUs multiply float32 numbers as such, and not rounded to TF32's 10 bits; for the process.

    Returns:
        What puts that back.
    """
    experimental = tensorflow().config.experimental
    before = experimental.tensor_float_32_execution_enabled()
    experimental.enable_tensor_float_32_execution(False)
    return lambda: experimental.enable_tensor_float_32_execution(before)
