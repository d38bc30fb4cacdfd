"""Functions called from several threads: one after the other, each with the numbers that it has alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import curvcli
from curvcli.api.turn import TURN

CALLS: list[Callable[[curvcli.Model], object]] = [
    lambda model: curvcli.trace(model, layer="fc1", method="hutchinson", probes=4, limit=16)["fc1"].value,
    lambda model: curvcli.diagonal(model, layer="norm", limit=16)["norm.weight"].diagonal,
    lambda model: curvcli.diagonal(model, layer="fc3", limit=16)["fc3.weight"].gradient,
    lambda model: curvcli.inputs(model, limit=8)["loss"].laplacian,
    lambda model: curvcli.split(model, at="fc3", by="weight", limit=8)["fc3"].parts[0].product,
]


def blas_threads() -> list[tuple[str, int]]:
    """What NumPy's libraries multiply on."""
    return [(one["filepath"], one["num_threads"]) for one in threadpool_info() if one["user_api"] == "blas"]


def test_one_opened_model_serves_several_threads(model: curvcli.Model) -> None:
    """Whatever the others differentiate by; NumPy's threads are as before."""
    alone = [work(model) for work in CALLS]
    before = blas_threads()
    assert before
    with ThreadPoolExecutor(4) as pool:
        rounds = [pool.submit(work, model) for _ in range(3) for work in CALLS]
        found = [one.result() for one in rounds]
    for number, values in enumerate(found):
        np.testing.assert_array_equal(values, alone[number % len(CALLS)])  # type: ignore[arg-type]
    assert blas_threads() == before


@pytest.mark.parametrize(
    "work",
    [
        *CALLS,
        lambda model: curvcli.check(model, layer="norm", limit=4),
        lambda model: curvcli.open_model(model.path),
    ],
    ids=["trace", "diagonal", "gradient", "inputs", "split", "check", "open_model"],
)
def test_a_call_waits_for_another_threads(work: Callable[[curvcli.Model], object], model: curvcli.Model) -> None:
    """While one has its turn, the next one does nothing."""
    finished: list[float] = []

    def other() -> None:
        work(model)
        finished.append(time.monotonic())

    thread = threading.Thread(target=other)
    with TURN:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        given_up = time.monotonic()
    thread.join(60)
    assert finished[0] >= given_up


def test_looking_things_up_does_not_wait(model: curvcli.Model) -> None:
    """A model's values and a result's arrays are to be had while another thread computes."""
    found = curvcli.diagonal(model, layer="fc3", limit=16)
    with TURN, ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: found["fc3.weight"].diagonal).result(60) is not None
        assert pool.submit(lambda: model.values("fc3.weight")).result(60).shape == (10, 32)
