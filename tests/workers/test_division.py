"""How many actors of how many threads: what is wanted, else what fits; and addresses that are none."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from curvcli.analysis.division import divided, fitting
from curvcli.analysis.options.request import request_of
from curvcli.engine.workers.cluster import Cluster, Node
from curvcli.errors import UsageError

LARGE, SMALL = Node(16), Node(6)
GPUS = Node(16, 4)


@pytest.mark.parametrize(
    ("nodes", "workers", "threads", "gpus", "expected"),
    [
        ([LARGE], None, None, 0, (16, 1)),
        ([LARGE, SMALL], None, 4, 0, (5, 4)),
        ([LARGE, SMALL], 5, None, 0, (5, 4)),  # 4 and 1; 5 threads would have room for 3 and 1
        ([LARGE, SMALL], 22, None, 0, (22, 1)),
        ([LARGE, LARGE], 2, None, 0, (2, 16)),
        ([LARGE], 2, 3, 0, (2, 3)),
        ([GPUS, GPUS], None, None, 1, (8, 4)),
        ([GPUS, SMALL], None, None, 1, (4, 4)),
        ([GPUS], 2, None, 1, (2, 8)),
        ([GPUS], None, 8, 1, (2, 8)),
    ],
)
def test_what_fits(
    nodes: list[Node], workers: int | None, threads: int | None, gpus: int, expected: tuple[int, int]
) -> None:
    assert fitting(nodes, workers, threads, gpus) == expected


@pytest.mark.parametrize(
    ("nodes", "workers", "threads", "gpus", "message"),
    [
        ([LARGE, SMALL], 23, None, 0, "2 nodes with 22 processors have room for 22 actors of 1 thread, not 23"),
        ([SMALL], None, 8, 0, "1 node with 6 processors have room for 0 actors of 8 threads, not 1"),
        ([SMALL], None, None, 1, "6 processors and 0 GPUs have room for 0 actors of 1 thread and a GPU"),
        ([GPUS], 5, None, 1, "room for 4 actors"),
        ([], None, None, 0, "0 nodes"),
    ],
)
def test_what_does_not_fit_is_told_with_numbers(
    nodes: list[Node], workers: int | None, threads: int | None, gpus: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fitting(nodes, workers, threads, gpus)


@pytest.mark.parametrize("address", ["", "local", "nonsense", "ray://", "host:", "a b:1", "host:123456", "http://h:1"])
def test_an_address_is_one_of_a_cluster_that_is_there(address: str) -> None:
    with pytest.raises(UsageError, match=r"is no address of a Ray cluster: auto, HOST:PORT"):
        Cluster(address)


def test_an_address_where_nobody_is_is_told_at_once() -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listened to
        cluster = Cluster(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UsageError, match="nothing answers there"):
            cluster.nodes()


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"^--engine ray: Ray is not installed; run: pip install 'curvcli\[ray\]'\.$"):
        Cluster("auto").nodes()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"address": "auto"}, r"--address auto: needs --engine ray"),
        ({"ship": True}, r"--ship: needs --engine ray"),
        ({"engine": "ray", "device": "cuda:1"}, r"--device cuda:1: Ray gives each actor a GPU; use --device cuda"),
    ],
)
def test_options_that_do_not_go_together(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        divided(request_of("trace", {}, {"model": Path("m.pt"), **values}))
