"""Times products, traces and eigenvalues beside curvlinops, PyHessian and tf.GradientTape on the same work.

    python tests/benchmarks/spectra.py                              # both networks, torch, float32
    python tests/benchmarks/spectra.py --framework tensorflow
    python tests/benchmarks/spectra.py --markdown

Every contender has a process of its own; rounds alternate between them, and medians are printed: the machine's speed
drifts, ratios hold. The same network, data, batches, precision and tolerance for all.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
TASKS = ("gradient", "product", "further", "trace", "xtrace", "exact trace", "top 5")
TORCH = ("curvcli", "curvlinops", "curvlinops compiled", "pyhessian")


class Contender:
    """A child process that does what it is asked for."""

    def __init__(self, name: str, folder: Path, dtype: str, threads: int | None) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if threads is not None:
            environment["OPENBLAS_NUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "contenders.py"), name, str(folder), dtype],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.name = name
        ready = self._answer()
        self.tasks: list[str] = ready.get("tasks", [])
        self.problem: str = ready.get("error", "")
        self.seconds: dict[str, list[float]] = {}
        self.results: dict[str, Any] = {}

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        return json.loads(line) if line else {"error": "it ended"}

    def do(self, task: str, *, record: bool = True) -> None:
        """One task; a contender that fails at it is not asked again."""
        if task not in self.tasks or self._process.stdin is None:
            return
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            self.tasks.remove(task)
            self.problem = self.problem or f"{task}: {answer['error']}"
        elif record:
            self.seconds.setdefault(task, []).append(answer["seconds"])
            self.results[task] = answer["result"]

    def median(self, task: str) -> float | None:
        """Seconds."""
        return statistics.median(self.seconds[task]) if task in self.seconds else None


def contend(name: str, framework: str, dtype: str, repeat: int, threads: int | None) -> list[Contender]:
    """All contenders on one network."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / name
        folder.mkdir()
        script = "networks.py" if framework == "torch" else "networks_tf.py"
        subprocess.run([sys.executable, str(HERE / script), name, str(folder)], check=True, capture_output=True)
        names = TORCH if framework == "torch" else ("curvcli", "GradientTape")
        contenders = [Contender(one, folder, dtype, threads) for one in names]
        contenders[0].do("reference")
        for task in TASKS:
            for one in contenders:
                one.do(task, record=False)
            for _ in range(repeat):
                for one in contenders:
                    one.do(task)
        return contenders


def rows(contenders: list[Contender]) -> list[list[str]]:
    """Milliseconds, gradients, and how many times ours a peer takes."""
    ours = contenders[0]
    unit = ours.median("gradient") or float("nan")
    table = []
    for task in TASKS:
        for one in contenders:
            taken = one.median(task)
            if taken is None:
                continue
            base = ours.median(task)
            ratio = "" if one is ours or base is None else f"{taken / base:.1f}"
            table.append([task, one.name, f"{taken * 1e3:.1f}", f"{taken / unit:.1f}", ratio, checked(ours, one, task)])
    return table


def checked(ours: Contender, one: Contender, task: str) -> str:
    """How far a result lies from ours, or eigenvalues from the reference, relative to the largest."""
    if task == "product" and one is not ours:
        a, b = np.array(ours.results[task]), np.array(one.results[task])
        return f"differs by {np.abs(a - b).max() / np.abs(a).max():.0e}"
    if task == "top 5":
        true, found = np.array(ours.results["reference"]), np.array(one.results[task])
        if len(found) < len(true):
            return f"only {len(found)} found"
        return f"error {np.abs(true - found).max() / np.abs(true).max():.0e}"
    if "trace" in task:
        return f"{one.results[task]:.4g}"
    return ""


@click.command()
@click.option("--network", multiple=True, default=("convolutional", "smooth"), show_default=True)
@click.option("--framework", type=click.Choice(["torch", "tensorflow"]), default="torch", show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option("--blas-threads", type=int, help="OPENBLAS_NUM_THREADS for every contender. Default: as it comes.")
@click.option("--markdown", is_flag=True)
def main(
    network: tuple[str, ...], framework: str, dtype: str, repeat: int, blas_threads: int | None, markdown: bool
) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    heads = ("task", "by", "ms", "gradients", "times ours", "check")
    for name in network:
        contenders = contend(name, framework, dtype, repeat, blas_threads)
        found = rows(contenders)
        if markdown:
            print(f"\n{name}, {framework}, {dtype}, median of {repeat}\n")
            print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
            print("\n".join("| " + " | ".join(row) + " |" for row in found))
        else:
            table = Table(title=f"{name}, {framework}, {dtype}, median of {repeat}")
            for head in heads:
                table.add_column(head, justify="right" if head in heads[2:5] else "left")
            for row in found:
                table.add_row(*row)
            console.print(table)
        for one in contenders:
            if one.problem:
                console.print(f"{one.name}: {one.problem}", markup=False)


if __name__ == "__main__":
    main()
