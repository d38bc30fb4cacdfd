"""Times the exact diagonal beside per-coordinate products and BackPACK's DiagHessian, on the same network, in one run.

    python tests/benchmarks/diagonal.py                        # vgg16_digits, layer by layer and whole
    python tests/benchmarks/diagonal.py --full-vgg16 DIR       # conv4_3 of the VGG16 that build.py wrote to DIR

Repetitions alternate between the three, and medians are printed: the machine's speed drifts, ratios hold.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from curvcli.analysis.options.shared import DataOptions, Dtype, ModelOptions
from curvcli.analysis.progress import duration
from curvcli.analysis.session import Session, open_session
from curvcli.cli.console import Voice
from curvcli.curvature.diagonal.planner import Plan, plan_diagonal
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed

ROOT = Path(__file__).parents[2]
_COORDINATES = 20


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def opened(path: Path, dtype: Dtype, batch_size: int | None) -> Session:
    """The model with the data beside it."""
    return open_session(ModelOptions(path, "cpu", dtype), DataOptions(batch_size=batch_size), Voice(-1))


def planned(session: Session, layers: list[str]) -> Plan:
    """The planner's choice; once per model, so not timed."""
    parameters = [p for one in session.model.layers if one.name in layers for p in one.parameters]
    names = [p.name for p in parameters]
    rank = next(iter(session.objective.batches(names))).output.rank
    return plan_diagonal(parameters, session.objective.sites(names), rank)


def ours(session: Session, plan: Plan) -> dict[str, np.ndarray]:
    """The exact diagonal by a plan."""
    found: dict[str, np.ndarray] = {}
    for method in plan.work:
        found |= computed(method, SerialEngine(session.objective)).values
    return found


def coordinates(session: Session, layer: str) -> float:
    """Seconds for one product per entry of a layer's weight, graph kept, from a sample of them."""
    name = f"{layer}.weight"
    size = session.model.values(name).size
    some = np.arange(min(_COORDINATES, size))
    spent = 0.0
    for batch in session.objective.batches([name]):
        batch.hessian_diagonal_entries(name, some[:1])
        spent += seconds(lambda batch=batch: batch.hessian_diagonal_entries(name, some))
    return spent / len(some) * size


def plain_network(session: Session) -> tuple[nn.Sequential, dict[str, str]]:
    """The eager vgg16_digits as a Sequential, and its parameters' names in the saved model."""
    values = {p.name: session.model.values(p.name) for one in session.model.layers for p in one.parameters}
    modules: list[nn.Module] = []
    names: dict[str, str] = {}
    blocks = {"1": 2, "2": 2, "3": 3, "4": 3, "5": 3}
    last = ""
    for block, count in blocks.items():
        for i in range(1, count + 1):
            last = f"conv{block}_{i}"
            out, into = values[f"{last}.weight"].shape[:2]
            names[str(len(modules))] = last
            modules += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
        modules.append(nn.MaxPool2d(2))
    modules.append(nn.Flatten())
    for name in ("fc6", "fc7", "fc8"):
        out, into = values[f"{name}.weight"].shape
        names[str(len(modules))] = name
        modules += [nn.Linear(into, out), nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    with torch.no_grad():
        for place, name in names.items():
            # The images are 1×1 after five pools, so flattening in either layout gives the same order.
            network[int(place)].weight.copy_(torch.from_numpy(values[f"{name}.weight"]))
            network[int(place)].bias.copy_(torch.from_numpy(values[f"{name}.bias"]))
    return network, names


def backpack_diagonal(session: Session, network: nn.Sequential, names: dict[str, str], layers: list[str]) -> dict:
    """BackPACK's exact Hessian diagonal of these layers; batch means weighted by their sizes."""
    from backpack import backpack, extend, extensions

    loss = extend(nn.CrossEntropyLoss(reduction="sum"))
    dtype = next(network.parameters()).dtype
    for place, name in names.items():
        for p in network[int(place)].parameters():
            p.requires_grad_(name in layers)
    total: dict[str, np.ndarray] = {}
    for batch in session.samples.batches(session.loaded.spec.sampling.batch_size):
        x = torch.from_numpy(batch.inputs["image"]).to(dtype)
        with backpack(extensions.DiagHessian()):
            loss(network(x), torch.from_numpy(batch.target)).backward()
        for place, name in names.items():
            if name in layers:
                for label, p in network[int(place)].named_parameters():
                    key = f"{name}.{label}"
                    total[key] = total.get(key, 0) + p.diag_h.numpy().astype(np.float64)
                    p.grad, p.diag_h = None, None
    return {name: value / len(session.samples) for name, value in total.items()}


def compare(dtype: str, repeat: int, console: Console) -> None:
    """The table for vgg16_digits."""
    from backpack import extend

    session = opened(ROOT / "sample_models" / "vgg16_digits.pt", dtype, None)
    network, names = plain_network(session)
    network = extend(network.to(getattr(torch, dtype)))
    every = list(names.values())
    table = Table(title=f"exact diagonal, vgg16_digits, {len(session.samples)} samples, {dtype}, median of {repeat}")
    for column in ("layer", "curvcli s", "BackPACK s", "ratio", "coordinates s (extrapolated)", "ratio", "difference"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for label, layers in [*((name, [name]) for name in every), ("all together", every)]:
        plan = planned(session, layers)
        a = ours(session, plan)
        b = backpack_diagonal(session, network, names, layers)
        difference = max(np.abs(a[k] - b[k]).max() / np.abs(b[k]).max() for k in b)
        mine, theirs = [], []
        for _ in range(repeat):
            mine.append(seconds(lambda plan=plan: ours(session, plan)))
            theirs.append(seconds(lambda layers=layers: backpack_diagonal(session, network, names, layers)))
        m, t = statistics.median(mine), statistics.median(theirs)
        each = sum(coordinates(session, name) for name in layers)
        cells = (f"{m:.3f}", f"{t:.3f}", f"{t / m:.1f}", f"{each:.1f}", f"{each / m:.0f}", f"{difference:.1e}")
        table.add_row(label, *cells)
    console.print(table)


def full_size(folder: Path, columns: int, repeat: int, console: Console) -> None:
    """Time per column of VGG16's conv4_3 beside one ordinary backward pass through the same tail."""
    session = opened(folder / "vgg16.pt", "float32", 8)
    names = ["conv4_3.weight", "conv4_3.bias"]
    session.objective.sites(names)
    batch = next(session.objective.batches(names))
    state = batch.output
    part = state.columns(0, columns).vectors
    batch.squared_columns(names, part[:1])
    per_column, backward, product = [], [], []
    for _ in range(repeat):
        per_column.append(seconds(lambda: batch.squared_columns(names, part)) / columns)
        backward.append(seconds(lambda: batch.gradient(names)))
    batch.hessian_diagonal_entries(names[0], np.arange(1))
    product.append(seconds(lambda: batch.hessian_diagonal_entries(names[0], np.arange(4))) / 4)
    c, b, p = (statistics.median(x) for x in (per_column, backward, product))
    rank, entries = state.rank, session.model.values(names[0]).size
    console.print(f"VGG16 conv4_3, {len(session.samples)} images, {rank} classes, float32")
    console.print(f"one column {c:.3f} s, one backward pass through the same tail {b:.3f} s: ratio {c / b:.2f}")
    console.print(f"whole diagonal about {duration(c * rank)}; by coordinates about {duration(p * entries)}")
    console.print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


@click.command()
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option("--full-vgg16", type=click.Path(path_type=Path, exists=True), help="A folder that build.py wrote.")
@click.option("--columns", type=click.IntRange(1), default=16, show_default=True, help="How many to time there.")
def main(dtype: str, repeat: int, full_vgg16: Path | None, columns: int) -> None:
    """Print the table."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    if full_vgg16 is None:
        compare(dtype, repeat, console)
    else:
        full_size(full_vgg16, columns, repeat, console)


if __name__ == "__main__":
    main()
