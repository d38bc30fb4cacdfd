"""``--data-rtol``: a random subset that is large enough, and what the report says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from same_reports.compare import contents, equal

from .conftest import SPEC, Curvcli, Net

SAMPLES = 2000


class OneNumber(Net):
    """One number for the whole batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.two(torch.tanh(self.one(x)))).mean()


@pytest.fixture
def sorted_data(work: Path) -> Path:
    """Data sorted by class, of which the last is rare and far from the others."""
    rng = np.random.default_rng(0)
    y = np.sort(rng.choice(3, SAMPLES, p=[0.5, 0.35, 0.15]))
    np.savez(work / "data.npz", x=rng.standard_normal((SAMPLES, 4)) + y[:, None], y=y)
    (work / "model.pt.toml").write_text(SPEC.replace("batch_size = 16", "batch_size = 32"))
    return work


def figures(path: Path) -> dict[str, Any]:
    """All of a report that does not tell of how many samples were looked at before."""
    told = ("@available", "@data_rtol", "@data_error", "@data_worst")
    return {name: value for name, value in contents(path).items() if not name.endswith(told)}


def traces(path: Path) -> dict[str, float]:
    """Every layer's, or the sum of its diagonal."""
    with h5py.File(path) as file:
        names = [name.decode() for name in file["summary/layer"][()]]
        return dict(zip(names, file["summary/trace"][()].tolist(), strict=True))


def of_subset(path: Path) -> dict[str, Any]:
    """What a report says of its samples."""
    with h5py.File(path) as file:
        attributes = file["provenance"].attrs
        return {name: attributes[name] for name in ("samples", "available", "data_rtol", "data_error", "data_worst")}


@pytest.mark.parametrize(
    ("rtol", "command"),
    [
        (0.06, ("diag", "-l", "two")),
        (0.2, ("trace", "-l", "one", "--whole-model", "--method", "hutchinson", "--probes", 8)),
    ],
)
def test_the_run_is_that_of_a_limit_and_says_what_error_is_left(
    rtol: float, command: tuple[str, ...], sorted_data: Path, curvcli: Curvcli
) -> None:
    """To the bit; and the figures of all samples lie where it says."""
    first = curvcli(*command, "model.pt", "--data-rtol", rtol, "-o", "few.h5")
    assert first.returncode == 0, first.stderr
    told = of_subset(sorted_data / "few.h5")
    used = int(told["samples"])
    assert told["available"] == SAMPLES
    assert 512 <= used < SAMPLES
    assert 0 < told["data_error"] <= told["data_rtol"] == rtol
    assert f"{used} of {SAMPLES} samples are enough: error over the data" in first.stderr
    assert f"--limit {used} --shuffle" in first.stderr
    assert f"samples  {used} of {SAMPLES}, at random: error over the data at most" in first.stdout
    second = curvcli(*command, "model.pt", "--limit", used, "--shuffle", "-o", "limited.h5")
    assert second.returncode == 0, second.stderr
    left, right = figures(sorted_data / "few.h5"), figures(sorted_data / "limited.h5")
    assert left.keys() == right.keys()
    assert [name for name in left if not equal(left[name], right[name])] == []
    assert not list(sorted_data.glob("*.parts"))
    whole = curvcli(*command, "model.pt", "-o", "all.h5")
    assert whole.returncode == 0
    few, every = traces(sorted_data / "few.h5"), traces(sorted_data / "all.h5")
    # The largest error is told; ± 3 of it hold for every layer but one in 300, and probes add theirs.
    bound = 3 * told["data_error"]
    assert all(abs(few[name] / every[name] - 1) < bound for name in every)


def test_too_strict_an_aim_uses_all_samples(sorted_data: Path, curvcli: Curvcli) -> None:
    """And the report is one on all data, with no error left."""
    done = curvcli("trace", "model.pt", "--data-rtol", 1e-300, "-l", "two", "-o", "all.h5")
    assert done.returncode == 0, done.stderr
    assert f"{SAMPLES} of {SAMPLES} samples are used: there is no error over the data" in done.stderr
    told = of_subset(sorted_data / "all.h5")
    assert (told["samples"], told["data_error"], told["data_worst"]) == (SAMPLES, 0, "")
    assert f"samples  {SAMPLES} of {SAMPLES}\n" in done.stdout


def test_a_limit_is_all_there_is_to_choose_from(sorted_data: Path, curvcli: Curvcli) -> None:
    """And the classes' shares may be kept besides."""
    done = curvcli("trace", "model.pt", "--data-rtol", 1e-9, "-l", "two", "--limit", 100, "--stratify", "-o", "r.h5")
    assert done.returncode == 0, done.stderr
    assert of_subset(sorted_data / "r.h5")["available"] == 100
    assert of_subset(sorted_data / "r.h5")["samples"] == 100


@pytest.mark.parametrize("value", ["0", "-0.1", "nan", "inf", "-inf", "x", ""])
def test_what_is_no_tolerance_is_refused(value: str, work: Path, curvcli: Curvcli) -> None:
    """Before anything is opened, in a line that names the option."""
    done = curvcli("trace", "model.pt", f"--data-rtol={value}")
    assert done.returncode == 2
    assert "--data-rtol" in done.stderr


@pytest.mark.parametrize("changed", ["sum", "one number"])
def test_what_a_subset_says_nothing_of_is_refused(changed: str, work: Path, curvcli: Curvcli) -> None:
    """With what to do about it."""
    spec = work / "model.pt.toml"
    if changed == "sum":
        spec.write_text(spec.read_text().replace("from_logits = true", 'from_logits = true\nreduction = "sum"'))
    else:
        torch.jit.save(torch.jit.script(OneNumber()), work / "model.pt")
        head, _, tail = spec.read_text().partition("[target]")
        spec.write_text(f'{head}[loss]\nname = "output"\n{tail[tail.index("[sampling]") :]}')
    done = curvcli("trace", "model.pt", "--data-rtol", 0.1)
    assert done.returncode == 2
    said = {"sum": "the loss is a sum, whose figures grow", "one number": "which makes the data one sample"}[changed]
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


def test_a_config_without_traces_or_diagonals_is_refused(work: Path, curvcli: Curvcli) -> None:
    """Eigenvalues have no error over the data; beside traces they are those of the same samples."""
    (work / "run.toml").write_text(
        'model = "model.pt"\nlayer = "two"\ndata-rtol = 0.4\nbatch-size = 1\n[eigs]\nk = 1\n'
    )
    done = curvcli("run", "run.toml")
    assert done.returncode == 2
    assert (
        "--data-rtol: of what is requested nothing has an error over the data; traces and diagonals have."
        in done.stderr
    )
    (work / "run.toml").write_text((work / "run.toml").read_text() + "[diag]\n")
    done = curvcli("run", "run.toml", "--format", "json")
    assert done.returncode == 0, done.stderr
    provenance = json.loads(done.stdout)["provenance"]
    assert provenance["available"] == 37
    assert provenance["data_error"] <= 0.4


def test_a_plan_says_at_most(sorted_data: Path, curvcli: Curvcli) -> None:
    """It looks at the first subset alone, and counts all batches."""
    done = curvcli("trace", "model.pt", "--data-rtol", 0.1, "--dry-run", "--format", "json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["batches"] == -(-SAMPLES // 32)
    assert plan["passes"] >= plan["batches"]
    table = curvcli("trace", "model.pt", "--data-rtol", 0.1, "--dry-run").stdout
    assert "at most" in table.splitlines()[-2]
    assert not list(sorted_data.glob("*.h5*"))


def test_a_subset_is_not_taken_for_all_the_data(sorted_data: Path, curvcli: Curvcli) -> None:
    """Nor for another subset; a verdict says what it is about."""
    for name, words in {"all": (), "few": ("--data-rtol", 0.009), "less": ("--data-rtol", 0.3)}.items():
        assert curvcli("trace", "model.pt", "-l", "two", *words, "-o", f"{name}.h5", "--force").returncode == 0
    used = int(of_subset(sorted_data / "few.h5")["samples"])
    done = curvcli("compare", "all.h5", "few.h5")
    assert done.returncode == 2
    assert f"other data ({used} samples, was {SAMPLES})" in done.stderr
    assert curvcli("compare", "less.h5", "few.h5").returncode == 2
    allowed = curvcli("compare", "all.h5", "few.h5", "--allow-mismatch")
    assert f"NEW: samples {used} of {SAMPLES}, at random" in allowed.stdout + allowed.stderr
    verdict = curvcli("assert", "few.h5", "--max", "trace=1e9")
    assert verdict.returncode == 0, verdict.stderr
    assert f"samples {used} of {SAMPLES}, at random" in verdict.stdout + verdict.stderr


def test_classes_that_a_subset_misses_are_told(sorted_data: Path, curvcli: Curvcli) -> None:
    """With the option that keeps their shares; not where they are there, or nothing was left out."""
    spec = sorted_data / "model.pt.toml"
    data = dict(np.load(sorted_data / "data.npz"))
    np.savez(sorted_data / "data.npz", x=data["x"], y=np.where(np.isin(np.arange(SAMPLES), [1, 2]), 2, data["y"] % 2))
    missed = curvcli("trace", "model.pt", "-l", "two", "--limit", 20)
    assert missed.returncode == 0
    assert "of 3 classes the random subset of 20 samples has none of 1 (2); --stratify keeps" in missed.stderr
    assert "random subset" not in curvcli("trace", "model.pt", "-l", "two").stderr
    spec.write_text(f"{spec.read_text()}stratify = true\nlimit = 20\n")
    kept = curvcli("trace", "model.pt", "-l", "two")
    assert "has none of 1 (2)" in kept.stderr  # 2 of 2000 have no share of 20
    assert "--stratify" not in kept.stderr


@pytest.mark.slow
def test_workers_find_the_same_samples_and_figures(sorted_data: Path, curvcli: Curvcli) -> None:
    """To the bit, with as many threads each."""
    words = ("trace", "model.pt", "--data-rtol", 0.06)
    assert curvcli(*words, "--threads", 1, "-o", "one.h5").returncode == 0
    assert curvcli(*words, "--workers", 2, "--threads", 2, "-o", "two.h5").returncode == 0
    left, right = contents(sorted_data / "one.h5"), contents(sorted_data / "two.h5")
    assert [name for name in left if not equal(left[name], right[name])] == []
