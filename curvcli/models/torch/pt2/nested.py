"""Operators that take graphs, each as the loop or branch in Python that it is: autograd sees what is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import torch


class Body(Protocol):
    """A graph within a graph."""

    def __call__(self, *values: Any) -> list[Any]:
        """What it returns for its inputs."""
        ...


def _with_gradients(enabled: bool, body: Body, *values: Any) -> list[Any]:
    """What ``torch.no_grad`` and ``enable_grad`` enclose."""
    with torch.set_grad_enabled(bool(enabled)):
        return body(*values)


def _autocast(device: Any, dtype: Any, enabled: Any, cached: Any, body: Body, *values: Any) -> list[Any]:
    """What ``torch.autocast`` encloses, in the precision of everything else."""
    return body(*values)


def _plain(body: Body, *values: Any, **_: Any) -> list[Any]:
    return body(*values)


def _labelled(body: Body, _: Any, *values: Any) -> list[Any]:
    return body(*values)


def _branch(condition: Any, first: Body, second: Body, values: Sequence[Any] = ()) -> list[Any]:
    return first(*values) if condition else second(*values)


def _while(condition: Body, body: Body, carried: Sequence[Any], others: Sequence[Any] = ()) -> list[Any]:
    state = list(carried)
    while condition(*state, *others)[0]:
        state = body(*state, *others)
    return state


def _rows(arrays: Sequence[Any]) -> int:
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise RuntimeError("a loop over arrays of different lengths")
    return lengths.pop()


def _map(body: Body, arrays: Sequence[Any], others: Sequence[Any] = ()) -> list[Any]:
    rows = [body(*(array[i] for array in arrays), *others) for i in range(_rows(arrays))]
    return [torch.stack(parts) for parts in zip(*rows, strict=True)]


def _scan(body: Body, carried: Sequence[Any], arrays: Sequence[Any], others: Sequence[Any] = ()) -> list[Any]:
    state, count, rows = list(carried), len(carried), []
    for i in range(_rows(arrays)):
        returned = body(*state, *(array[i] for array in arrays), *others)
        state = returned[:count]
        rows.append(returned[count:])
    return [*state, *(torch.stack(parts) for parts in zip(*rows, strict=True))]


def _associative_scan(body: Body, arrays: Sequence[Any], others: Sequence[Any] = ()) -> list[Any]:
    state = [array[0] for array in arrays]
    states = [state]
    for i in range(1, _rows(arrays)):
        state = body(*state, *(array[i] for array in arrays), *others)
        states.append(state)
    return [torch.stack(parts) for parts in zip(*states, strict=True)]


AUTOCAST: Final = "torch.ops.higher_order.wrap_with_autocast"
# Those that take one way or another by what is computed.
BRANCHING: Final = frozenset({"torch.ops.higher_order.cond", "torch.ops.higher_order.while_loop"})
NESTED: Final[dict[str, Callable[..., list[Any]]]] = {
    f"torch.ops.higher_order.{name}": function
    for name, function in (
        ("wrap_with_set_grad_enabled", _with_gradients),
        ("wrap_with_autocast", _autocast),
        ("tag_activation_checkpoint", _plain),
        ("wrap_activation_checkpoint", _plain),
        ("invoke_subgraph", _labelled),
        ("cond", _branch),
        ("while_loop", _while),
        ("map_impl", _map),
        ("scan", _scan),
        ("associative_scan", _associative_scan),
    )
}
