"""How CPU time grows with samples, parameters, probes and classes: three points each, and the slope between them.

    python tests/benchmarks/growth.py
    python tests/benchmarks/growth.py --axis classes --repeat 5

A slope of 1 means that twice as much takes twice as long. Opening the model is not counted; one thread.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from networks import SPEC
from rich.console import Console
from rich.table import Table
from torch import nn

from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.session import Session, open_session
from curvcli.analysis.targets import targets
from curvcli.cli.console import Voice
from curvcli.curvature.diagonal.planner import plan_diagonal
from curvcli.curvature.kept import KeptObjective
from curvcli.curvature.trace.estimate import Rule
from curvcli.curvature.trace.registry import estimators, traces
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed

# Where a kept graph counts as fitting: everywhere.
_UNLIMITED = 1 << 40


@dataclass(frozen=True)
class Point:
    """One measurement: a small convolutional network, data, and what is asked for."""

    samples: int = 64
    width: int = 32
    classes: int = 10
    probes: int = 16

    def network(self) -> nn.Module:
        """Two convolutions and two dense layers."""
        w = self.width
        layers = [nn.Conv2d(3, w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(w, w, 3, padding=1), nn.ReLU()]
        dense = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * w, 4 * w), nn.ReLU(), nn.Linear(4 * w, self.classes)]
        return nn.Sequential(*layers, *dense).eval()

    def opened(self, folder: Path) -> Session:
        """As files, and open."""
        torch.manual_seed(0)
        torch.jit.save(torch.jit.script(self.network()), folder / "net.pt")
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.samples, 3, 16, 16)).astype(np.float32)
        np.savez(folder / "data.npz", x=x, y=rng.integers(0, self.classes, self.samples))
        (folder / "net.pt.toml").write_text(SPEC.replace("[inputs.x]", "[inputs.input]"))
        return open_session(ModelOptions(folder / "net.pt", "cpu", "float32"), DataOptions(), Voice(-1))


def traced(session: Session, point: Point) -> Callable[[], object]:
    """The trace of the whole model from random signs."""
    (target,) = targets(session.model.layers, [], whole_model=True)
    names = list(target.block.names)

    def work() -> object:
        engine = SerialEngine(KeptObjective(session.objective, names, _UNLIMITED))
        rule = Rule(point.probes, None, 0, engine.denominator, engine.batch_weights, 0.0)
        found = estimators([target.block], None, "hutchinson", rule, _UNLIMITED)
        return computed(traces(found), engine)

    return work


def exact_diagonal(session: Session, point: Point) -> Callable[[], object]:
    """The exact diagonal of the second convolution."""
    del point
    parameters = [p for one in session.model.layers for p in one.parameters if p.name == "3.weight"]
    names = [p.name for p in parameters]
    rank = next(iter(session.objective.batches(names))).output.rank
    plan = plan_diagonal(parameters, session.objective.sites(names), rank)
    return lambda: [computed(method, SerialEngine(session.objective)) for method in plan.work]


@dataclass(frozen=True)
class Axis:
    """What grows, and what is timed."""

    points: tuple[Point, ...]
    task: Callable[[Session, Point], Callable[[], object]]
    size: Callable[[Point], int]


AXES = {
    "samples": Axis(tuple(Point(samples=n) for n in (64, 256, 1024)), traced, lambda p: p.samples),
    "parameters": Axis(
        tuple(Point(width=n) for n in (16, 64, 256)),
        traced,
        lambda p: sum(w.numel() for w in p.network().parameters()),
    ),
    "probes": Axis(tuple(Point(probes=n) for n in (16, 64, 256)), traced, lambda p: p.probes),
    "classes": Axis(tuple(Point(classes=n) for n in (10, 100, 1000)), exact_diagonal, lambda p: p.classes),
}


def measured(axis: Axis, repeat: int) -> Iterator[tuple[int, float]]:
    """Size and median seconds of CPU per point; points take turns, since the machine's speed drifts."""
    with tempfile.TemporaryDirectory() as parent:
        works = []
        for number, point in enumerate(axis.points):
            folder = Path(parent) / str(number)
            folder.mkdir()
            works.append(axis.task(point.opened(folder), point))
        taken: list[list[float]] = [[] for _ in works]
        for turn in range(repeat + 1):
            for seconds, work in zip(taken, works, strict=True):
                begun = time.process_time()
                work()
                if turn:  # the first call of each prepares what later ones use
                    seconds.append(time.process_time() - begun)
        for point, seconds in zip(axis.points, taken, strict=True):
            yield axis.size(point), statistics.median(seconds)


@click.command()
@click.option("--axis", "axes", type=click.Choice(list(AXES)), multiple=True, default=tuple(AXES), help="Default: all.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True)
def main(axes: tuple[str, ...], repeat: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    table = Table(title="seconds of CPU, float32, one thread")
    for head in ("of", "first", "second", "third", "slopes"):
        table.add_column(head)
    for name in axes:
        points = list(measured(AXES[name], repeat))
        sizes, seconds = np.array(points).T
        slopes = np.diff(np.log(seconds)) / np.diff(np.log(sizes))
        cells = [f"{int(size):,}: {spent:.3f} s" for size, spent in points]
        table.add_row(name, *cells, ", ".join(f"{slope:.2f}" for slope in slopes))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
