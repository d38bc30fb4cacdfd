"""How many threads TensorFlow computes on: settled once, when its runtime starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Final

from curvcli.errors import UsageError
from curvcli.models.processors import affinity, available_processors
from curvcli.models.tensorflow.runtime import compute_exactly, hide_gpus, imported, tensorflow
from curvcli.wording import option

# By these a user sets the numbers himself: within an operation, and of operations beside each other.
_WITHIN: Final = "TF_NUM_INTRAOP_THREADS"
_BESIDE: Final = "TF_NUM_INTEROP_THREADS"


def use(threads: int | None, device: str) -> Callable[[], object] | None:
    """See `models.threads.Threads`."""
    hide_gpus(device)
    first = "tensorflow" not in sys.modules
    if threads is not None:
        _set(imported(), threads)
    elif first and not os.environ.get(_WITHIN) and available_processors() < affinity():
        _set(imported(), available_processors())
    tensorflow()
    return None if device in ("cpu", "") else compute_exactly()


def threads_in_use() -> int:
    """Among how many threads an operation is divided."""
    set_to = tensorflow().config.threading.get_intra_op_parallelism_threads()
    requested = os.environ.get(_WITHIN, "")
    return int(set_to or (int(requested) if requested.isdecimal() else 0) or affinity())


def _set(tf: Any, threads: int) -> None:
    """Set both numbers.

    Raises:
        UsageError: the runtime has started with another number.
    """
    if threads == tf.config.threading.get_intra_op_parallelism_threads():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        if not os.environ.get(_BESIDE):
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        if threads != threads_in_use():
            raise UsageError(
                f"{option('threads', threads)}: TensorFlow has started with {threads_in_use()} in this process, and "
                "can't change that; set it before anything else uses TensorFlow."
            ) from None
