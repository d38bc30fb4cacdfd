"""The driver of several workers, whatever carries them: deaths at every moment, with workers of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.engine.workers.crew import GoneError
from curvcli.engine.workers.worker import Answer, Hello, Run, Worker
from curvcli.errors import ModelError

from .opened import Opened, at_work, calling, same


class Here:
    """A crew in this process, whose workers die when they are told to (see ``Crew``)."""

    def __init__(self) -> None:
        self.hellos: list[Hello] = []
        self.workers: list[Worker] = []
        self.answers: list[Iterator[Answer]] = []
        self.dying: Callable[[int], bool] = lambda number: False
        self.number = 0
        self.opened = 0

    def beside(self, count: int) -> int:
        return 1

    def open(self, hellos: Sequence[Hello]) -> None:
        self.hellos = list(hellos)
        self.workers = [Worker(hello) for hello in hellos]
        self.answers = [iter(()) for _ in hellos]
        self.opened += len(hellos)

    def reopen(self, worker: int, hello: Hello) -> None:
        assert hello is self.hellos[worker]
        self.workers[worker] = Worker(hello)
        self.answers[worker] = iter(())
        self.opened += 1

    def tell(self, workers: Sequence[int], run: Run) -> None:
        for worker in workers:
            self.answers[worker] = self.workers[worker].answers(run)

    def answer(self, worker: int) -> Answer:
        self.number += 1
        if self.dying(self.number):
            raise GoneError("had a stroke")
        return next(self.answers[worker])

    def close(self) -> None:
        self.workers = []

    def end(self) -> None:
        assert not self.workers


@pytest.fixture(scope="module", params=[(2, 8), (3, 24)], ids=["2 workers, 3 batches", "3 workers, 1 batch"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    count, batch_size = request.param
    with at_work(Here(), count, batch_size) as opened:
        yield opened


def dying(crew: Here, at: set[int]) -> None:
    """Let it die at some answers from now on."""
    crew.number, crew.dying = 0, at.__contains__


@pytest.mark.parametrize("name", ["products", "columns", "entries", "losses"])
@pytest.mark.parametrize("at", [set(), {1}, {2}, {3}, {1, 2}, {2, 3}, {1, 4}])
def test_a_death_changes_nothing(opened: Opened, name: str, at: set[int]) -> None:
    algorithm = opened.algorithms()[name]
    alone = computed(algorithm, SerialEngine(opened.objective))
    dying(opened.crew, at)
    assert same(computed(algorithm, opened.workers.engine(kept=True)), alone)


def test_the_third_death_ends_the_run_with_what_is_done(opened: Opened) -> None:
    algorithm = opened.algorithms()["losses"]
    alone = computed(algorithm, SerialEngine(opened.objective))
    dying(opened.crew, {2, 3, 4})
    work = Work(algorithm)
    with pytest.raises(ModelError, match="a worker had a stroke, the third one in one computation"):
        work.run(opened.workers.engine(kept=False))
    before = opened.crew.opened
    again = Work(algorithm)
    again.restore(work.state())
    again.run(opened.workers.engine(kept=False))  # by others, that are started anew
    assert opened.crew.opened > before
    assert same(again.result, alone)


def test_deaths_are_counted_by_task(opened: Opened) -> None:
    """Two at each is never the third."""
    algorithm = opened.algorithms()["losses"]
    alone = computed(algorithm, SerialEngine(opened.objective))
    for _ in range(2):
        dying(opened.crew, {1, 2})
        assert same(computed(algorithm, opened.workers.engine(kept=False)), alone)


def test_whatever_stops_the_driver_ends_the_workers(opened: Opened) -> None:
    def stop(number: int) -> None:
        raise KeyboardInterrupt

    dying(opened.crew, set())
    work = Work(opened.algorithms()["products"])
    with pytest.raises(KeyboardInterrupt):
        work.run(opened.workers.engine(kept=False), calling({0}.__contains__, stop))
    assert opened.crew.workers == []
