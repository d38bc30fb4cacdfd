"""Derivatives by the inputs: Taylor coefficients beside products, on the same saved network, alternating in one run.

``OMP_NUM_THREADS=1 python tests/benchmarks/inputs.py [--framework tensorflow]`` prints a table of CPU times, medians of
five. What is timed is a whole batch: forward pass, gradient, what is recorded, and the derivatives along all
coordinates (order 2) or along ten (orders 3 and 4).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

from curvcli.models.pointwise import SampleFunction

sys.path.insert(0, str(Path(__file__).parents[1]))
from sessions import session_of

_ROUNDS = 5
# Coordinates along which derivatives of higher order are taken.
_ALONG = 10
# Name, one sample's shape, width of the hidden layers, samples.
CASES = [
    ("tanh, 10 inputs", (10,), 64, 64),
    ("tanh, 50 inputs", (50,), 64, 64),
    ("tanh, 50 inputs, 4 samples", (50,), 256, 4),
    ("tanh, 50 inputs, wide", (50,), 256, 64),
    ("convolutions, 192 inputs", (3, 8, 8), 0, 16),
]


def saved_by_torch(shape: tuple[int, ...], width: int, path: Path) -> Path:
    import torch
    from torch import nn

    torch.manual_seed(0)
    if len(shape) == 1:
        sizes = [*shape, width, width, width]
        layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
        net = nn.Sequential(*layers, nn.Linear(width, 1))
    else:
        convolutions = [nn.Conv2d(3, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 32, 3, 2, 1), nn.Tanh(), nn.Flatten()]
        net = nn.Sequential(*convolutions, nn.Linear(512, 10), nn.Tanh(), nn.Linear(10, 1))
    torch.jit.trace(net, torch.randn(2, *shape)).save(str(path / "m.pt"))
    return path / "m.pt"


def saved_by_tensorflow(shape: tuple[int, ...], width: int, path: Path) -> Path:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    x = start = keras.Input((*shape[1:], shape[0]) if len(shape) > 1 else shape, name="x")
    if len(shape) == 1:
        for _ in range(3):
            x = keras.layers.Dense(width, "tanh")(x)
    else:
        x = keras.layers.Conv2D(16, 3, padding="same", activation="tanh")(x)
        x = keras.layers.Conv2D(32, 3, 2, padding="same", activation="tanh")(x)
        x = keras.layers.Dense(10, "tanh")(keras.layers.Flatten()(x))
    model = keras.Model(start, keras.layers.Dense(1)(x))
    serve = tf.function(lambda x: {"u": model(x)}, input_signature=[tf.TensorSpec([None, *start.shape[1:]], name="x")])
    tf.saved_model.save(model, str(path / "m"), signatures={"serving_default": serve})
    return path / "m"


def cpu(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def compared(model: Path, folder: Path, shape: tuple[int, ...], samples: int) -> list[tuple[str, float, float]]:
    """Per order the CPU seconds by products and by coefficients."""
    name = "x"
    np.savez(folder / "d.npz", x=np.random.default_rng(0).standard_normal((samples, *shape)), y=np.zeros((samples, 1)))
    spec = folder / "d.toml"
    lines = ["version = 1", "[source]", 'format = "npz"', 'path = "d.npz"', "[inputs.NAME]", 'column = "x"', "[target]"]
    lines += ['column = "y"', "[loss]", 'name = "mse"', "[sampling]", f"batch_size = {samples}"]
    port = "x" if model.is_dir() else "input"
    spec.write_text("\n".join(lines).replace("NAME", port))
    objective = session_of(model, spec).objective
    name = objective.differentiable_inputs()[0]

    def fresh() -> Any:
        batch = next(iter(objective.input_batches(SampleFunction("loss"), [name])))
        batch.gradient()
        return batch

    size = fresh().coordinates

    def products() -> None:
        fresh().hessian_diagonal(range(size))

    def coefficients() -> None:
        batch = fresh()
        chunk = batch.series().at_once(2)
        for start in range(0, size, chunk):
            batch.series().derivatives(range(start, min(size, start + chunk)), 2)

    few = range(min(size, _ALONG))

    def nested(order: int) -> None:
        batch = fresh()
        for place in few:
            batch.derivatives(place, order)

    def along(order: int) -> None:
        fresh().series().derivatives(few, order)

    ways: list[tuple[str, Callable[[], None], Callable[[], None]]] = [("2", products, coefficients)]
    ways += [(str(k), partial(nested, k), partial(along, k)) for k in (3, 4)]
    rows = []
    for order, one, other in ways:
        one()
        other()
        pairs = [(cpu(one), cpu(other)) for _ in range(_ROUNDS)]
        rows.append((order, *(statistics.median(times) for times in zip(*pairs, strict=True))))
    return rows


@click.command()
@click.option("--framework", type=click.Choice(["torch", "tensorflow"]), default="torch")
def main(framework: str) -> None:
    print("| network | order | products | coefficients | ratio |\n|---|---|---|---|---|")
    for name, shape, width, samples in CASES:
        with tempfile.TemporaryDirectory() as folder:
            save = saved_by_torch if framework == "torch" else saved_by_tensorflow
            model = save(shape, width, Path(folder))
            data = (*shape[1:], shape[0]) if framework == "tensorflow" and len(shape) > 1 else shape
            for order, one, other in compared(model, Path(folder), data, samples):
                print(f"| {name} | {order} | {1e3 * one:.3g} ms | {1e3 * other:.3g} ms | {one / other:.2f} |")


if __name__ == "__main__":
    main()
