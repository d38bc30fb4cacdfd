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
        self.hellos: dict[int, Hello] = {}
        self.workers: dict[int, Worker] = {}
        self.answers: dict[int, Iterator[Answer]] = {}
        self.dying: Callable[[int], bool] = lambda number: False
        self.number = 0
        self.started = 0

    def beside(self, count: int) -> int:
        return 1

    def prepare(self, count: int) -> None:
        assert not self.workers

    def start(self, worker: int, hello: Hello) -> None:
        self.hellos.setdefault(worker, hello)
        assert hello is self.hellos[worker]
        self.workers[worker] = Worker(hello)
        self.answers[worker] = iter(())
        self.started += 1

    def wait(self, worker: int) -> None:
        self._live()

    def tell(self, workers: Sequence[int], run: Run) -> None:
        for worker in workers:
            self.answers[worker] = self.workers[worker].answers(run)

    def answer(self, worker: int) -> Answer:
        self._live()
        return next(self.answers[worker])

    def _live(self) -> None:
        self.number += 1
        if self.dying(self.number):
            raise GoneError("had a stroke")

    def close(self) -> None:
        self.workers = {}

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
    dying(opened.crew, {2, 4, 6})  # by turns at an answer, for between them one is waited for
    work = Work(algorithm)
    with pytest.raises(ModelError, match="a worker had a stroke, the third one in one computation"):
        work.run(opened.workers.engine(kept=False))
    before = opened.crew.started
    again = Work(algorithm)
    again.restore(work.state())
    again.run(opened.workers.engine(kept=False))  # by others, that are started anew
    assert opened.crew.started > before
    assert same(again.result, alone)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_that_dies_while_it_opens_the_model_is_started_again(opened: Opened, count: int) -> None:
    algorithm = opened.algorithms()["columns"]
    alone = computed(algorithm, SerialEngine(opened.objective))
    opened.workers.close()
    dying(opened.crew, set(range(2, 2 + count)))
    engine = opened.workers.engine(kept=False)
    if count == 3:
        with pytest.raises(ModelError, match="a worker had a stroke while it opened the model, each time"):
            computed(algorithm, engine)
    else:
        assert same(computed(algorithm, engine), alone)


def test_deaths_are_counted_by_task(opened: Opened) -> None:
    """Two at each is never the third."""
    algorithm = opened.algorithms()["losses"]
    alone = computed(algorithm, SerialEngine(opened.objective))
    for _ in range(2):
        dying(opened.crew, {1, 3})
        assert same(computed(algorithm, opened.workers.engine(kept=False)), alone)


def test_whatever_stops_the_driver_ends_the_workers(opened: Opened) -> None:
    def stop(number: int) -> None:
        raise KeyboardInterrupt

    dying(opened.crew, set())
    work = Work(opened.algorithms()["products"])
    with pytest.raises(KeyboardInterrupt):
        work.run(opened.workers.engine(kept=False), calling({0}.__contains__, stop))
    assert not opened.crew.workers
