"""Kills actors and drivers at random moments: ``ray_kills.py --count 20 --seed 0 --what actor [--framework torch]``.

A run whose actor is killed has the bytes of one that was left alone. A driver that is killed leaves no process behind,
and the same command again gives those bytes. Each run starts a cluster of its own.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "diag": "diag {model} --layer fc2 --layer fc3",
    "trace": "trace {model} --whole-model --layer fc3 --method hutchinson --probes 600",
    "eigs": "eigs {model} --layer fc2 -k 3 --method lanczos",
}
COMMON = "--limit 24 --batch-size 8 -q --format json --engine ray --workers 2 --threads 1"
# Seconds after which nobody may be left, on a busy machine.
_LEFT = 30.0


def started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "curvcli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if "CURVCLI_KILLS_SAY" not in os.environ else None,
        env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
    )


def actors(driver: int) -> list[psutil.Process]:
    """The processes of a driver's actors; Ray names them after what they are at."""
    some = []
    for one in psutil.Process(driver).children(recursive=True):
        try:
            if "ray::Actor" in " ".join(one.cmdline()):
                some.append(one)
        except psutil.Error:
            continue
    return some


def actor_killed(words: list[str], wait: float, rng: np.random.Generator) -> str:
    """Kill an actor as soon as there is one after some time; what went wrong, or nothing."""
    driver = started(words)
    begun, how = time.monotonic(), "nobody was there to be killed"
    while driver.poll() is None:
        here = actors(driver.pid) if time.monotonic() - begun > wait else []
        if here:
            victim = here[rng.integers(len(here))]
            how = f"{' '.join(victim.cmdline())} killed after {time.monotonic() - begun:.2f} s"
            victim.kill()
            break
        time.sleep(0.01)
    error = driver.communicate()[1]
    click.echo(f"  {how}: {driver.returncode}")
    return "" if driver.returncode in (0, 4) else f"{how}: {driver.returncode} {(error or b'').decode()}"


def driver_killed(words: list[str], wait: float, rng: np.random.Generator) -> str:
    """Kill the driver after some time, see everybody leave, and run the command again; what went wrong, or nothing."""
    driver = started(words)
    with suppress(subprocess.TimeoutExpired):
        driver.wait(wait)
    others = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    begun = time.monotonic()
    _, left = psutil.wait_procs(others, timeout=_LEFT)
    click.echo(f"  driver killed after {wait:.2f} s: {len(others)} others left in {time.monotonic() - begun:.1f} s")
    if left:
        return f"driver killed after {wait:.2f} s: {[one.cmdline() for one in left]} are still there"
    again = started(words)
    error = again.communicate()[1]
    return "" if again.returncode in (0, 4) else f"again: {again.returncode} {(error or b'').decode()}"


@click.command()
@click.option("--count", type=int, default=20, show_default=True, help="Kills, over all commands.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--what", type=click.Choice(["actor", "driver"]), default="actor", show_default=True)
@click.option("--framework", type=click.Choice(["torch", "tensorflow"]), default="torch", show_default=True)
@click.option("--only", multiple=True, help="Only these commands.")
def main(count: int, seed: int, what: str, framework: str, only: tuple[str, ...]) -> None:
    """Kill and compare; exit code 1 and a line for each report that is not the one of a run left alone."""
    rng, wrong, begun = np.random.default_rng(seed), 0, time.monotonic()
    kill = {"actor": actor_killed, "driver": driver_killed}[what]
    names = list(only) or list(COMMANDS)
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        for name in ("mlp_tanh.pt", "mlp_tanh.pt.toml", "digits.npz"):
            shutil.copy(ROOT / "sample_models" / name, folder / name)
        shutil.copytree(ROOT / "sample_models" / "mlp_tanh", folder / "mlp_tanh")
        model = folder / {"torch": "mlp_tanh.pt", "tensorflow": "mlp_tanh"}[framework]
        for place, name in enumerate(names):
            report = folder / f"{name}.h5"
            words = [*shlex.split(COMMANDS[name].format(model=model)), *shlex.split(COMMON), "-o", str(report)]
            start = time.monotonic()
            whole = started(words)
            error = whole.communicate()[1]
            if whole.returncode not in (0, 4):
                raise SystemExit(f"{name}: the run left alone ended with {whole.returncode}: {error!r}")
            seconds, expected = time.monotonic() - start, report.read_bytes()
            kills = count * (place + 1) // len(names) - count * place // len(names)
            click.echo(f"{framework}, {name}: {kills} kills of a run of {seconds:.1f} s")
            for _ in range(kills):
                report.unlink(missing_ok=True)
                problem = kill(words, float(rng.uniform(0, seconds)), rng)
                if not problem and report.read_bytes() != expected:
                    problem = "other bytes"
                if not problem and report.with_name(f"{report.name}.parts").exists():
                    problem = "parts are left"
                if problem:
                    wrong += 1
                    click.echo(f"WRONG {framework}, {name}: {problem}")
                    shutil.rmtree(report.with_name(f"{report.name}.parts"), ignore_errors=True)
    click.echo(f"{count} kills, {wrong} wrong, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
