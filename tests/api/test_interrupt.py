"""Signals while work is in the middle of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from curvcli.analysis.interrupt import StopRequest


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Python's own for SIGINT, the system's for SIGTERM, and afterwards what was there."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_waits_for_the_end_of_the_step() -> None:
    """It is noted, and raised when asked about; the handler is Python's again."""
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        stop.raise_if_requested()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait() -> None:
    """A person who insists gets out in the middle of a step."""
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_the_last_step_is_not_lost() -> None:
    """Nobody asks any more, and it is raised on leaving."""
    with pytest.raises(KeyboardInterrupt), StopRequest():
        signal.raise_signal(signal.SIGINT)


def test_a_programs_own_handler_still_gets_the_signal() -> None:
    """Later, once; where it does not raise, the work goes on."""
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert heard == []
        stop.raise_if_requested()
        assert heard == [signal.SIGTERM]
        assert not stop.requested
    assert heard == [signal.SIGTERM]


def test_what_python_does_not_handle_is_left_alone() -> None:
    """SIGTERM ends a program as it always did, and an ignored signal stays ignored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signal.raise_signal(signal.SIGINT)
        assert not stop.requested


def test_outside_the_main_thread_there_is_nothing_to_hold() -> None:
    """Python would refuse to set a handler there."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with StopRequest() as stop:
                stop.raise_if_requested()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors
