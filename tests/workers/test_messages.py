"""Messages arrive as they were sent, large arrays writable and in memory of their own."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest

from curvcli.engine.workers.messages import Channel


@pytest.fixture
def ends():
    left, right = map(Channel, socket.socketpair())
    yield left, right
    left.close()
    right.close()


@pytest.mark.parametrize("size", [0, 3, 8191, 8192, 100_000, 3_000_000])
def test_arrays_come_back(ends: tuple[Channel, Channel], size: int) -> None:
    left, right = ends
    arrays = {"a": np.arange(float(size)), "b": [np.ones((2, size), np.float32)], "c": "text", "d": np.float64(1.5)}
    sender = threading.Thread(target=left.send, args=(arrays,))
    sender.start()
    back = right.receive()
    sender.join()
    np.testing.assert_array_equal(back["a"], arrays["a"])
    np.testing.assert_array_equal(back["b"][0], arrays["b"][0])
    assert (back["c"], back["d"]) == ("text", 1.5)
    back["a"] += 1.0
    assert size == 0 or arrays["a"][0] == 0.0


def test_who_has_gone_is_noticed(ends: tuple[Channel, Channel]) -> None:
    left, right = ends
    left.close()
    with pytest.raises(EOFError):
        right.receive()
