"""Imports TensorFlow without letting its start-up chatter reach the user."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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


def tensorflow() -> Any:
    """The ``tensorflow`` module, imported on first use."""
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        import tensorflow as tf

        tf.get_logger().setLevel(logging.ERROR)
        # The first operation prints too.
        tf.constant(0)
    return tf
