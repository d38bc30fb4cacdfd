"""Which combinations of parameters the gate tries: every value at least once; the full product is slow tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import pytest

Values = tuple[Any, ...]


def covering(
    *axes: Iterable[Any], pairs: Sequence[tuple[int, int]] = (), given: Callable[..., bool] | None = None
) -> list[Any]:
    """All combinations of the axes' values, for ``pytest.mark.parametrize``; those beyond a cover are marked slow.

    The cover is greedy, and the same every time: it takes the combination with the most values that none before has,
    the first of the product among equals. So the cheap values of an axis come first, and are met more often.

    Args:
        axes: the values of each parameter.
        pairs: numbers of axes of which every pair of values is to be covered, for they change each other's meaning.
        given: whether a combination exists; all do if it is left out.
    """
    cases = [case for case in product(*map(tuple, axes)) if given is None or given(*case)]
    numbered = [tuple((axis, repr(value)) for axis, value in enumerate(case)) for case in cases]
    wanted = [[(place,) for place in case] + [(case[a], case[b]) for a, b in pairs] for case in numbered]
    missing = {part for parts in wanted for part in parts}
    gate: set[int] = set()
    while missing:
        best = max(range(len(cases)), key=lambda i: (len(missing.intersection(wanted[i])), -i))
        gate.add(best)
        missing.difference_update(wanted[best])
    return [pytest.param(*case, marks=() if i in gate else pytest.mark.slow) for i, case in enumerate(cases)]


def slow(*axes: Iterable[Any], given: Callable[..., bool] | None = None) -> list[Any]:
    """All combinations, each of them slow: of values that other tests of the gate have, or that none there needs."""
    cases = product(*map(tuple, axes))
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases if given is None or given(*case)]
