"""``curvcli compare`` and a whole pipeline, as a shell script in CI runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from fuzzing.runner import Server
from once import once
from sklearn.datasets import load_digits
from torch import nn

from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report

from .conftest import SPEC, Curvcli

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# One thread: on so small a network several only wait for each other.
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "1700000000", "OMP_NUM_THREADS": "1"}
CONFIG = """model = "{name}.pt"
output = "{output}.h5"
dtype = "float64"
seed = {seed}
[diag]
[trace]
method = "hutchinson"
[eigs]
k = 3
"""


class Net(nn.Module):
    """Small enough for a test, smooth enough for a Hessian that probes have to guess."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 10), nn.Linear(10, 10), nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """Two checkpoints of one training run, two steps apart, and reports: the first also with other probes."""
    folder = tmp_path_factory.mktemp("pipeline")
    digits = load_digits()
    x, y = digits.data[:256] / 16, digits.target[:256]
    np.savez(folder / "data.npz", x=x, y=y)
    torch.manual_seed(0)
    net = Net().double()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for step in range(13):
        if step in (10, 12):
            name = "first" if step == 10 else "second"
            torch.jit.save(torch.jit.script(net), folder / f"{name}.pt")
            (folder / f"{name}.pt.toml").write_text(SPEC.replace("batch_size = 16", "batch_size = 256"))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    for name, output, seed in (("first", "first", 0), ("first", "again", 1), ("second", "second", 0)):
        (folder / f"{output}.toml").write_text(CONFIG.format(name=name, output=output, seed=seed))
        done = server.run(["run", f"{output}.toml", "-q"], folder, {**os.environ, **ENVIRONMENT}, bytes=1 << 40)
        assert done.code == 0, done.stderr
    return folder


def script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A shell script that ends at its first failure."""
    curvcli = f'set -e\ncurvcli() {{ "{sys.executable}" -m curvcli "$@"; }}\n'
    return subprocess.run(
        ["sh", "-c", curvcli + text],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def here(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in the pipeline's folder."""
    monkeypatch.chdir(pipeline)
    return pipeline


# -- the pipeline -----------------------------------------------------------------------------------------------------

PIPELINE = """
curvcli assert {new}.h5 --finite --converged --max 'fc*:top_eigenvalue={most}' --max loss=2 --format github
curvcli compare {old}.h5 {new}.h5 {options} --format github
echo the end
"""


def test_a_pipeline_passes_when_only_the_probes_differ(pipeline: Path) -> None:
    """Rules hold, noise is no change, even without a tolerance: the script comes to its end."""
    done = script(PIPELINE.format(old="first", new="again", most=50, options="--rtol 0"), pipeline)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "::notice title=curvcli assert::11 assertions hold",
        "::notice title=curvcli compare::none of 31 figures changed beyond tolerance and their error bars (sigma 4)",
        "the end",
    ]


def column(path: Path, quantity: str) -> dict[str, float]:
    """A quantity per layer, as HDF5 has it."""
    with h5py.File(path) as report:
        return dict(zip(report["summary/layer"].asstr()[()], report[f"summary/{quantity}"][()], strict=True))


def test_a_pipeline_stops_at_a_change_and_says_which(pipeline: Path) -> None:
    """Two steps of training further on: exit code 1 and an annotation for each exact figure that is 10 % off."""
    expected = {}
    for quantity in ("gradient_norm", "top_eigenvalue"):
        old, new = (column(pipeline / f"{name}.h5", quantity) for name in ("first", "second"))
        for layer in old:
            if abs(new[layer] - old[layer]) > 0.1 * max(old[layer], new[layer]):
                ratio = (new[layer] - old[layer]) / old[layer]
                expected[f"error title=curvcli compare%3A {layer}%3A {quantity}"] = f"{ratio:+.1%}25;"
    assert 0 < len(expected) < 6
    options = "--quantity gradient_norm --quantity top_eigenvalue"
    done = script(PIPELINE.format(old="first", new="second", most=50, options=options), pipeline)
    assert done.returncode == 1, done.stderr
    _, *errors, summary = done.stdout.splitlines()
    found = {title: message for _, title, message in (line.split("::") for line in errors)}
    assert found.keys() == expected.keys()
    assert all(expected[title] in found[title] for title in found)
    assert summary.startswith(f"::notice title=curvcli compare::{len(expected)} of 6 figures changed")


def test_a_pipeline_stops_at_a_broken_rule(pipeline: Path) -> None:
    """Before anything is compared."""
    top = column(pipeline / "second.h5", "top_eigenvalue")
    worst, second = sorted(top, key=lambda layer: top[layer])[:-3:-1]
    most = (top[worst] + top[second]) / 2
    done = script(PIPELINE.format(old="first", new="second", most=most, options=""), pipeline)
    assert done.returncode == 1
    error, summary = done.stdout.splitlines()
    assert error == (
        f"::error title=curvcli assert%3A {worst}%3A top_eigenvalue ≤ {most:g}"
        f"::{worst}: top_eigenvalue is {top[worst]:.4g}, must be ≤ {most:g}"
    )
    assert summary == "::notice title=curvcli assert::1 of 11 assertions failed"


@pytest.mark.parametrize(
    "broken",
    ["curvcli assert second.h5 --max 'fcc*:trace=1'", "curvcli compare lost.h5 second.h5", "curvcli assert second.h5"],
)
def test_a_mistake_in_a_pipeline_is_no_failed_assertion(broken: str, pipeline: Path) -> None:
    """A typing error, a lost baseline, a forgotten rule: exit code 2."""
    done = script(f"{broken}\necho the end", pipeline)
    assert (done.returncode, done.stdout) == (2, "")


# -- the command ------------------------------------------------------------------------------------------------------


def compare(*words: object) -> int:
    """Run the command in this process."""
    from curvcli.cli.main import run

    return run(["compare", *map(str, words)])


@pytest.mark.parametrize("form", ["table", "json", "markdown", "junit", "github"])
def test_results_go_to_stdout_and_the_rest_to_stderr(form: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each format stands alone on stdout; beside what only machines read, one line is for the log."""
    assert compare("first.h5", "second.h5", "--format", form) == 1
    said = capfd.readouterr()
    assert "eigenvalue_2" in said.out
    assert bool(said.err) == (form != "table")
    assert compare("first.h5", "second.h5", "--format", form, "-q") == 1
    assert capfd.readouterr() == (said.out, "")


def test_layers_and_quantities_can_be_chosen(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Patterns as elsewhere, globs of quantities; the loss only for the whole report or by name."""

    def chosen(*words: str) -> set[tuple[str, str]]:
        compare("first.h5", "second.h5", "--format", "json", "-q", *words)
        return {(c["layer"], c["quantity"]) for c in json.loads(capfd.readouterr().out)["changes"]}

    assert chosen("--layer", "fc1", "--quantity", "diagonal_m*") == {
        ("fc1", "diagonal_min"),
        ("fc1", "diagonal_max"),
        ("fc1", "diagonal_mean"),
    }
    assert chosen("--exclude", "fc[12]", "--quantity", "trace", "--quantity", "loss") == {
        ("fc3", "trace"),
        (None, "loss"),
    }
    assert (None, "loss") in chosen()
    assert (None, "loss") not in chosen("--layer", "fc*")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--rtol", "0.5"], 0),
        (["--rtol", "50%"], 0),
        (["--rtol", "0.5", "--rtol", "top_eigenvalue=0.01"], 1),
        (["--quantity", "trace", "--rtol", "0"], 1),
        (["--quantity", "trace", "--rtol", "0", "--sigma", "30"], 0),
        (["--quantity", "trace", "--rtol", "0", "--atol", "3"], 0),
        (["--quantity", "trace", "--rtol", "0", "--atol", "trace=3"], 0),
        (["--quantity", "negative_share"], 0),
        (["--quantity", "negative_share", "--atol", "0"], 1),
    ],
)
def test_tolerances_decide(words: list[str], code: int, here: Path) -> None:
    """For all quantities, or for one."""
    assert compare("first.h5", "second.h5", *words) == code


def test_a_config_sets_tolerances(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single number needs no list; the command line wins."""
    (here / "ci.toml").write_text('[compare]\nrtol = 0.5\natol = ["negative_share=1"]\n')
    assert compare("first.h5", "second.h5", "--config", "ci.toml") == 0
    assert compare("first.h5", "second.h5", "--config", "ci.toml", "--rtol", "0.01") == 1
    monkeypatch.setenv("CURVCLI_COMPARE_RTOL", "0.5 negative_share=1")
    assert compare("first.h5", "second.h5") == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["first.h5", "first.h5"], "same file"),
        (["lost.h5", "first.h5"], "lost.h5: no such file"),
        (["first.h5", "data.npz"], "not an HDF5 file"),
        (["first.h5", "cut.h5"], "cut.h5: truncated"),
        (["first.h5", "second.h5", "--quantity", "tarce"], "did you mean trace"),
        (["first.h5", "second.h5", "--quantity", "trace_stderr"], "`curvcli assert` holds it"),
        (["first.h5", "second.h5", "--quantity", "condition_number"], "in common"),
        (["first.h5", "second.h5", "--quantity", "trace", "--quantity", "support_*"], "--quantity 'support_*': not in"),
        (["first.h5", "second.h5", "--layer", "fc9"], "fc3"),
        (["first.h5", "second.h5", "--rtol", "tarce=1"], "no such quantity"),
        (["first.h5", "second.h5", "--rtol", "-1"], "is not a tolerance"),
        (["first.h5", "second.h5", "--atol", "nan"], "is not a tolerance"),
        (["first.h5", "partial.h5"], "NEW is partial"),
        (["first.h5", "other.h5"], "loss mse, was cross_entropy; reduction sum, was mean; other data"),
        (["first.h5", "fewer.h5"], "2 layers are missing: fc1, fc2"),
    ],
)
def test_mistakes_are_named(words: list[str], told: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one or two lines, nothing on stdout."""
    report = read_report(here / "first.h5")
    layers = [report.layer(row.name) for row in report.layers]
    other = replace(report.provenance, loss="mse", reduction="sum", dataset_digest="00")
    once(
        "compare, partial",
        here / "partial.h5",
        lambda path: write_report(path, layers, report.provenance, status="partial"),
    )
    once("compare, other", here / "other.h5", lambda path: write_report(path, layers, other))
    once("compare, fewer", here / "fewer.h5", lambda path: write_report(path, layers[2:], report.provenance))
    (here / "cut.h5").write_bytes((here / "first.h5").read_bytes()[:9000])
    assert compare(*words) == 2
    said = capfd.readouterr()
    assert told in said.err
    assert said.out == ""
    message = said.err[said.err.index("Error:") :]
    assert len(message.strip().splitlines()) <= 2


def test_neither_command_imports_a_framework(here: Path) -> None:
    """Reports are read without torch and TensorFlow."""
    code = (
        "import sys; from curvcli.cli.main import run; run(['compare', 'first.h5', 'second.h5']);"
        "run(['assert', 'first.h5', '--finite']); sys.exit(bool({'torch', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_help_names_formula_and_exit_codes(curvcli: Curvcli) -> None:
    """What counts as a change is no secret."""
    text = " ".join(curvcli("compare", "--help").stdout.split())
    assert "|new - old| > atol + rtol * max(|old|, |new|)" in text
    assert "Exit code 0" in text
