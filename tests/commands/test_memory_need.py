"""What memory a run needs is said before, refused where it is not there, and about what it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from curvcli.analysis.memory_need import Need, refuse_too_large
from curvcli.errors import ModelError, UsageError

from .conftest import SPEC, Curvcli

MIB = 1 << 20
# How far the formula may be from the largest size that the system saw.
FACTOR = 1.5


def need(**changed: object) -> Need:
    """A sum of 1,000 MiB in 2,000 MiB, with some parts changed."""
    parts = {
        "quantity": "trace",
        "in_use": 300 * MIB,
        "parameters": 50 * MIB,
        "product": 100 * MIB,
        "per_sample": 5 * MIB,
        "batch": 100,
        "vectors": 100 * MIB,
        "vector": 50 * MIB,
        "allowed": 2000 * MIB,
        "limited": False,
        "fixed": False,
    }
    return Need(**{**parts, **changed})  # type: ignore[arg-type]


def test_the_formula_is_a_sum_with_its_parts() -> None:
    """And what is too much, with the batch that fits."""
    assert need().words() == (
        "memory, trace: in use 300 MiB (parameters 50 MiB) + product 100 MiB + graph 5 MiB per sample × 100 + vectors "
        "2 × 50 MiB = 1000 MiB; free and in use 2.0 GiB"
    )
    assert (need().missing, need().fitting) == (0, 100)
    short = need(allowed=800 * MIB, limited=True)
    assert (short.missing, short.fitting) == (200 * MIB, 60)
    assert need(batch=short.fitting, allowed=800 * MIB).missing == 0
    assert need(batch=short.fitting + 1, allowed=800 * MIB).missing > 0
    assert "allowed 800 MiB: 200 MiB too much; " in short.words()


@pytest.mark.parametrize(
    ("changed", "error", "advice"),
    [
        ({"allowed": 800 * MIB}, ModelError, "--batch-size 60 fits"),
        ({"allowed": 800 * MIB, "limited": True}, UsageError, "--batch-size 60 fits"),
        ({"allowed": 800 * MIB, "fixed": True}, ModelError, "choose fewer --probes, or fewer layers with --layer"),
        ({"allowed": 400 * MIB}, ModelError, "choose fewer --probes, or fewer layers with --layer"),
    ],
)
def test_what_is_not_there_is_named(changed: dict[str, object], error: type[Exception], advice: str) -> None:
    """The worst quantity's, in two lines: exit 2 for a limit, 3 for a machine."""
    refuse_too_large([need(), need(in_use=0)])
    with pytest.raises(error, match="MiB more than") as refused:
        refuse_too_large([need(), need(**changed)])
    assert advice in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2


def test_a_limit_that_the_model_does_not_fit_is_refused_before_work(work: Path, curvcli: Curvcli) -> None:
    """With what is missing; a plan shows it instead, and as numbers."""
    done = curvcli("trace", "model.pt", "--memory-limit", "1MiB")
    assert done.returncode == 2
    assert "trace needs" in done.stderr or "the run needs" in done.stderr
    assert "more than --memory-limit '1 MiB' allows: in use" in done.stderr
    assert not list(work.glob("*.h5*"))
    plan = json.loads(curvcli("trace", "model.pt", "--memory-limit", "1MiB", "--dry-run", "--format", "json").stdout)
    (memory,) = plan["memory"]
    parts = memory["in_use"] + memory["product"] + memory["per_sample"] * memory["batch"] + memory["vectors"]
    assert memory["quantity"] == "trace"
    assert memory["total"] == parts
    assert memory["missing"] == parts - MIB
    table = curvcli("trace", "model.pt", "--dry-run")
    assert "\nmemory, trace: in use " in table.stdout
    assert "too much" not in table.stdout


class Drawn(nn.Module):
    """Convolutions and dense layers of random sizes."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        channels, hidden = int(rng.integers(16, 49)), int(rng.integers(200, 3000))
        self.one, self.two = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        self.middle, self.head = nn.Linear(channels * 16, hidden), nn.Linear(hidden, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.two(torch.tanh(self.one(x))))
        h = nn.functional.adaptive_avg_pool2d(h, 4).flatten(1)
        return self.head(torch.tanh(self.middle(h)))


def saved(folder: Path, rng: np.random.Generator, framework: str, batch: int, pixels: int) -> Path:
    """A random network of a framework, with its data beside it."""
    shape = (batch, 3, pixels, pixels) if framework == "torch" else (batch, pixels, pixels, 3)
    np.savez(folder / "data.npz", x=rng.standard_normal(shape).astype(np.float32), y=rng.integers(0, 3, batch))
    if framework == "torch":
        torch.manual_seed(int(rng.integers(1000)))
        model = folder / "drawn.pt"
        torch.jit.save(torch.jit.script(Drawn(rng)), model)
    else:
        model = folder / "drawn.keras"
        sizes = [int(rng.integers(16, 49)), int(rng.integers(200, 3000)), pixels]
        subprocess.run([sys.executable, "-c", KERAS, str(model), *map(str, sizes)], check=True, capture_output=True)
    (folder / f"{model.name}.toml").write_text(SPEC.replace("batch_size = 16", f"batch_size = {batch}"))
    return model


KERAS = """import sys
import keras
channels, hidden, pixels = map(int, sys.argv[2:])
layers = keras.layers
keras.utils.set_random_seed(0)
keras.Sequential([
    layers.Input((pixels, pixels, 3), name="x"),
    layers.Conv2D(channels, 3, padding="same", activation="tanh", name="one"),
    layers.Conv2D(channels, 3, padding="same", activation="tanh", name="two"),
    layers.AveragePooling2D(pixels // 4), layers.Flatten(),
    layers.Dense(hidden, activation="tanh", name="middle"), layers.Dense(3, name="head"),
]).save(sys.argv[1])
"""
RUN = (
    "import re, sys; from curvcli.cli.main import run; code = run(sys.argv[1:]);"
    "kib = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1];"
    "print('peak', int(kib) << 10, file=sys.stderr); sys.exit(code)"
)


def ran(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which says its largest size at the end."""
    return subprocess.run(
        [sys.executable, "-c", RUN, *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ},
    )


COMMANDS = {
    "hutchinson": ("trace", "--whole-model", "--method", "hutchinson", "--probes", 4, "--budget", 0),
    "hutch++": ("trace", "--layer", "middle", "--method", "hutch++", "--probes", 48, "--budget", 0),
    "xtrace": ("trace", "--layer", "middle", "--method", "xtrace", "--probes", 24, "--budget", 0),
    "diag": ("diag", "--layer", "middle", "--layer", "head"),
    "eigs": ("eigs", "--layer", "middle", "-k", 1, "--max-products", 20),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_formula_is_about_what_a_run_takes(command: str, framework: str, seed: int, tmp_path: Path) -> None:
    """Over random networks whose graph, parameters or vectors take most of it, on a single batch."""
    rng = np.random.default_rng(seed)
    model = saved(tmp_path, rng, framework, batch=(8, 64)[seed], pixels=(64, 32)[seed])
    words = (*COMMANDS[command], model.name)
    plan = ran(tmp_path, *words, "--dry-run", "--format", "json")
    assert plan.returncode == 0, plan.stderr
    (memory,) = json.loads(plan.stdout)["memory"]
    done = ran(tmp_path, *words, "--no-verify", "-o", "r.h5")
    assert done.returncode in (0, 4), done.stderr
    peak = int(done.stderr.split()[-1])
    assert 1 / FACTOR < memory["total"] / peak < FACTOR, (memory, peak)


@pytest.mark.slow
def test_the_batch_that_is_advised_fits(tmp_path: Path) -> None:
    """A limit below the need is refused; with the batch size that the message names it is not."""
    model = saved(tmp_path, np.random.default_rng(3), "torch", batch=64, pixels=64)
    words = ("trace", "--layer", "head", "--method", "hutchinson", "--probes", 4, "--budget", 0, model.name)
    (memory,) = json.loads(ran(tmp_path, *words, "--dry-run", "--format", "json").stdout)["memory"]
    limit = memory["total"] - memory["per_sample"] * 32
    refused = ran(tmp_path, *words, "--memory-limit", limit)
    assert refused.returncode == 2
    fitting = int(refused.stderr.partition("--batch-size ")[2].split()[0])
    assert 16 <= fitting < 64
    done = ran(tmp_path, *words, "--memory-limit", limit, "--batch-size", fitting - 8)
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) <= 1.1 * limit
