"""The peak memory of every command under ``--memory-limit``, for a net of five million parameters in both frameworks.

``python tests/benchmarks/memory.py [--limit 1500M] [--only trace]`` prints a table; each command runs in a process of
its own, and its peak is what the system says of it (``ru_maxrss``, the VmHWM of /proc).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

INPUTS, HIDDEN, CLASSES = 784, (2048, 1600), 10
SPEC = """version = 1
[source]
format = "npz"
path = "data.npz"
[inputs.x]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
[sampling]
batch_size = 16
"""
COMMANDS = {
    "diag": "diag {model} --limit 16 --layer last --layer first --budget 1 --probes 8",
    "diag xdiag": "diag {model} --layer first --method xdiag --probes 8 --limit 16",
    "trace": "trace {model} --whole-model --probes 16",
    "trace layers": "trace {model} --probes 32 --budget 1",
    "trace last": "trace {model} --layer last --probes 20000 --budget 1 --limit 16",
    "eigs": "eigs {model} --layer last --layer first -k 2 --max-products 40",
    "density": "density {model} --whole-model --probes 4 --steps 20 --limit 32",
    "hessian": "hessian {model} --layer first --limit 16",
    "inputs": "inputs {model} --budget 0 --probes 8",
    "inputs taylor": "inputs {model} --limit 16 --method taylor",
    "split": "split {model} --at last",
    "run": "run {folder}/run.toml",
}
# TensorFlow itself takes 600 MB more.
LIMITS = {"torch": "1400M", "tensorflow": "2000M"}
CONFIG = """model = "{model}"
layer = ["last", "first"]
limit = 16
output = "run.h5"
[diag]
budget = 1
probes = 8
[trace]
budget = 1
probes = 16
[density]
probes = 2
steps = 8
"""


@dataclass(frozen=True)
class Peak:
    """What a command took.

    Attributes:
        command: its name in the table.
        framework: torch or tensorflow.
        limit: bytes allowed; 0 where none was.
        bytes: most in physical memory.
        code: exit code.
        seconds: it took.
        said: on standard error.
    """

    command: str
    framework: str
    limit: int
    bytes: int
    code: int
    seconds: float
    said: str

    @property
    def ratio(self) -> float:
        """Peak over limit."""
        return self.bytes / self.limit


def build(folder: Path, framework: str) -> Path:
    """Save the net, its data and its spec; returns the model's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.standard_normal((64, INPUTS)), y=rng.integers(0, CLASSES, 64))
    model = folder / ("net.pt" if framework == "torch" else "net")
    (folder / f"{model.name}.toml").write_text(SPEC)
    (folder / "run.toml").write_text(CONFIG.format(model=model.name))
    # In a process of its own: this one's memory must stay small, for a child's peak begins with it.
    subprocess.run([sys.executable, __file__, "--build", framework, str(model)], check=True, capture_output=True)
    return model


def _build_torch(path: str) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    sizes = (INPUTS, *HIDDEN, CLASSES)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.middle, self.last = (nn.Linear(a, b) for a, b in pairwise(sizes))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.middle(torch.tanh(self.first(x)))))

    torch.jit.save(torch.jit.script(Net()), path)


def _build_tensorflow(path: str) -> None:
    import tensorflow as tf

    tf.random.set_seed(0)
    sizes = (INPUTS, *HIDDEN, CLASSES)

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, a, b in zip(("first", "middle", "last"), sizes, sizes[1:], strict=False):
                kernel = tf.random.normal([a, b]) / a**0.5
                setattr(
                    self,
                    name,
                    (tf.Variable(kernel, name=f"{name}/kernel"), tf.Variable(tf.zeros([b]), name=f"{name}/bias")),
                )

        @tf.function(input_signature=[tf.TensorSpec([None, INPUTS], tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            for name in ("first", "middle"):
                kernel, bias = getattr(self, name)
                x = tf.tanh(x @ kernel + bias)
            return {"logits": x @ self.last[0] + self.last[1]}

    net = Net()
    tf.saved_model.save(net, path, signatures=net.__call__)


def measure(name: str, model: Path, framework: str, limit: int) -> Peak:
    """Run a command in a process of its own."""
    words = shlex.split(COMMANDS[name].format(model=model, folder=model.parent))
    limited = name not in ("split", "run")
    if name == "run" and limit:
        text = (model.parent / "run.toml").read_text()
        if "memory-limit" not in text:
            (model.parent / "run.toml").write_text(f"memory-limit = {limit}\n{text}")
    words += ["--memory-limit", str(limit)] if limit and limited else []
    words += ["--force", "-q"] if name == "run" else ["-q", "-o", str(model.parent / "r.h5"), "--force"]
    start = time.monotonic()
    with (model.parent / "said").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "curvcli", *words], stdout=subprocess.DEVNULL, stderr=said, env={**os.environ}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().strip().splitlines()
    return Peak(
        name,
        framework,
        limit,
        usage.ru_maxrss * 1024,
        process.returncode,
        time.monotonic() - start,
        " ".join(lines),
    )


@click.command()
@click.option("--limit", help="For both frameworks; 0 for none. Default: 1400M for torch, 2000M for tensorflow.")
@click.option("--framework", "frameworks", multiple=True, type=click.Choice(["torch", "tensorflow"]))
@click.option("--only", multiple=True, help="Only commands whose name holds this.")
@click.option("--build", nargs=2, hidden=True)
def main(limit: str | None, frameworks: tuple[str, ...], only: tuple[str, ...], build: tuple[str, str] | None) -> None:
    """Print the table."""
    if build is not None:
        {"torch": _build_torch, "tensorflow": _build_tensorflow}[build[0]](build[1])
        return
    from curvcli.analysis.options.kinds import Size

    click.echo("| command | framework | limit MB | peak MB | ratio | exit | s |\n|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as directory:
        for framework in frameworks or ("torch", "tensorflow"):
            size = limit or LIMITS[framework]
            allowed = 0 if size == "0" else Size().read(size)
            model = globals()["build"](Path(directory) / framework, framework)
            for name in COMMANDS:
                if only and not any(part in name for part in only):
                    continue
                peak = measure(name, model, framework, allowed)
                ratio = f"{peak.ratio:.2f}" if allowed else ""
                click.echo(
                    f"| {name} | {framework} | {allowed / 1e6:.0f} | {peak.bytes / 1e6:.0f} | {ratio} | {peak.code} "
                    f"| {peak.seconds:.0f} |{f' {peak.said}' if peak.code else ''}"
                )


if __name__ == "__main__":
    main()
