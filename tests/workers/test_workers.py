"""Several processes give what one does, to the bit, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sessions import session_of

from curvcli.curvature.first_order import FirstOrder
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.engine.workers.engine import Workers
from curvcli.engine.workers.processes import Processes
from curvcli.errors import ModelError, UsageError

from .opened import MODEL, Opened, at_work, calling, opener, same


@pytest.fixture(scope="module", params=[(2, 8), (3, 24)], ids=["2 workers, 3 batches", "3 workers, 1 batch"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    count, batch_size = request.param
    with at_work(Processes(), count, batch_size) as opened:
        yield opened


@pytest.mark.parametrize("name", ["first order", "products", "columns", "entries", "losses"])
@pytest.mark.parametrize("kept", [False, True])
def test_results_are_those_of_one_process(opened: Opened, name: str, kept: bool) -> None:
    algorithm = opened.algorithms()[name]
    alone = computed(algorithm, SerialEngine(opened.objective))
    assert same(computed(algorithm, opened.workers.engine(kept=kept)), alone)


def test_work_that_was_put_down_by_one_is_taken_up_by_others(opened: Opened) -> None:
    """From several processes to one as from one to several; in the middle of a task where it has several batches."""
    algorithm = opened.algorithms()["products" if opened.objective.batch_count() > 1 else "losses"]
    engines = [SerialEngine(opened.objective), opened.workers.engine(kept=True)]
    alone = computed(algorithm, engines[0])
    for first, second in ((0, 1), (1, 0)):
        work, steps = Work(algorithm), iter(range(2))

        def stop(passes: int, steps: Iterator[int] = steps) -> None:
            if next(steps, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            work.run(engines[first], stop)
        again = Work(algorithm)
        again.restore(work.state())
        again.run(engines[second])
        assert same(again.result, alone)


def killing(crew: Processes, at: Callable[[int], bool]) -> Callable[[int], None]:
    """Kill the one or the other worker at some steps."""

    def kill(number: int) -> None:
        victim = crew._processes[number % len(crew._processes)]
        victim.process.kill()
        victim.process.wait()

    return calling(at, kill)


@pytest.mark.parametrize("at", [{0}, *(pytest.param(some, marks=pytest.mark.slow) for some in ({1}, {1, 2}, {2}))])
def test_a_dead_worker_is_started_again(opened: Opened, at: set[int]) -> None:
    algorithm = opened.algorithms()["losses"]
    alone = computed(algorithm, SerialEngine(opened.objective))
    engine = opened.workers.engine(kept=True)
    assert same(computed(algorithm, engine, killing(opened.crew, at.__contains__)), alone)


@pytest.mark.slow
def test_three_deaths_at_one_task_end_it() -> None:
    session = session_of(MODEL, limit=24, batch_size=2, dtype="float32")
    names = [p.name for p in session.model.layers[-1].parameters]
    first = FirstOrder(tuple(names))
    alone = computed(first, SerialEngine(session.objective))
    crew = Processes()
    with Workers(session.objective, opener(2), crew, count=2, parameters=names, room=0) as workers:
        engine = workers.engine(kept=False)
        with pytest.raises(ModelError, match="was killed by SIGKILL, the third one"):
            computed(first, engine, killing(crew, lambda number: True))
        assert same(computed(first, engine), alone)  # by others, that are started anew


def test_an_error_of_a_task_is_the_workers_own(opened: Opened) -> None:
    broken = replace(opened.algorithms()["columns"], parameters=("nothing of that name",))
    with pytest.raises(KeyError) as raised:
        computed(broken, opened.workers.engine(kept=False))
    assert any("Traceback" in note for note in raised.value.__notes__)


def test_a_model_that_is_gone_is_told_as_ever(tmp_path: Path) -> None:
    session = session_of(MODEL, limit=24, batch_size=8, dtype="float32")
    missing = opener(8, tmp_path / "gone.pt")
    with (
        Workers(session.objective, missing, Processes(), count=2, parameters=(), room=0) as workers,
        pytest.raises(UsageError, match=r"gone\.pt"),
    ):
        computed(FirstOrder((), gradients=False), workers.engine(kept=False))
