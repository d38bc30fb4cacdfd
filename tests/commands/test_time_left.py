"""The time left is what was measured says; a bound is called one."""

from __future__ import annotations

import pytest

from curvcli.analysis.progress import LineMeter, Meter, Pace


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def advance(meter: Meter, clock: Clock, seconds: float, passes: int) -> None:
    clock.now += seconds
    meter.advance(passes)


def test_the_first_step_of_a_phase_is_left_out(clock: Clock) -> None:
    """Tracing takes a minute and a pass a hundredth of a second: not hours for a thousand passes, but ten seconds."""
    meter = Meter(1001, Pace(clock))
    meter.phase("traces", 1001)
    advance(meter, clock, 60.0, 1)
    assert meter.left() == ""
    for _ in range(10):
        advance(meter, clock, 0.01, 1)
    assert meter.left() == "about 10 s"


def test_each_phase_has_a_pace_of_its_own(clock: Clock) -> None:
    """The gradient's passes say nothing of products, which are slower; nothing is told before those were measured."""
    meter = Meter(110, Pace(clock))
    meter.phase("loss and gradient", 10, comparable=False)
    for _ in range(10):
        advance(meter, clock, 0.1, 1)
    assert meter.left() == ""
    meter.phase("products", 100)
    assert meter.left() == ""
    for _ in range(10):
        advance(meter, clock, 2.0, 1)
    assert meter.left() == "about 3 min 0 s"
    assert meter.left_of_phase() == "about 3 min 0 s"


def test_the_pace_is_that_of_the_last_minute(clock: Clock) -> None:
    """What was slow at first, while graphs were built, is not held against the rest."""
    meter = Meter(400, Pace(clock))
    meter.phase("products", 400)
    for _ in range(10):
        advance(meter, clock, 30.0, 1)
    for _ in range(200):
        advance(meter, clock, 1.0, 1)
    assert meter.left() == "about 3 min 10 s"


def test_a_bound_is_called_one(clock: Clock) -> None:
    """Work that ends at a tolerance takes at most as long as its probes."""
    meter = Meter(1000, Pace(clock))
    meter.phase("trace", 1000, at_most=True)
    for _ in range(11):
        advance(meter, clock, 1.0, 10)
    assert meter.left() == "at most 1 min 29 s"


def test_more_passes_than_foretold(clock: Clock) -> None:
    """A guess that turned out too small says nothing any more."""
    meter = Meter(10, Pace(clock))
    meter.phase("eigenvalues", 10)
    for _ in range(20):
        advance(meter, clock, 1.0, 1)
    assert meter.left() == meter.left_of_phase() == ""


def test_what_an_earlier_run_did_took_no_time(clock: Clock) -> None:
    """Passes that are taken up are counted, and not measured."""
    meter = Meter(1000, Pace(clock))
    meter.phase("products", 1000)
    meter.resume(900)
    for _ in range(11):
        advance(meter, clock, 1.0, 1)
    assert meter.left() == "about 1 min 29 s"


def test_a_line_every_half_minute(clock: Clock) -> None:
    """With the time left, once that is known."""
    said: list[str] = []
    meter = LineMeter(said.append, 100, "passes", clock)
    meter.phase("products", 100)
    for _ in range(4):
        advance(meter, clock, 20.0, 1)
    assert said == [
        "[0/100 passes] products",
        "[2/100 passes] products, about 32 min 40 s left",
        "[4/100 passes] products, about 32 min 0 s left",
    ]
