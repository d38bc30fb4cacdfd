"""The Ray engine with 1, 2 and 4 actors on throttled work, and what that predicts for a cluster.

    python tests/benchmarks/cluster.py

Actors wait instead of computing, so that four of them don't share two processors. What a call and a byte cost is fitted
to tasks that do not wait at all; the same figures then have to predict the tasks that do; and with what a network and a
GPU are assumed to do, how long products of VGG16 over ImageNet take with 8 to 1,024 workers.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from throttled import Throttled

from curvcli.analysis.engines import DataOpener
from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.session import open_session
from curvcli.cli.console import Voice
from curvcli.engine.interface import Flight
from curvcli.engine.workers.actors import Actors
from curvcli.engine.workers.cluster import Cluster
from curvcli.engine.workers.engine import Workers, WorkersEngine

ROOT = Path(__file__).parents[2]
BATCHES = 8
LARGE = 4 << 20  # entries of 8 bytes

PARAMETERS = 138_357_544
SAMPLES = 1_281_167
# Multiplications and additions of VGG16's forward pass over one image, and how many such passes a product takes.
FORWARD, PASSES = 2 * 15.5e9, 6


@dataclass(frozen=True)
class Costs:
    """What communication costs, in seconds.

    Attributes:
        call: of an answer, however small.
        down: of a byte of the task's vector: into the memory of objects, and a copy per actor.
        up: of a byte of an answer: out of the actor, into the driver, and added.
    """

    call: float
    down: float
    up: float

    def task(self, workers: int, batches: int, seconds: float, down: int, up: int) -> float:
        """How long a task takes: the slowest worker, or the driver, who takes in all answers one after the other."""
        computing = -(-batches // workers) * seconds
        taking_in = batches * (self.call + up * self.up)
        return down * self.down + max(computing + self.call + up * self.up, taking_in)


def engines(counts: tuple[int, ...]) -> Iterator[tuple[int, WorkersEngine]]:
    """Ray's engine with so many actors, over eight batches of a small network; one cluster for all."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("mlp_tanh.pt", "mlp_tanh.pt.toml", "digits.npz"):
            shutil.copy(ROOT / "sample_models" / name, folder)
        model = ModelOptions(Path(folder) / "mlp_tanh.pt", threads=1)
        data = DataOptions(limit=BATCHES * 4, batch_size=4)
        session = open_session(model, data, Voice(-1))
        cluster = Cluster(None)
        cluster.start(max(counts), 0)
        try:
            for count in counts:
                opener, crew = DataOpener(model, data, Path(folder)), Actors(Cluster(None), threads=1, gpus=0)
                with Workers(session.objective, opener, crew, count=count, parameters=(), room=1 << 28) as workers:
                    yield count, workers.engine(kept=True)
        finally:
            cluster.end()


def seconds_of(engine: WorkersEngine, task: Throttled, repeat: int) -> float:
    """The median time of a task."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        engine.sums(task, Flight())
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


@click.command()
@click.option("--repeat", type=int, default=5, show_default=True)
@click.option("--wait", type=float, default=0.25, show_default=True, help="Seconds of throttled work per batch.")
@click.option("--teraflops", type=float, default=30.0, show_default=True, help="That a GPU is assumed to sustain.")
@click.option("--gigabits", type=float, default=100.0, show_default=True, help="Of the network, per second.")
@click.option("--latency", type=float, default=0.2, show_default=True, help="Of the network, in milliseconds.")
def main(repeat: int, wait: float, teraflops: float, gigabits: float, latency: float) -> None:
    """Measure, check the model of communication, and predict."""
    console = Console(width=110, file=sys.stdout)
    small, large = Throttled(()), replace(Throttled(()), vector=np.zeros(LARGE))
    answers = replace(small, answer=LARGE)
    measured: list[tuple[int, str, Throttled, float]] = []
    costs = Costs(0.0, 0.0, 0.0)
    for count, engine in engines((1, 2, 4)):
        empty, down, up = (seconds_of(engine, task, repeat) for task in (small, large, answers))
        if count == 1:
            bytes_ = LARGE * 8
            costs = Costs(empty / BATCHES, max(down - empty, 0.0) / bytes_, max(up - empty, 0.0) / BATCHES / bytes_)
            console.print(
                f"measured with 1 actor: {costs.call * 1e3:.2f} ms a call, {1e-9 / costs.down:.2f} GB/s to the actor, "
                f"{1e-9 / costs.up:.2f} GB/s from it and added up"
            )
        for name, task in (("small", small), ("32 MiB back", answers)):
            throttled = replace(task, seconds=wait)
            measured.append((count, name, throttled, seconds_of(engine, throttled, repeat)))
    table = Table("actors", "answer", "measured s", "predicted s", title=f"{BATCHES} batches of {wait} s each")
    for count, name, task, seconds in measured:
        predicted = costs.task(count, BATCHES, wait, 8, task.answer * 8)
        table.add_row(str(count), name, f"{seconds:.3f}", f"{predicted:.3f}")
    console.print(table)
    predict(console, costs, teraflops, gigabits, latency)


def predict(console: Console, costs: Costs, teraflops: float, gigabits: float, latency: float) -> None:
    """Print how long one product over all of ImageNet takes."""
    image = FORWARD * PASSES / (teraflops * 1e12)
    wire = 8e-9 / gigabits
    far = Costs(costs.call + latency * 1e-3, max(costs.down, wire), max(costs.up, wire))
    work = f"{FORWARD * PASSES / 1e9:.0f} GFLOP a product and image at {teraflops:g} TFLOP/s ({image * 1e3:.1f} ms)"
    console.print(
        f"assumed: {PARAMETERS:,} parameters in float32, {SAMPLES:,} images, {work}, a network of {gigabits:g} Gbit/s "
        f"and {latency:g} ms; all workers like one another; nobody dies; one driver adds all answers up, in order, at "
        "the speed measured here"
    )
    table = Table("workers", title="hours of a product over all images (and how many times faster than one worker)")
    kinds = {
        "scalars back, batches of 64": (64, 800),
        "vectors back, batches of 64": (64, 4 * PARAMETERS),
        "vectors back, batches of 1,024": (1024, 4 * PARAMETERS),
        "vectors back, 16,384": (16384, 4 * PARAMETERS),
    }
    for name in kinds:
        table.add_column(name, justify="right")
    for workers in (1, 8, 16, 32, 64, 128, 256, 512, 1024):
        cells = []
        for batch, up in kinds.values():
            batches = -(-SAMPLES // batch)
            one, all_ = (far.task(n, batches, batch * image, 4 * PARAMETERS, up) for n in (1, workers))
            cells.append(f"{all_ / 3600:.3g} ({one / all_:.1f})")
        table.add_row(f"{workers:,}", *cells)
    console.print(table)


if __name__ == "__main__":
    main()
