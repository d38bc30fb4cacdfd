"""Ray's actors give what one process does, to the bit, whatever dies on the way; a cluster that is started is ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'curvcli[ray]'")

from sessions import session_of

from curvcli.curvature.first_order import FirstOrder, FirstOrderTask
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.engine.workers import actors
from curvcli.engine.workers.actors import Actors, packed, unpacked
from curvcli.engine.workers.cluster import Cluster
from curvcli.engine.workers.engine import Workers
from curvcli.engine.workers.shares import Share
from curvcli.errors import ModelError, UsageError

from .opened import MODEL, Opened, at_work, calling, opener, same


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of this machine that has room for three actors, and ends with the tests."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    cluster = Cluster(None)
    cluster.start(3, 0)
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    folder = cluster._folder
    assert folder is not None
    assert folder.is_dir()
    yield cluster
    cluster.end()
    assert not folder.exists()
    assert not cluster.ray.is_initialized()


@pytest.fixture(scope="module")
def opened(cluster: Cluster) -> Iterator[Opened]:
    """Two actors, three batches; the cluster is found at work and left there."""
    with at_work(Actors(Cluster(None), threads=1, gpus=0), 2, 8) as opened:
        yield opened
    assert cluster.ray.is_initialized()


@pytest.mark.parametrize("name", ["first order", "products", "columns", "entries", "losses"])
@pytest.mark.parametrize("kept", [False, True])
def test_results_are_those_of_one_process(opened: Opened, name: str, kept: bool) -> None:
    algorithm = opened.algorithms()[name]
    alone = computed(algorithm, SerialEngine(opened.objective))
    assert same(computed(algorithm, opened.workers.engine(kept=kept)), alone)


def test_work_that_was_put_down_by_one_is_taken_up_by_others(opened: Opened) -> None:
    """From actors to one process as from one to actors, in the middle of a task; actors are started anew then."""
    algorithm = opened.algorithms()["products"]
    engines = [SerialEngine(opened.objective), opened.workers.engine(kept=True)]
    alone = computed(algorithm, engines[0])
    for first, second in ((0, 1), (1, 0)):

        def stop(number: int) -> None:
            raise KeyboardInterrupt

        work = Work(algorithm)
        with pytest.raises(KeyboardInterrupt):
            work.run(engines[first], calling({1}.__contains__, stop))
        again = Work(algorithm)
        again.restore(work.state())
        again.run(engines[second])
        assert same(again.result, alone)


def killing(crew: Actors, at: Callable[[int], bool]) -> Callable[[int], None]:
    """Kill the one or the other actor's process at some steps."""

    def kill(number: int) -> None:
        os.kill(int(crew._places[number % len(crew._places)].process), signal.SIGKILL)

    return calling(at, kill)


@pytest.mark.parametrize("at", [{0, 2}, *(pytest.param(some, marks=pytest.mark.slow) for some in ({1}, {1, 2}, {4}))])
def test_a_dead_actor_is_restarted(opened: Opened, at: set[int]) -> None:
    algorithm = opened.algorithms()["losses"]
    alone = computed(algorithm, SerialEngine(opened.objective))
    engine = opened.workers.engine(kept=True)
    assert same(computed(algorithm, engine, killing(opened.crew, at.__contains__)), alone)


def test_an_actor_that_dies_between_tasks_is_no_matter(opened: Opened) -> None:
    algorithm = opened.algorithms()["columns"]
    engine = opened.workers.engine(kept=True)
    before = computed(algorithm, engine)
    killing(opened.crew, lambda number: True)(0)
    assert same(computed(algorithm, engine), before)


def test_an_error_of_a_task_is_the_actors_own(opened: Opened) -> None:
    broken = replace(opened.algorithms()["columns"], parameters=("nothing of that name",))
    with pytest.raises(KeyError) as raised:
        computed(broken, opened.workers.engine(kept=False))
    assert any("Traceback" in note for note in raised.value.__notes__)


@pytest.mark.slow  # test_engine.py has it without Ray
def test_three_deaths_at_one_task_end_it(cluster: Cluster) -> None:
    session = session_of(MODEL, limit=24, batch_size=2, dtype="float32")
    names = [p.name for p in session.model.layers[-1].parameters]
    first = FirstOrder(tuple(names))
    crew = Actors(Cluster(None), threads=1, gpus=0)
    with Workers(session.objective, opener(2), crew, count=1, parameters=names, room=0) as workers:
        engine = workers.engine(kept=False)
        with pytest.raises(ModelError, match=r"\(process \d+ on node .*\) died, the third one"):
            computed(first, engine, killing(crew, lambda number: True))


def test_a_model_that_is_not_on_the_node_is_told_with_its_name(cluster: Cluster, tmp_path: Path) -> None:
    session = session_of(MODEL, limit=24, batch_size=8, dtype="float32")
    crew = Actors(Cluster(None), threads=1, gpus=0)
    missing = opener(8, tmp_path / "gone.pt")
    with (
        Workers(session.objective, missing, crew, count=1, parameters=(), room=0) as workers,
        pytest.raises(UsageError, match=r"(?s)on node .*gone\.pt.*same path on every node"),
    ):
        computed(FirstOrder((), gradients=False), workers.engine(kept=False))


def test_another_version_on_a_node_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(MODEL, limit=24, batch_size=8, dtype="float32")
    monkeypatch.setattr(actors, "__version__", "99")
    crew = Actors(Cluster(None), threads=1, gpus=0)
    with (
        Workers(session.objective, opener(8), crew, count=1, parameters=(), room=0) as workers,
        pytest.raises(ModelError, match=r"has curvcli .*, and this process 99: install the same"),
    ):
        computed(FirstOrder((), gradients=False), workers.engine(kept=False))


def test_an_actor_answers_only_in_order() -> None:
    """Without Ray: a call that is repeated, or comes to a restarted actor, is never answered by another part."""
    actor = actors.Actor()
    assert isinstance(unpacked(actor.next(0, 0)).error, actors.LostError)
    actor.begin(0, packed(None), packed(()))
    assert isinstance(unpacked(actor.next(0, 0)).error, actors.LostError)
    assert unpacked(actor.open(packed(opener(8)), packed((Share(0, 1, 3), (), 0)))) is None
    task = FirstOrderTask((), gradients=False, count=3)
    actor.begin(3, packed(task), packed((False, (0, 0), (0, 0), {})))
    assert unpacked(actor.next(3, 0)).count == 1
    for number, count in ((3, 0), (3, 2), (2, 1)):
        assert isinstance(unpacked(actor.next(number, count)).error, actors.LostError)
    assert unpacked(actor.next(3, 1)).count == 1
