"""``trace``, ``eigs``, ``density``, ``hessian`` and ``run`` as a person or a script uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from curvcli.report.hdf5.digest import content_digest

from .conftest import ROOT, SPEC, Curvcli

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
QUANTITIES = ["trace", "eigs", "density", "hessian"]


@pytest.mark.parametrize("command", QUANTITIES)
def test_a_quantity_is_reported_per_layer_and_for_the_whole_model(command: str, work: Path, curvcli: Curvcli) -> None:
    """Results on stdout, progress on stderr, a report beside the model; the whole model is a row of its own."""
    done = curvcli(command, "model.pt", "--whole-model", "--layer", "*", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in json.loads(done.stdout)["layers"]] == ["one", "two", "(whole model)"]
    assert "passes" in done.stderr
    with h5py.File(work / f"model.pt.{command}.h5") as report:
        assert len(report["layers"]) == 3
    alone = curvcli(command, "model.pt", "--whole-model", "--format", "json", "-q")
    assert [row["name"] for row in json.loads(alone.stdout)["layers"]] == ["(whole model)"]
    assert alone.stderr == ""


@pytest.mark.parametrize("command", QUANTITIES)
def test_equal_runs_give_equal_bytes(command: str, work: Path, curvcli: Curvcli) -> None:
    """All randomness comes from the seed."""
    digests = []
    for _ in range(2):
        assert curvcli(command, "model.pt", "-q", "--no-resume").returncode == 0
        digests.append(content_digest(work / f"model.pt.{command}.h5"))
    assert digests[0] == digests[1]


def test_another_seed_gives_another_estimate(work: Path, curvcli: Curvcli) -> None:
    """And the layers asked for beside it do not."""

    def trace(*words: str) -> float:
        done = curvcli("trace", "model.pt", "--method", "xtrace", "--probes", "8", "--format", "json", "-q", *words)
        assert done.returncode == 0
        rows = {row["name"]: row for row in json.loads(done.stdout)["layers"]}
        return float(rows["one"]["trace"])

    assert trace() == trace("--layer", "one")
    assert trace() != trace("--seed", "1")


@pytest.mark.parametrize("command", QUANTITIES)
def test_a_dry_run_plans_and_writes_nothing(command: str, work: Path, curvcli: Curvcli) -> None:
    """Method, cost, time and reason per layer."""
    done = curvcli(command, "model.pt", "--dry-run", "--format", "json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    assert [row["layer"] for row in plan["rows"]] == ["one", "two"]
    assert all(row["method"] and row["reason"] for row in plan["rows"])
    assert plan["seconds"] > 0
    assert not list(work.glob("*.h5*"))


def test_what_does_not_converge_is_exit_4(tmp_path: Path, curvcli: Curvcli) -> None:
    """A tolerance out of reach: the estimate is there, marked."""
    model = ROOT / "sample_models" / "mlp_tanh.pt"
    words = ("--layer", "fc1", "--method", "hutchinson", "--probes", "16", "--rtol", "1e-9", "-o", "t.h5")
    done = curvcli("trace", model, *words)
    assert done.returncode == 4
    assert "not_converged" in done.stdout
    assert (tmp_path / "t.h5").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("eigs", "--memory-limit", "lots"), "is not a size"),
        (("eigs", "--method", "lobpcg", "--which", "magnitude"), "one end of the spectrum"),
        (("eigs", "--method", "gram", "--layer", "one"), "tanh"),
        (("trace", "--rtol", "0"), "not in the range"),
        (("density", "--layer", "nope"), "one"),
        (("diag", "--method", "hessian"), "did you mean output_hessian?"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], told: str, work: Path, curvcli: Curvcli) -> None:
    """Exit 2, and a line that says what is wrong."""
    done = curvcli(words[0], "model.pt", *words[1:])
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["trace", "eigs", "density", "hessian"])
def test_nan_weights_are_told(command: str, work: Path, curvcli: Curvcli) -> None:
    """A NaN in the model is exit 4 with the batch named, before any product."""
    net = torch.jit.load(work / "model.pt")
    next(net.parameters()).data[0, 0] = float("nan")
    torch.jit.save(net, work / "model.pt")
    done = curvcli(command, "model.pt")
    assert done.returncode == 4
    assert "loss is nan" in done.stderr


CONFIG = """model = "model.pt"
output = "all.h5"
layer = "one"
whole-model = true
dtype = "float64"
[diag]
[trace]
method = "exact"
[eigs]
k = 2
which = "both"
[density]
[hessian]
"""


def test_a_config_computes_everything_in_one_report(work: Path, curvcli: Curvcli) -> None:
    """All quantities of the layers and the whole model, relative paths and all; the figures agree with each other."""
    (work / "sub").mkdir()
    (work / "sub" / "c.toml").write_text(CONFIG.replace('"model.pt"', '"../model.pt"'))
    done = curvcli("run", "sub/c.toml")
    assert done.returncode == 0, done.stderr
    with h5py.File(work / "sub" / "all.h5") as report:
        one = report["layers/one"]
        assert {"gradient", "diagonal", "trace", "eigen", "density", "hessian"} <= set(one)
        entries = one["hessian/entries"][()]
        diagonal = np.concatenate([one["diagonal/weight"][()].ravel(), one["diagonal/bias"][()]])
        np.testing.assert_allclose(np.diag(entries), diagonal, atol=1e-12)
        assert one["trace"].attrs["value"] == pytest.approx(diagonal.sum(), rel=1e-9)
        values = np.linalg.eigvalsh(entries)[::-1]
        np.testing.assert_allclose(one["eigen/values"][()], [*values[:2], *values[-2:]], atol=1e-9)
        np.testing.assert_allclose(one["density/nodes"][0], values, atol=1e-12)
        assert "gradient" not in report["layers/(whole model)"]


def test_diagonals_are_of_layers_also_beside_the_whole_model(work: Path, curvcli: Curvcli) -> None:
    """whole-model alone means no layer, which would leave [diag] without anything to do."""
    (work / "c.toml").write_text('model = "model.pt"\nwhole-model = true\noutput = "w.h5"\n[diag]\n[trace]\n')
    done = curvcli("run", "c.toml")
    assert done.returncode == 0, done.stderr
    with h5py.File(work / "w.h5") as report:
        assert "diagonal" in report["layers/one"]
        assert "trace" in report["layers/(whole model)"]


@pytest.mark.parametrize("method", ["auto", "lanczos"])
@pytest.mark.parametrize("command", ["eigs", "density"])
def test_a_matrix_that_is_not_finite_has_no_eigenvalues(
    command: str, method: str, tmp_path: Path, curvcli: Curvcli
) -> None:
    """The root of exact zeros has no derivative; the loss itself is fine. Layer and matrix are named, exit 4."""

    class Root(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(torch.square(self.one(x) - self.one(x)))

    torch.jit.script(Root()).save(str(tmp_path / "root.pt"))
    np.savez(tmp_path / "d.npz", x=np.ones((4, 2), np.float32), y=np.ones((4, 3), np.float32))
    (tmp_path / "root.pt.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.x]\ncolumn = "x"\n[target]\ncolumn = "y"\n'
        '[loss]\nname = "mse"\n'
    )
    matrix, title = ("hessian", "Hessian") if method == "auto" else ("gauss_newton", "Gauss–Newton matrix")
    done = curvcli(command, "root.pt", "--method", method, "--matrix", matrix)
    assert done.returncode == 4, done.stderr
    assert f"one: its {title} is not finite" in done.stderr


REGRESSION = """version = 1
[source]
format = "npz"
path = "regression.npz"
[inputs.input]
column = "x"
[target]
column = "y"
[loss]
name = "mse"
[sampling]
batch_size = 500
"""


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Squared error over a dense layer, whose weight has each eigenvalue of its inputs once per output."""
    folder = tmp_path_factory.mktemp("regression")
    torch.manual_seed(0)
    torch.jit.save(torch.jit.script(nn.Linear(150, 4, bias=False)), folder / "regression.pt")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 150)).astype(np.float32)
    np.savez(folder / "regression.npz", x=x, y=rng.standard_normal((500, 4), np.float32))
    (folder / "regression.pt.toml").write_text(REGRESSION)
    return folder / "regression.pt", np.repeat(np.linalg.eigvalsh(x.T.astype(float) @ x) * 2 / 2000, 4)


@pytest.mark.parametrize(("which", "method"), [("largest", "auto"), ("smallest", "auto"), ("largest", "lobpcg")])
def test_repeated_eigenvalues_are_found_as_often_as_they_occur(
    which: str, method: str, regression: tuple[Path, np.ndarray], tmp_path: Path, curvcli: Curvcli
) -> None:
    """Three of four copies at either end of squared error with four outputs."""
    model, values = regression
    done = curvcli("eigs", model, "-k", "3", "--which", which, "--method", method, "-q", "-o", "r.h5")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "r.h5") as report:
        (layer,) = report["layers"].values()
        assert layer["eigen/converged"][()].all()
        true = values[:-4:-1] if which == "largest" else values[2::-1]
        np.testing.assert_allclose(layer["eigen/values"][()], true, atol=4e-4 * values.max())


@pytest.mark.parametrize(
    ("words", "said", "not_said"),
    [
        (
            ("--max-products", "40"),
            ("0 of 3", "larger --max-products", "--method dense takes 600 products"),
            "float64",
        ),
        (("--tolerance", "1e-9"), ("rounding", "--dtype float64"), "max-products"),
    ],
)
def test_what_would_help_is_named(
    *,
    words: tuple[str, ...],
    said: tuple[str, ...],
    not_said: str,
    regression: tuple[Path, np.ndarray],
    tmp_path: Path,
    curvcli: Curvcli,
) -> None:
    """More products where they ran out; another dtype, and not more products, where rounding is in the way."""
    done = curvcli("eigs", regression[0], "-k", "3", *words, "-q", "-o", "r.h5")
    assert done.returncode == 4, done.stderr
    with h5py.File(tmp_path / "r.h5") as report:
        (layer,) = report["layers"].values()
        reason = str(layer["eigen"].attrs["reason"])
    assert all(part in reason for part in said), reason
    assert not_said not in reason


def test_quantities_of_a_config_share_their_work(work: Path, curvcli: Curvcli) -> None:
    """Eigenvalues, density and full block of a layer take one set of products; so do diagonal and exact trace."""
    (work / "c.toml").write_text(f'format = "json"\n{CONFIG}')
    done = curvcli("run", "c.toml", "--dry-run")
    assert done.returncode == 0, done.stderr
    used = {(row["quantity"], row["layer"]): row["work"] for row in json.loads(done.stdout)["rows"]}
    assert used["eigs", "one"] == used["density", "one"] == used["hessian", "one"]
    assert used["diag", "one"] == used["trace", "one"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('modle = "x"\n[diag]', "modle"),
        ('model = "model.pt"', "nothing to compute"),
        ("[diag]", "model is missing"),
        ('model = "model.pt"\n[eigs]\nkk = 3\nwhch = "both"', "eigs.whch"),
        ('model = "model.pt"\n[eigs]\nwhich = "up"', "eigs.which"),
        ('model = "model.pt"\n[trace]\nlimit = 3', "trace.limit"),
        ('model = "model.pt"\n[eigs]\nk = 2.5', "eigs.k: must be a whole number, found 2.5"),
        ('model = "model.pt"\n[diag]\n[tracee]', "[tracee]: no such table; did you mean trace?"),
        ("model = ", "this is not TOML"),
    ],
)
def test_mistakes_in_a_config_are_named(text: str, told: str, work: Path, curvcli: Curvcli) -> None:
    """Exit 2 and the key."""
    (work / "c.toml").write_text(text)
    done = curvcli("run", "c.toml")
    assert done.returncode == 2
    assert told in done.stderr


def test_the_shipped_config_runs(tmp_path: Path, curvcli: Curvcli) -> None:
    """configs/report.toml as it stands, written elsewhere."""
    text = (ROOT / "configs" / "report.toml").read_text().replace("../sample_models", str(ROOT / "sample_models"))
    (tmp_path / "report.toml").write_text(text.replace("limit = 128", "limit = 16"))
    done = curvcli("run", "report.toml", "-q")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vgg16_digits.report.h5").exists()


# -- memory -----------------------------------------------------------------------------------------------------------


class Wide(nn.Module):
    """Few weights, large activations: a graph of some 70 MiB per batch of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.two(torch.tanh(self.one(x))))
        return self.head(h.mean((2, 3)))


def peak(folder: Path, limit: str | None) -> int:
    """The largest size of a run, in MiB, as the operating system saw it."""
    words = ["trace", "wide.pt", "--method", "hutchinson", "--probes", "8", "--whole-model", "-q", "--no-resume"]
    words += [] if limit is None else ["--memory-limit", limit]
    # Not by getrusage: a process starts with the peak of the one that started it, and this one's may be larger.
    code = (
        "import re, sys; from curvcli.cli.main import run; code = run(sys.argv[1:]);"
        "kib = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1];"
        "print(int(kib) // 1024, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, timeout=300, check=True
    )
    return int(done.stderr.split()[-1])


@pytest.mark.slow
def test_memory_stays_under_the_limit(tmp_path: Path) -> None:
    """On a net whose graphs would take far more, the peak is at most 10 % over; the figures are the same."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((320, 3, 64, 64), np.float32), y=rng.integers(0, 3, 320))
    (tmp_path / "wide.pt.toml").write_text(SPEC)
    torch.jit.save(torch.jit.script(Wide()), tmp_path / "wide.pt")

    def samples() -> np.ndarray:
        with h5py.File(tmp_path / "wide.pt.trace.h5") as report:
            return report["layers/(whole model)/trace/samples"][()]

    free = peak(tmp_path, None)
    first = samples()
    assert free > 1500
    assert peak(tmp_path, "700M") <= 770
    assert (samples() == first).all()
