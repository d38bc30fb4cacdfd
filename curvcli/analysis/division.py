"""How many workers a run has, and how many threads each: settled before the model is opened, which uses as many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from curvcli.analysis.options.request import Request
from curvcli.analysis.options.shared import MOST_WORKERS, ComputingOptions
from curvcli.engine.workers.cluster import Cluster, Node
from curvcli.engine.workers.registry import LOCAL
from curvcli.errors import UsageError
from curvcli.models.processors import available_processors
from curvcli.wording import option

# Seconds of work from which on several processes pay: each opens the model anew.
_WORTH: Final = 60.0


def worth_several(seconds: float) -> bool:
    """Whether work that takes so long is better shared."""
    return seconds > _WORTH and os.name == "posix"


def gpus_of(device: str) -> int:
    """How many GPUs a worker takes."""
    return int(device.startswith("cuda"))


def divided(request: Request) -> Request:
    """The request with each process's threads, and the number of workers, as far as they are settled by now.

    Raises:
        UsageError: options do not go together; this system can't start them, or the cluster has not so much.
    """
    computing = request.computing
    if computing.engine == LOCAL:
        _refuse(computing)
        return _processes(request)
    return _actors(request)


def _refuse(computing: ComputingOptions) -> None:
    """Refuse what only a cluster can do.

    Raises:
        UsageError: it is wanted.
    """
    for name, value in (("address", computing.address), ("ship", computing.ship)):
        if value:
            raise UsageError(f"{option(name, value)}: needs {option('engine', 'ray')}.")


def _processes(request: Request) -> Request:
    workers = request.computing.workers
    if not isinstance(workers, int) or workers == 1:
        return request
    if os.name != "posix":
        raise UsageError(f"{option('workers', workers)}: needs a Unix system; leave it out here.")
    threads = request.model.threads or available_processors()
    return replace(request, model=replace(request.model, threads=max(1, threads // workers)))


def _actors(request: Request) -> Request:
    computing, model = request.computing, request.model
    gpus = gpus_of(model.device)
    if gpus and model.device != "cuda":
        raise UsageError(
            f"{option('device', model.device)}: Ray gives each actor a GPU; use {option('device', 'cuda')}."
        )
    cluster = Cluster(computing.address)
    wanted = computing.workers if isinstance(computing.workers, int) else None
    if cluster.local:
        processors = available_processors()
        here = Node(processors, _gpus_here() if gpus else 0)
        if wanted is not None:  # more than processors are no error here, as they are none for processes
            workers, threads = wanted, model.threads or max(1, processors // wanted)
        else:
            workers, threads = fitting([here], None, model.threads, gpus)
    else:
        workers, threads = fitting(cluster.nodes(), wanted, model.threads, gpus)
    return replace(
        request, model=replace(model, threads=threads), computing=replace(computing, workers=min(workers, MOST_WORKERS))
    )


def fitting(nodes: Sequence[Node], workers: int | None, threads: int | None, gpus: int) -> tuple[int, int]:
    """How many workers of how many threads fit.

    Args:
        nodes: the cluster's machines.
        workers: as wanted; None for as many as fit.
        threads: of each, as wanted; None for as many as fit where the number of workers, or of GPUs, decides, else 1.
        gpus: of each.

    Raises:
        UsageError: they do not fit.
    """
    most = max((node.processors for node in nodes), default=0)

    def places(each: int) -> int:
        return sum(node.holds(each, gpus) for node in nodes)

    needed = workers or (max(places(1), 1) if gpus else None)
    if threads is None:
        threads = 1 if needed is None else max((n for n in range(1, most + 1) if places(n) >= needed), default=1)
    count = workers or places(threads)
    if not count or places(threads) < count:
        has = f"{sum(node.processors for node in nodes)} processors"
        has += f" and {sum(node.gpus for node in nodes)} GPUs" if gpus else ""
        each = f"{threads} thread{'s' if threads != 1 else ''}" + (" and a GPU" if gpus else "")
        raise UsageError(
            f"{option('engine', 'ray')}: {len(nodes)} node{'s' if len(nodes) != 1 else ''} with {has} have room for "
            f"{places(threads)} actor{'s' if places(threads) != 1 else ''} of {each}, not {max(count, 1)}.\n"
            f"Use fewer {option('workers')} or {option('threads')}."
        )
    return count, threads


def _gpus_here() -> int:
    """NVIDIA's devices of this machine, or those that the user has left visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([one for one in visible.split(",") if one.strip() not in {"", "-1"}])
    return len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()])
