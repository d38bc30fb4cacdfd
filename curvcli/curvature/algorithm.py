"""What an algorithm is: a function that asks for sums over the data, and what makes every one of them resumable.

An algorithm is a generator: it yields tasks and is sent their sums, and returns its result. It reads no clock and draws
no numbers but by seed and name, so that with the same sums it asks for the same tasks. Whoever drives it notes the sums
it was sent (``Course``), and can start it anew, send them once more, and go on from there. So that these do not pile
up, it yields now and then what it can begin from (``Keep``); what was noted before is then dropped.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from curvcli.curvature.tasks import BatchTask, Sums
from curvcli.models.base import Array, Parameter
from curvcli.models.vectors import VectorSpace

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True)
class Keep:
    """What an algorithm can begin from; it changes none of these arrays before it has been sent the next sums.

    Attributes:
        arrays: that are given to it then, and vectors, which it takes up by its space (``VectorSpace.taken``).
        whole: whether it then asks for the very same tasks, so that one that was under way can be taken up.
    """

    arrays: Mapping[str, Any]
    whole: bool = True


# Yields tasks or what to keep, is sent the sums of the former, and returns the result.
Steps = Generator[BatchTask[Any] | Keep, Sums, Result]


class About(Protocol):
    """What an algorithm may know of the data without a pass over them."""

    @property
    def denominator(self) -> float:
        """What sums are divided by."""
        ...

    @property
    def batch_weights(self) -> Array:
        """What each batch weighs in the whole, (batches,)."""
        ...

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """The vectors of some parameters."""
        ...


class Algorithm(Protocol[Result_co]):
    """An algorithm with its options."""

    @property
    def passes_per_batch(self) -> int:
        """Passes over every batch, as far as can be told: at most so many where it may stop early."""
        ...

    @property
    def at_most(self) -> bool:
        """Whether ``passes_per_batch`` is a bound, and it may end with fewer."""
        ...

    def steps(self, about: About, kept: Mapping[str, Any] | None) -> Generator[BatchTask[Any] | Keep, Sums, Result_co]:
        """The algorithm.

        Args:
            about: the data.
            kept: what it last asked to keep; None at the beginning.
        """
        ...


class Course(Generic[Result]):
    """One algorithm on its way.

    Attributes:
        task: what it waits for; None once it has ended.
        whole: whether a task under way can be taken up from ``state``.
    """

    def __init__(self, algorithm: Algorithm[Result], about: About, state: Mapping[str, Any] | None = None) -> None:
        """Start it, or bring it to where ``state`` was taken."""
        self._kept: Mapping[str, Any] | None = None
        self._sent: list[Sums] = []
        self._result: list[Result] = []
        self.task: BatchTask[Any] | None = None
        self.whole = True
        sent: list[Sums] = []
        if state is not None:
            self._kept, sent = _read(state)
        self._steps = algorithm.steps(about, self._kept)
        self._advance(None)
        for sums in sent:
            self.send(sums)

    def send(self, sums: Sums) -> None:
        """Give it the sums of its task."""
        self._sent.append(sums)
        self._advance(sums)

    def _advance(self, sums: Sums | None) -> None:
        try:
            request = next(self._steps) if sums is None else self._steps.send(sums)
            while isinstance(request, Keep):
                self._kept, self._sent, self.whole = request.arrays, [], request.whole
                request = next(self._steps)
            self.task = request
        except StopIteration as end:
            self.task = None
            self._result = [end.value]

    @property
    def result(self) -> Result:
        """What it returned.

        Raises:
            ValueError: it has not ended.
        """
        if not self._result:
            raise ValueError("the algorithm has not ended")
        return self._result[0]

    def state(self) -> dict[str, Any]:
        """What was kept, and the sums sent since."""
        arrays: dict[str, Any] = {}
        for name, array in (self._kept or {}).items():
            arrays[f"kept:{name}"] = array
        for number, sums in enumerate(self._sent):
            arrays |= {f"sent:{number}:{name}": array for name, array in sums.items()}
        return arrays

    def close(self) -> None:
        """End it where it is."""
        self._steps.close()


def _read(state: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, list[Sums]]:
    kept = within(state, "kept:")
    sent: dict[int, Sums] = {}
    for key, array in within(state, "sent:").items():
        number, _, name = key.partition(":")
        sent.setdefault(int(number), {})[name] = array
    return kept or None, [sent[number] for number in sorted(sent)]


def within(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
