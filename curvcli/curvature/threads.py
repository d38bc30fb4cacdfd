"""Keeps NumPy's threads out of the way of the framework's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")


def blas_on_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """While the function runs, NumPy and SciPy multiply on one thread.

    Between two products of a matrix they do little, but OpenBLAS's threads wait for more by spinning, on the cores that
    the framework's threads need for the next product: that made products three times slower (two cores, 122,570
    entries: five eigenvalues in 5.3 s instead of 1.8 s).
    """

    @wraps(function)
    def limited(*arguments: P.args, **named: P.kwargs) -> R:
        libraries = _libraries(len(sys.modules))
        if all(one.num_threads == 1 for one in libraries.lib_controllers if one.user_api == "blas"):
            return function(*arguments, **named)
        with libraries.limit(limits=1, user_api="blas"):
            return function(*arguments, **named)

    return limited


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """The libraries that multiply; to look for them takes as long as a product of a small network.

    Args:
        modules: how many were imported: with more of them there may be more libraries.
    """
    del modules
    return ThreadpoolController()
