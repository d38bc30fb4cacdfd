"""How many vectors go into one call: as many as take about a second, so that a signal waits no longer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from curvcli.curvature.tasks import Cut, Segment

# Seconds that a call should take at most.
_LONGEST = 1.0
# Entries of a vector that is not timed before several are taken together.
_CHEAP = 1 << 14
# The sizes there are: a framework may trace a function anew for each.
_FACTOR = 8


class Stride:
    """Cuts a range into parts by time; for sums that do not depend on where they are cut."""

    def __init__(self, most: int, entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was timed yet.

        Args:
            most: in one part.
            entries: of one vector.
            clock: gives seconds.
        """
        self._most, self._clock = most, clock
        self._size = most if entries <= _CHEAP else 1
        self._timed = False

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Begin and end of each part of a range; the time until the next is asked for is the part's."""
        while start < stop:
            end = min(start + self._size, stop)
            begun = self._clock()
            yield start, end
            self._adapt(end - start, self._clock() - begun)
            start = end

    def _adapt(self, count: int, seconds: float) -> None:
        if count < self._size:
            return
        if seconds > _LONGEST and self._timed:
            self._size = max(1, self._size // _FACTOR)
        elif seconds * _FACTOR <= _LONGEST:
            self._size = min(self._most, self._size * _FACTOR)
        # The first call of a size traces.
        self._timed = True


class Strides:
    """Where the parts of batches end, for tasks of any sort."""

    def __init__(self) -> None:
        """Nothing was timed yet."""
        self._by_segment: dict[tuple[type, Segment], Stride] = {}

    def stops(self, task: type, cut: Cut, start: int) -> Iterator[int]:
        """The ends of the parts of a batch from a vector on; the time until the next is asked for is the part's.

        Args:
            task: the class of the task that is given the parts.
            cut: how the batch's vectors may be cut.
            start: the first vector.
        """
        if not cut.count:
            yield 0
        first = 0
        for segment in cut.segments:
            begin, end = max(start, first), first + segment.count
            if segment.entries is None:
                yield from (min(place + segment.at_once, end) for place in range(begin, end, segment.at_once))
            else:
                stride = self._by_segment.setdefault((task, segment), Stride(segment.at_once, segment.entries))
                yield from (stop for _, stop in stride.parts(begin, end))
            first = end
