"""VGG16 of full size: the question people asked for years, answered; minutes per backend, so marked slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from sessions import session_of

from .conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

# Runs the command and prints its peak memory in KiB, which only a process of its own can tell.
_MEASURED = """
import resource, sys
from curvcli.cli.main import run
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vgg16")
    subprocess.run([sys.executable, ROOT / "sample_models" / "build.py", "--full-vgg16", folder], check=True)
    return folder


@pytest.mark.parametrize(("name", "label"), [("vgg16.pt", "weight"), ("vgg16", "kernel")])
def test_conv4_3_is_exact_within_twelve_gigabytes(name: str, label: str, vgg16: Path) -> None:
    """The diagonal of 3×3×512×512 entries, exact by Gauss–Newton; ten of its non-zero entries equal coordinate HVPs."""
    report = vgg16 / f"{name}.h5"
    words = ["diag", str(vgg16 / name), "--layer", "conv4_3", "-o", str(report), "-q"]
    done = subprocess.run([sys.executable, "-c", _MEASURED, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 12 * 2**20
    with h5py.File(report) as file:
        layer = file["layers/conv4_3"]
        assert layer.attrs["method"] == "gauss_newton"
        diagonal = layer[f"diagonal/{label}"][:]
    assert sorted(diagonal.shape) == [3, 3, 512, 512]
    opened = session_of(vgg16 / name, dtype="float32")
    (parameter,) = (
        p.name for one in opened.model.layers if one.name == "conv4_3" for p in one.parameters if p.label == label
    )
    chosen = np.random.default_rng(0).choice(np.flatnonzero(diagonal), 10, replace=False)
    batch = next(opened.objective.batches([parameter]))
    entries = batch.hessian_diagonal_entries(parameter, chosen) / opened.objective.denominator
    assert np.abs(entries - diagonal.reshape(-1)[chosen]).max() <= 1e-4 * diagonal.max()
