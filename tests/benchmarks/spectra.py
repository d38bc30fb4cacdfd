"""Times products, traces and eigenvalues beside curvlinops, PyHessian and tf.GradientTape on the same work.

    python tests/benchmarks/spectra.py                              # both small networks, torch, float32
    python tests/benchmarks/spectra.py --framework tensorflow
    python tests/benchmarks/spectra.py --device cuda                # a GPU, beside the peers on it
    python tests/benchmarks/spectra.py --network resnet18 --network wide --samples 4 --threads 1 --repeat 1

Every contender has a process of its own; rounds alternate between them, and medians are printed: the machine's speed
drifts, ratios hold. The same network, data, batches, precision and tolerance for all. Memory is the most that a task
held beyond what its process held before: start-up and the model itself are not counted.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
TASKS = ("gradient", "product", "further", "trace", "xtrace", "exact trace", "top 5")
TORCH = ("curvcli", "curvlinops", "curvlinops compiled", "pyhessian")
TENSORFLOW = ("curvcli", "GradientTape")
UNITS = ("seconds", "cpu", "memory")


class Contender:
    """A child process that does what it is asked for."""

    def __init__(self, name: str, folder: Path, dtype: str, threads: int, device: str) -> None:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"} | dict.fromkeys(names, str(threads))
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "contenders.py"), name, str(folder), dtype, str(threads), device],
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
        self.taken: dict[str, list[dict[str, float]]] = {}
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
            self.taken.setdefault(task, []).append({unit: answer[unit] for unit in UNITS})
            self.results[task] = answer["result"]

    def median(self, task: str, unit: str = "seconds") -> float | None:
        """Seconds, seconds of CPU, or bytes."""
        return statistics.median(one[unit] for one in self.taken[task]) if task in self.taken else None

    def end(self) -> None:
        """Let the process go, and with it its memory."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@dataclass(frozen=True)
class Setting:
    """What one table is of."""

    network: str
    framework: str
    dtype: str
    samples: int
    threads: int
    device: str = "cpu"

    def __str__(self) -> str:
        place = f"{self.threads} thread(s)" if self.device == "cpu" else self.device
        return f"{self.network}, {self.framework}, {self.dtype}, N = {self.samples}, {place}"


def contend(setting: Setting, tasks: Sequence[str], only: Sequence[str], repeat: int) -> list[Contender]:
    """All contenders on one network."""
    name = setting.network
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / name
        folder.mkdir()
        script = "networks.py" if setting.framework == "torch" else "networks_tf.py"
        written = [sys.executable, str(HERE / script), name, str(folder), str(setting.samples)]
        subprocess.run(written, check=True, capture_output=True)
        names = TORCH if setting.framework == "torch" else TENSORFLOW
        names = tuple(one for one in names if one == "curvcli" or not only or one in only)
        contenders = [Contender(one, folder, setting.dtype, setting.threads, setting.device) for one in names]
        if "top 5" in tasks:
            contenders[0].do("reference")
        for task in tasks:
            for one in contenders:
                one.do(task, record=repeat == 1)
            for _ in range(repeat if repeat > 1 else 0):
                for one in contenders:
                    one.do(task)
        for one in contenders:
            one.end()
        return contenders


def rows(contenders: list[Contender]) -> list[list[str]]:
    """Milliseconds, gradients, MiB, and how many times ours a peer takes."""
    ours = contenders[0]
    gradient = ours.median("gradient") or float("nan")
    table = []
    for task in TASKS:
        for one in contenders:
            taken = one.median(task)
            if taken is None:
                continue
            ratios = [f"{times(ours, one, task, unit)}" for unit in UNITS]
            held = (one.median(task, "memory") or 0.0) / 2**20
            cells = [task, one.name, f"{taken * 1e3:.1f}", f"{taken / gradient:.1f}", f"{held:.0f}"]
            table.append([*cells, *ratios, checked(ours, one, task)])
    return table


def times(ours: Contender, one: Contender, task: str, unit: str) -> str:
    """How many times ours a peer takes."""
    base, taken = ours.median(task, unit), one.median(task, unit)
    return "" if one is ours or not base or taken is None else f"{taken / base:.2f}"


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
@click.option("--samples", type=click.IntRange(1), multiple=True, default=(128,), show_default=True)
@click.option("--threads", type=click.IntRange(1), multiple=True, default=(os.cpu_count() or 1,), show_default=True)
@click.option("--task", "tasks", type=click.Choice(TASKS), multiple=True, default=TASKS, help="Default: all.")
@click.option("--peer", "peers", multiple=True, help="Beside whom. Default: all.")
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True, help="1: without a warm-up.")
@click.option("--device", default="cpu", show_default=True, help="Of torch's contenders: cpu, cuda, cuda:1 …")
@click.option("--markdown", is_flag=True)
def main(
    network: tuple[str, ...],
    framework: str,
    dtype: str,
    samples: tuple[int, ...],
    threads: tuple[int, ...],
    tasks: tuple[str, ...],
    peers: tuple[str, ...],
    repeat: int,
    device: str,
    markdown: bool,
) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    heads = ("task", "by", "ms", "gradients", "MiB", "× time", "× CPU", "× memory", "check")
    for name, count, cores in product(network, samples, threads):
        setting = Setting(name, framework, dtype, count, cores, device)
        contenders = contend(setting, tasks, peers, repeat)
        found = rows(contenders)
        if markdown:
            print(f"\n{setting}, median of {repeat}\n")
            print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
            print("\n".join("| " + " | ".join(row) + " |" for row in found), flush=True)
        else:
            table = Table(title=f"{setting}, median of {repeat}")
            for head in heads:
                table.add_column(head, justify="left" if head in ("task", "by", "check") else "right")
            for row in found:
                table.add_row(*row)
            console.print(table)
        for one in contenders:
            if one.problem:
                console.print(f"{one.name}: {one.problem}", markup=False)


if __name__ == "__main__":
    main()
