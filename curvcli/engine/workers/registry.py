"""What carries several workers, by the name of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from curvcli.engine.workers.actors import Actors
from curvcli.engine.workers.cluster import Cluster
from curvcli.engine.workers.crew import Crew
from curvcli.engine.workers.processes import Processes

LOCAL: Final = "local"
RAY: Final = "ray"


@dataclass(frozen=True)
class Means:
    """What a crew may use.

    Attributes:
        threads: of each worker.
        gpus: likewise.
        address: of a cluster.
    """

    threads: int = 1
    gpus: int = 0
    address: str | None = None


CREWS: Final[Mapping[str, Callable[[Means], Crew]]] = {
    LOCAL: lambda means: Processes(),
    RAY: lambda means: Actors(Cluster(means.address), threads=means.threads, gpus=means.gpus),
}
