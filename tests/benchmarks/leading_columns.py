"""Error against passes of ``leading_columns`` beside the exact diagonal, on digits paired to 100 two-digit numbers.

    python tests/benchmarks/leading_columns.py                # a table for several lengths of training

The network is trained in the same run; errors are of all its parameters together, in the Euclidean norm.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from networks import SPEC
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn

from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.session import Session, open_session
from curvcli.cli.console import Voice
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.diagonal.leading_columns import LeadingColumns
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.models.base import Parameter


def pairs(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two digits side by side, and the number they write."""
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    left, right = rng.integers(0, len(images), (2, count))
    return np.concatenate([images[left], images[right]], axis=3), 10 * y[left] + y[right]


def trained(steps: int, folder: Path) -> float:
    """Save a network of some training with its data; returns its mean top probability."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    convolutions = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    late = [nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    network = nn.Sequential(*convolutions, *late, nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 100))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(steps):
        x, y = pairs(128, rng)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()
    x, y = pairs(128, rng)
    torch.jit.save(torch.jit.script(network.eval()), folder / "m.pt")
    np.savez(folder / "data.npz", x=x, y=y)
    (folder / "m.pt.toml").write_text(SPEC.replace("[inputs.x]", "[inputs.input]"))
    with torch.no_grad():
        return float(network(torch.from_numpy(x)).softmax(1).amax(1).mean())


def estimate(session: Session, of: tuple[Parameter, ...], passes: int, rtol: float | None, exact: np.ndarray) -> tuple:
    """Passes taken, slots among them, and the relative error, stated and true."""
    estimates = computed(LeadingColumns(of, passes, rtol, 0, 100), SerialEngine(session.objective))
    values, errors = (
        np.concatenate([getattr(estimates[p.name], what).reshape(-1) for p in of]) for what in ("value", "stderr")
    )
    one, scale = estimates[of[0].name], np.linalg.norm(exact)
    slots = one.products - one.probes - 2
    return one.products - 2, slots, np.linalg.norm(errors) / scale, np.linalg.norm(values - exact) / scale


@click.command()
@click.option("--steps", type=int, multiple=True, default=(100, 250, 700), show_default=True)
def main(steps: tuple[int, ...]) -> None:
    """Print the table."""
    table = Table()
    for column in ("training steps", "mean top probability", "passes", "exact slots", "stated error", "true error"):
        table.add_column(column, justify="right")
    for count in steps:
        with tempfile.TemporaryDirectory() as name:
            sure = trained(count, Path(name))
            session = open_session(ModelOptions(Path(name) / "m.pt", "cpu", "float64"), DataOptions(), Voice(-1))
            of = tuple(p for layer in session.model.layers for p in layer.parameters)
            values = computed(GaussNewton(tuple(p.name for p in of), 100), SerialEngine(session.objective)).values
            exact = np.concatenate([values[p.name].reshape(-1) for p in of])
            for passes, rtol in [(16, None), (24, None), (32, None), (48, None), (64, None), (96, 1e-2), (96, 1e-3)]:
                taken, slots, stated, true = estimate(session, of, passes, rtol, exact)
                words = f"{taken}" if rtol is None else f"{taken} (rtol {rtol:g})"
                table.add_row(f"{count}", f"{sure:.3f}", words, f"{slots}", f"{stated:.1e}", f"{true:.1e}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
