"""Forward passes of which one operation's output is looked at, or replaced by other numbers.

Operations are told by their place among all that torch's dispatcher runs. A node of autograd's graph has the number
that its operation was given when it ran, so that the operation which made a node's output can be told too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from curvcli.models.torch.graph import operation


class Numbered(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which operation of a pass made which node of its graph."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places: dict[int, tuple[int, str]] = {}
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # The node was numbered before the operation was run; what makes no node has the number of the one before it.
        number = torch.autograd._get_sequence_nr() - 1  # type: ignore[attr-defined]
        self._places.setdefault(number, (self._count, _plain(func._schema.name.partition("::")[2])))
        self._count += 1
        return func(*args, **(kwargs or {}))

    def place(self, node: Any) -> int | None:
        """The place of the operation that made a node's outputs; None where that can't be told."""
        place, name = self._places.get(int(node._sequence_nr()), (0, ""))
        return place if name == _plain(operation(node)) else None


class Intercepted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes one output of one operation, and puts other numbers in its place if there are any.

    Attributes:
        taken: what the operation made, a copy; None until it has run.
    """

    def __init__(self, place: int, number: int, instead: Tensor | None = None) -> None:
        """Wait for it.

        Args:
            place: of the operation among all of the pass.
            number: of its output.
            instead: what to put in its place, in its shape.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._left, self._number, self._instead = place, number, instead
        self.taken: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        self._left -= 1
        if self._left != -1:
            return returned
        several = isinstance(returned, tuple | list)
        output: Tensor = returned[self._number] if several else returned
        self.taken = output.clone()
        if self._instead is None:
            return returned
        alias = func._schema.returns[0 if len(func._schema.returns) == 1 else self._number].alias_info
        if alias is None or alias.is_write:
            output.copy_(self._instead)
            return returned
        # A view: what else looks at the same memory keeps its numbers.
        if not several:
            return self._instead.clone()
        return type(returned)(self._instead.clone() if i == self._number else one for i, one in enumerate(returned))


def _plain(name: str) -> str:
    """``add_``, ``Add`` and ``native_batch_norm`` as one way of writing has them."""
    return name.replace("_", "").lower()
