"""One process, two workers and two of Ray's actors beside each other: equal results, and what each of them takes.

    python tests/benchmarks/engines.py
    python tests/benchmarks/engines.py --framework tensorflow --command trace

Every cell is a command line of its own, one thread per process. CPU time and memory are of all processes together,
Ray's own included, by samples; memory is what no two of them share. Start-up ends when the loss and gradient are there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
ENGINES = {
    "one process": "--threads 1",
    "2 workers": "--workers 2 --threads 2",
    "Ray, 2 actors": "--engine ray --workers 2 --threads 1",
}
COMMANDS = {
    "diag": "diag {model}",
    "trace": "trace {model} --whole-model --method hutchinson --probes 128",
    "eigs": "eigs {model} --whole-model -k 3 --method lanczos",
}
MODELS = {"torch": "mlp_tanh.pt", "tensorflow": "mlp_tanh"}
DATA = "--limit 1024 --batch-size 64 --format json"
_EVERY = 0.2  # seconds between samples


@dataclass
class Taken:
    """What a run took: seconds, seconds of processors, bytes, seconds until the first result; and its report."""

    wall: float
    cpu: float
    memory: int
    start: float
    report: dict[str, bytes]


def arrays(path: Path) -> dict[str, bytes]:
    """All of a report, to the bit, but the command that was typed."""
    values_of: dict[str, bytes] = {}

    def take(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and name != "provenance/command":
            values = np.asarray(node[()])
            values_of[name] = repr(values.tolist()).encode() if values.dtype.kind == "O" else values.tobytes()

    with h5py.File(path) as file:
        file.visititems(take)
    return values_of


def taken(words: list[str], report: Path) -> Taken:
    """Run a command line."""
    begun, first = time.monotonic(), 0.0
    driver = subprocess.Popen(
        [sys.executable, "-m", "curvcli", *words, "-o", str(report)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "SOURCE_DATE_EPOCH": "0"},
    )
    lines: list[tuple[float, str]] = []

    def listen() -> None:
        assert driver.stderr is not None
        lines.extend((time.monotonic() - begun, line) for line in driver.stderr)

    listener = threading.Thread(target=listen)
    listener.start()
    cpu: dict[tuple[int, float], float] = {}
    peak = 0
    while driver.poll() is None:
        memory = 0
        try:
            for one in (psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)):
                try:
                    times = one.cpu_times()
                    cpu[one.pid, one.create_time()] = times.user + times.system
                    memory += one.memory_full_info().uss
                except psutil.Error:
                    continue
        except psutil.Error:
            break
        peak = max(peak, memory)
        time.sleep(_EVERY)
    wall = time.monotonic() - begun
    listener.join()
    if driver.wait() not in (0, 4):
        raise SystemExit(f"{shlex.join(words)} ended with {driver.returncode}: {''.join(line for _, line in lines)}")
    after = [when for when, line in lines if line.startswith("[")]
    first = after[1] if len(after) > 1 else wall
    return Taken(wall, sum(cpu.values()), peak, first, arrays(report))


@click.command()
@click.option("--framework", "frameworks", multiple=True, type=click.Choice(list(MODELS)))
@click.option("--command", "commands", multiple=True, type=click.Choice(list(COMMANDS)))
def main(frameworks: tuple[str, ...], commands: tuple[str, ...]) -> None:
    """Print the table; exit code 1 if a report differs from that of one process."""
    table = Table("framework", "command", "engine", "equal", "wall s", "CPU s", "memory MiB", "start-up s")
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for name in ("mlp_tanh.pt", "mlp_tanh.pt.toml", "digits.npz"):
            shutil.copy(ROOT / "sample_models" / name, folder)
        shutil.copytree(ROOT / "sample_models" / "mlp_tanh", folder / "mlp_tanh")
        for framework in frameworks or tuple(MODELS):
            for command in commands or tuple(COMMANDS):
                alone: Taken | None = None
                for engine, options in ENGINES.items():
                    line = f"{COMMANDS[command].format(model=folder / MODELS[framework])} {DATA} {options}"
                    run = taken(shlex.split(line), folder / f"{framework}-{command}-{len(engine)}.h5")
                    alone = alone or run
                    same = run.report == alone.report
                    wrong += not same
                    figures = (f"{run.wall:.1f}", f"{run.cpu:.1f}", f"{run.memory / 2**20:.0f}", f"{run.start:.1f}")
                    table.add_row(framework, command, engine, "yes" if same else "NO", *figures)
                    print(framework, command, engine, same, *figures, file=sys.stderr, flush=True)
    Console(width=110, file=sys.stdout).print(table)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
