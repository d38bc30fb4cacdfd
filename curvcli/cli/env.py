"""``curvcli env``: versions and devices, and which backend is missing and why."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from curvcli.cli.command import Command
from curvcli.cli.confinement import landlock_version
from curvcli.errors import ExitCode
from curvcli.models.processors import affinity, available_processors, cpu_quota
from curvcli.version import __version__

# Each backend is imported in a process of its own: two frameworks in one have a history of crashing each other.
_QUESTIONS = {
    "torch": (
        "from curvcli.models.torch.threads import use; use(None, '');"
        "import torch, json; n = torch.cuda.device_count();"
        "print(json.dumps({'version': torch.__version__, 'threads': torch.get_num_threads(),"
        " 'devices': ['cpu'] + [f'cuda:{i} ({torch.cuda.get_device_name(i)})' for i in range(n)]}))"
    ),
    "tensorflow": (
        "from curvcli.models.tensorflow.threads import threads_in_use, use; use(None, '');"
        "import tensorflow as tf, json;"
        "print(json.dumps({'version': tf.__version__, 'threads': threads_in_use(),"
        " 'devices': ['cpu'] + [f'cuda:{i}' for i, _ in enumerate(tf.config.list_physical_devices('GPU'))]}))"
    ),
}

# What else the frameworks take their number of threads from.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


@click.command("env", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")
def command(as_json: bool) -> int:
    r"""Show versions and devices, and which backend is missing and why.

    \b
      curvcli env
      curvcli env --json
    """
    environment: dict[str, Any] = {
        "curvcli": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": {"affinity": affinity(), "quota": cpu_quota(), "available": available_processors()},
        "confined": landlock_version(),
        "packages": {name: _version(name) for name in ("numpy", "h5py", "click", "rich", "pydantic", "ray")},
        "backends": {name: _backend(name) for name in _QUESTIONS},
    }
    if as_json:
        click.echo(json.dumps({"schema_version": "1.0", **environment}, indent=2))
        return int(ExitCode.DONE)
    click.echo(f"curvcli {environment['curvcli']}, Python {environment['python']}, {environment['platform']}")
    for name, number in environment["packages"].items():
        click.echo(f"{name:<11} {number}")
    click.echo(f"files       {_confinement(environment['confined'])}")
    click.echo(f"processors  {_processors(**environment['processors'])}")
    for name, answer in environment["backends"].items():
        if "version" in answer:
            threads = f"{answer['threads']} thread{'s' if answer['threads'] != 1 else ''}"
            click.echo(f"{name:<11} {answer['version']}: {', '.join(answer['devices'])}; {threads}")
        else:
            click.echo(f"{name:<11} missing: {answer['missing']}")
    return int(ExitCode.DONE)


def _confinement(version: int) -> str:
    if version:
        return f"while a model is open, written only beside the report (Landlock {version})"
    return "the system can't confine what a model's code writes (no Landlock); its operations are still held to a list"


def _processors(affinity: int, quota: float | None, available: int) -> str:
    """How many there are for this process, why, and what else decides on threads."""
    limit = "no CPU quota" if quota is None else f"a CPU quota of {quota:g}"
    named = [f"{name}={os.environ[name]}" for name in _THREADS if os.environ.get(name)]
    return "; ".join([f"{available} to compute on: {affinity} by the affinity mask, {limit}", *named])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _backend(name: str) -> dict[str, Any]:
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _QUESTIONS[name]],
            capture_output=True,
            text=True,
            timeout=300,
            env=quiet,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"missing": "importing it took longer than five minutes"}
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"importing it ended with exit code {done.returncode}"
    if f"No module named '{name}'" in reason:
        return {"missing": f"not installed; run: pip install 'curvcli[{name}]'"}
    return {"missing": reason[:300]}
