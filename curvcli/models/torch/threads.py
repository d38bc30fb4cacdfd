"""How many threads torch computes on, and how they wait for each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from curvcli.models.processors import available_processors

# By these a user sets the number himself.
_NUMBER: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# By these, how threads wait. Torch's wheels for Linux hold GNU's OpenMP, which by default looks 300,000 times whether
# there is more to do before it sleeps. Beside two busy processes on two cores a product of 10,000 entries then took
# 155 ms instead of 0.4 ms, and 494 ms instead of 2.2 ms in a conv net; with 1,000 times, which is what it does itself
# where it has more threads than processors, 10 ms and 55 ms, and nothing is lost on a big network. To sleep at once
# takes four times as long where nothing else runs.
_WAITING: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_SPINS: Final = "1000"


def use(threads: int | None, device: str) -> Callable[[], object] | None:
    """See `models.threads.Threads`."""
    first = "torch" not in sys.modules
    with _waiting_briefly():
        import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    elif first and not any(os.environ.get(name) for name in _NUMBER):
        torch.set_num_threads(min(before, available_processors()))
    undo = []
    if device not in ("cpu", ""):
        from curvcli.models.torch.device import compute_exactly

        undo.append(compute_exactly())
    if threads is not None:
        undo.append(lambda: torch.set_num_threads(before))
    if first:
        # These run branches of a program beside each other; every product here is one after the other.
        with suppress(RuntimeError):
            torch.set_num_interop_threads(1)
    return (lambda: [put_back() for put_back in undo]) if undo else None


@contextmanager
def _waiting_briefly() -> Iterator[None]:
    """While OpenMP's library is loaded, which reads how to wait only then."""
    settled = any(os.environ.get(name) for name in _WAITING)
    if not settled:
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    try:
        yield
    finally:
        if not settled:
            del os.environ["GOMP_SPINCOUNT"]
