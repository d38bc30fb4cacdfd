"""How many threads the frameworks and NumPy compute on: what was requested, else what the machine allows."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from threadpoolctl import threadpool_limits

from curvcli.models.model import Backend

# What puts back the threads that a process had before they were changed, the latest change last.
_BEFORE: list[Callable[[], object]] = []


class Threads(Protocol):
    """What the module ``threads`` of a framework has as ``use``."""

    def __call__(self, threads: int | None, device: str) -> Callable[[], object] | None:
        """Compute on so many threads, from now on; imports the framework.

        Args:
            threads: how many. If None, what the user has set for the framework: the environment variables it reads, or
                by its own functions where it was imported before; else its own default, or fewer where the process may
                use fewer processors.
            device: that will be computed on, e.g. ``cpu``; settled by some frameworks' import.

        Returns:
            What puts back the number of threads, if one was requested, and how exactly the device computes; None where
            there is nothing to put back.

        Raises:
            UsageError: the framework can't change the number any more.
        """
        ...


def use_threads(backend: Backend, threads: int | None, device: str) -> None:
    """Compute on so many threads, from now on, or until `restore_threads`; see `Threads`.

    Raises:
        UsageError: the framework can't change the number any more.
    """
    use: Threads = import_module(f"curvcli.models.{backend}.threads").use
    before = use(threads, device)
    if before is not None:
        _BEFORE.append(before)
    if threads is None:
        return
    # After the framework, whose own libraries may multiply for NumPy too.
    _BEFORE.append(threadpool_limits(threads, user_api="blas").restore_original_limits)


def restore_threads() -> None:
    """Put back what `use_threads` has changed."""
    while _BEFORE:
        _BEFORE.pop()()
