"""docs/ci.md does what it says: its workflow's steps, shell lines and tests run on a real model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .conftest import save_model

Blocks = Callable[[str, str], list[str]]
CURVCLI = f'curvcli() {{ "{sys.executable}" -m curvcli "$@"; }}\n'


def bash(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", CURVCLI + text],
        cwd=folder,
        env={**os.environ, "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "test_curvature.py"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def steps(blocks: Blocks) -> dict[str, str]:
    """The workflow's shell steps by name."""
    (text,) = blocks("ci.md", "yaml")
    workflow = yaml.safe_load(text)
    assert set(workflow) == {"name", True, "jobs"}  # YAML 1.1 reads "on" as true, GitHub does not
    (job,) = workflow["jobs"].values()
    assert job["runs-on"]
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    return {step["name"]: step["run"] for step in job["steps"] if "name" in step}


@pytest.fixture(scope="module")
def accepted(repository: Path, blocks: Blocks) -> Path:
    """The repository that docs/ci.md describes."""
    (config,), (tests,) = blocks("ci.md", "toml"), blocks("ci.md", "python")
    (repository / "curvature.toml").write_text(config)
    (repository / "test_curvature.py").write_text(tests)
    baseline, *_ = blocks("ci.md", "sh")
    done = bash(baseline, repository)
    assert done.returncode == 0, done.stderr
    assert (repository / "baseline.h5").exists()
    return repository


def test_every_step_and_test_passes_on_what_was_accepted(accepted: Path, steps: dict[str, str], blocks: Blocks) -> None:
    """Check, compute, assert, compare, summary; the JUnit lines; the pytest example."""
    assert {line.split()[1] for line in steps.values()} == {"check", "run", "assert", "compare", "show"}
    for name, text in steps.items():
        done = bash(text, accepted)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    assert "cross_entropy" in (accepted / "summary.md").read_text()
    done = bash(blocks("ci.md", "sh")[1], accepted)
    assert done.returncode == 0, done.stderr
    assert "<testsuite" in (accepted / "assert.xml").read_text()
    assert "<testsuite" in (accepted / "compare.xml").read_text()
    done = bash(blocks("ci.md", "sh")[2], accepted)
    assert done.returncode == 0, done.stderr
    assert "not judged" in done.stdout
    tested = run_tests(accepted)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout


def test_another_model_fails_the_comparison_and_only_that(
    accepted: Path, steps: dict[str, str], tmp_path: Path
) -> None:
    """Other weights: the thresholds still hold, the comparison ends with 1 and an annotation, and so does its test."""
    folder = shutil.copytree(accepted, tmp_path / "changed")
    save_model(folder, 1)
    tested = run_tests(folder)
    assert tested.returncode == 1
    assert "1 failed, 1 passed" in tested.stdout
    compared = bash(steps["Compare with the accepted report"], folder)
    assert compared.returncode == 1
    assert compared.stdout.startswith("::error title=curvcli compare")
