"""Kills runs at random and resumes them: ``kills.py --count 200 --seed 0 [--framework torch]``.

Every resumed report must have the bytes of the uninterrupted one. A run is killed by SIGKILL, SIGTERM or SIGINT, either
after a random share of the time that the uninterrupted run took, or at a random step inside its layers; now and then a
resumed run is killed too. Processes are forked from one that has imported the framework, which takes longer than a run.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# 99 and −15: a signal that came before the command line had begun.
ENDS = {0, 130, 143, -signal.SIGKILL, -signal.SIGTERM, 99}
COMMON = "--limit 24 --batch-size 8 -q --format json"
COMMANDS = {
    "diag": "diag {model} --layer fc2 --layer fc3",
    "diag by coordinates": "diag {model} --layer norm --layer fc3 --method coordinate",
    "diag by probes": "diag {model} --layer fc2 --method activation_probes --probes 16",
    "diag by xdiag": "diag {model} --layer fc3 --method xdiag --probes 32",
    "diag by hutchinson": "diag {model} --layer fc3 --method hutchinson --probes 24",
    "trace": "trace {model} --layer fc2 --layer fc3 --whole-model --method xtrace --probes 24",
    "trace by hutch++": "trace {model} --layer fc2 --layer norm --method hutch++ --probes 70",
    "trace by hutchinson": "trace {model} --layer fc* --whole-model --method hutchinson --probes 20",
    "eigs": "eigs {model} --layer fc2 -k 3 --method lanczos",
    "eigs by lobpcg": "eigs {model} --layer fc3 -k 2 --method lobpcg",
    "density": "density {model} --layer fc2 --layer fc3 --method lanczos --probes 3 --steps 8",
    "hessian": "hessian {model} --layer fc3",
    "inputs": "inputs {model}",
    "inputs, full": "inputs {model} --full",
    "inputs by probes": "inputs {model} --budget 0 --probes 6",
    "split": "split {model} --at fc2",
    "slice": "slice {model} --layer fc3 --along top --along random --points 5",
    "coupling": "coupling {model} --layer fc2 --layer fc3 --method probes --probes 12",
    "activations": "activations {model} --layer fc2 --layer fc3 --method probes --probes 24",
    "evidence": "evidence {model} --layer fc2 --method lanczos --probes 4 --steps 10",
    "sensitivity": "sensitivity {model} --layer fc2 --layer fc3 --bits 4 --sparsity 0.5",
    "sharpness": "sharpness {model} --layer fc3 --minibatch 5 --minibatches 4 --probes 8",
    "run": "run {folder}/run.toml",
}
CONFIG = """model = "{model}"
layer = ["fc2", "fc3"]
limit = 24
batch-size = 8
[diag]
[trace]
method = "xtrace"
probes = 24
[eigs]
k = 2
method = "lanczos"
[density]
method = "lanczos"
probes = 2
steps = 6
"""


@dataclass(frozen=True)
class Case:
    """A command and its uninterrupted run.

    Attributes:
        words: as typed.
        report: its path.
        bytes: of the uninterrupted report.
        seconds: that it took.
        steps: that its work had.
    """

    words: list[str]
    report: Path
    bytes: bytes
    seconds: float
    steps: int


def imported(framework: str) -> None:
    """Import what runs need, once for all that are forked from now on."""
    adapters = {"torch": "torch.torchscript", "tensorflow": "tensorflow.savedmodel"}
    commands = (
        "main",
        "diag",
        "trace",
        "eigs",
        "density",
        "hessian",
        "inputs",
        "split",
        "slice",
        "coupling",
        "activations",
        "evidence",
        "sensitivity",
        "sharpness",
        "run",
    )
    for name in (*(f"cli.{command}" for command in commands), f"models.{adapters[framework]}", "report.hdf5.write"):
        import_module(f"curvcli.{name}")


def forked(
    words: list[str],
    *,
    at: int = 0,
    number: int = 0,
    steps: Path | None = None,
    checkpoint: float = 20.0,
    said: Path | None = None,
) -> int:
    """Start a run in a process of its own; returns its id.

    Args:
        words: as typed.
        at: the step after which it kills itself; 0 for none.
        number: the signal.
        steps: a file for the number of its steps.
        checkpoint: seconds after which state is kept.
        said: a file for its standard error.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        if said is not None:
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        elif "CURVCLI_KILLS_SAY" not in os.environ:
            os.dup2(nowhere, 2)
        from curvcli.analysis import checkpoints as resumable
        from curvcli.analysis import progress
        from curvcli.cli.main import run

        resumable._CHECKPOINT = checkpoint
        count = 0
        advance = progress.Meter.advance

        def counted(self: Any, passes: int) -> None:
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), number)
            advance(self, passes)

        progress.Meter.advance = counted  # type: ignore[method-assign]
        sys.argv = ["curvcli", *words]
        code = run(words, own_process=True)
        if steps is not None:
            steps.write_text(str(count))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a process; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepared(folder: Path, name: str, model: str, report: Path) -> Case:
    """Run a command without interruption."""
    (folder / "run.toml").write_text(CONFIG.format(model=model))
    line = COMMANDS[name].format(model=folder / model, folder=folder)
    words = shlex.split(line)
    words += ["-q"] if name == "run" else [*shlex.split(COMMON), "-o", str(report)]
    report = folder / f"{model}.run.h5" if name == "run" else report
    counts = folder / "steps"
    start = time.monotonic()
    code = ended(forked(words, steps=counts))
    if code not in (0, 4):
        raise SystemExit(f"{name}: the uninterrupted run ended with {code}: {shlex.join(words)}")
    case = Case(words, report, report.read_bytes(), time.monotonic() - start, int(counts.read_text()))
    report.unlink()
    return case


def killed(case: Case, rng: np.random.Generator, say: Callable[[str], None]) -> str:
    """Kill a run once or more and resume it; what went wrong, or nothing."""
    for _ in range(1 + int(rng.integers(2))):
        wait = 0.0
        number = SIGNALS[rng.integers(len(SIGNALS))]
        checkpoint = float(rng.choice([0.0, 0.0, 20.0]))
        if rng.integers(3):
            at = int(rng.integers(1, case.steps + 1))
            how = f"{number.name} at step {at} of {case.steps}, state every {checkpoint:.0f} s"
            code = ended(forked(case.words, at=at, number=number, checkpoint=checkpoint))
        else:
            wait = float(rng.uniform(0, case.seconds))
            how = f"{number.name} after {wait:.2f} of {case.seconds:.2f} s, state every {checkpoint:.0f} s"
            child = forked(case.words, checkpoint=checkpoint)
            time.sleep(wait)
            os.kill(child, number)
            sent = time.monotonic()
            code = ended(child)
            if number != signal.SIGKILL and time.monotonic() - sent > 4:
                return f"{how}: ended {time.monotonic() - sent:.1f} s after the signal"
        say(f"  {how}: {code}")
        if code not in ENDS | {4} or (code == 99 and wait > 1):
            return f"{how}: exit code {code}"
    code = ended(forked(case.words))
    if code not in (0, 4):
        return f"{how}: the resumed run ended with {code}"
    same = case.report.read_bytes() == case.bytes
    left = case.report.with_name(f"{case.report.name}.parts").exists()
    case.report.unlink()
    return "" if same and not left else f"{how}: {'parts are left' if same else 'other bytes'}"


@click.command()
@click.option("--count", type=int, default=200, show_default=True, help="Kills, over all commands.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--framework", "frameworks", multiple=True, type=click.Choice(["torch", "tensorflow"]))
@click.option("--only", multiple=True, help="Only commands whose name holds this.")
@click.option("--verbose", is_flag=True)
def main(count: int, seed: int, frameworks: tuple[str, ...], only: tuple[str, ...], *, verbose: bool) -> None:
    """Kill and resume; exit code 1 and a line for each report that is not the uninterrupted one."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    rng, wrong, begun = np.random.default_rng(seed), 0, time.monotonic()
    chosen = frameworks or ("torch", "tensorflow")
    names = [name for name in COMMANDS if not only or any(part in name for part in only)]
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        for name in ("mlp_tanh.pt", "mlp_tanh.pt.toml", "digits.npz"):
            shutil.copy(ROOT / "sample_models" / name, folder / name)
        shutil.copytree(ROOT / "sample_models" / "mlp_tanh", folder / "saved" / "mlp_tanh")
        shutil.copy(ROOT / "sample_models" / "digits.npz", folder / "saved" / "digits.npz")
        for framework in chosen:
            place, model = (folder, "mlp_tanh.pt") if framework == "torch" else (folder / "saved", "mlp_tanh")
            imported(framework)
            done = 0
            share = -(-count // len(chosen))
            for position, name in enumerate(names):
                kills = share * (position + 1) // len(names) - done
                if not kills:
                    continue
                done += kills
                case = prepared(place, name, model, place / "r.h5")
                click.echo(f"{framework}, {name}: {kills} kills of a run of {case.steps} steps, {case.seconds:.1f} s")
                for _ in range(kills):
                    problem = killed(case, rng, click.echo if verbose else lambda text: None)
                    if problem:
                        wrong += 1
                        click.echo(f"WRONG {framework}, {name}: {problem}")
                        shutil.rmtree(case.report.with_name(f"{case.report.name}.parts"), ignore_errors=True)
    click.echo(f"{count} kills, {wrong} wrong, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
