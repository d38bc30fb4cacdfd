"""Kills runs with workers at random and resumes them: ``kills.py --count 20 [--framework torch] [--only trace]``.

Every report must have the bytes of the uninterrupted one. Whoever is killed is one of the workers, after which the run
goes on by itself, or the process that was started, after which no worker may stay and the same command is run again.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
MODELS = {"torch": "mlp_tanh.pt", "tensorflow": "mlp_tanh"}
COMMON = "--limit 96 --batch-size 12 --workers 2 --threads 2 -q --format json"
COMMANDS = {
    "diag": "diag {model} --layer norm --layer fc3 --method coordinate",
    "trace": "trace {model} --layer fc* --whole-model --method hutchinson --probes 40",
    "eigs": "eigs {model} --layer fc2 -k 3 --method lanczos",
    "density": "density {model} --layer fc2 --method lanczos --probes 3 --steps 12",
    "slice": "slice {model} --layer fc3 --along top --points 9",
    "activations": "activations {model} --layer fc2 --layer fc3 --method probes --probes 24",
    "sensitivity": "sensitivity {model} --layer fc2 --layer fc3 --bits 4 --sparsity 0.5",
}
# Seconds within which workers notice that nobody waits for them any more.
_GONE = 30.0


@dataclass(frozen=True)
class Case:
    """A command and its uninterrupted run: its words, its report's bytes, and the seconds that it took."""

    words: list[str]
    report: Path
    bytes: bytes
    seconds: float


def started(words: list[str]) -> subprocess.Popen[bytes]:
    """Start a run."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "0"}
    command = [sys.executable, "-P", "-m", "curvcli", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The workers that live now."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def prepared(model: Path, name: str, report: Path) -> Case:
    """Run a command without interruption."""
    words = [*shlex.split(COMMANDS[name].format(model=model)), *shlex.split(COMMON), "-o", str(report)]
    begun = time.monotonic()
    code = started(words).wait()
    if code not in (0, 4):
        raise SystemExit(f"{name}: the uninterrupted run ended with {code}: {shlex.join(words)}")
    whole = report.read_bytes()
    report.unlink()
    return Case(words, report, whole, time.monotonic() - begun)


def killed(case: Case, rng: np.random.Generator, *, driver: bool) -> str:
    """Kill one process of a run at a random moment; what went wrong, or nothing."""
    process, wait = started(case.words), float(rng.uniform(0.2, 0.98)) * case.seconds
    how = f"{'the run' if driver else 'a worker'} after {wait:.1f} of {case.seconds:.1f} s"
    time.sleep(wait)
    workers = workers_of(process)
    if driver:
        process.send_signal(signal.SIGKILL)
    elif workers:
        workers[rng.integers(len(workers))].kill()
    code = process.wait()
    _, left = psutil.wait_procs(workers, timeout=_GONE)
    if left:
        return f"{how}: {len(left)} workers are still there"
    if driver and code == -signal.SIGKILL:
        code = started(case.words).wait()
    if code not in (0, 4):
        return f"{how}: exit code {code}"
    same = case.report.read_bytes() == case.bytes
    case.report.unlink()
    parts = case.report.with_name(f"{case.report.name}.parts")
    return "" if same and not parts.exists() else f"{how}: {'parts are left' if same else 'other bytes'}"


def cases(frameworks: tuple[str, ...], only: tuple[str, ...], folder: Path) -> Iterator[tuple[str, Case]]:
    """Each chosen command on each framework's model."""
    for framework in frameworks or tuple(MODELS):
        place = folder / framework
        shutil.copytree(ROOT / "sample_models", place)
        for name in COMMANDS:
            if not only or any(part in name for part in only):
                yield f"{framework}, {name}", prepared(place / MODELS[framework], name, place / "r.h5")


@click.command()
@click.option("--count", type=int, default=20, show_default=True, help="Kills of each command, of each sort.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--framework", "frameworks", multiple=True, type=click.Choice(list(MODELS)))
@click.option("--only", multiple=True, help="Only commands whose name holds this.")
def main(count: int, seed: int, frameworks: tuple[str, ...], only: tuple[str, ...]) -> None:
    """Kill and resume; exit code 1 and a line for each report that is not the uninterrupted one."""
    rng, wrong, done = np.random.default_rng(seed), 0, 0
    with TemporaryDirectory() as directory:
        for name, case in cases(frameworks, only, Path(directory)):
            click.echo(f"{name}: a run of {case.seconds:.1f} s")
            for number in range(2 * count):
                problem = killed(case, rng, driver=number % 2 == 1)
                done += 1
                if problem:
                    wrong += 1
                    click.echo(f"WRONG {name}: {problem}")
                    case.report.unlink(missing_ok=True)
                    shutil.rmtree(case.report.with_name(f"{case.report.name}.parts"), ignore_errors=True)
    click.echo(f"{done} kills, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
