"""Every loss through the command line, on a saved model in both frameworks, against a dense float64 Hessian.

Over 37 samples in batches of 16, with sample weights and ignored targets, as a mean and as a sum.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering

from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.quantities import BlockRecord, TraceRecord

from .saved import SCENARIOS, Dense, like_torch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def report(dense: Dense, folder: Path, framework: str, command: str, *options: str):
    model, spec = folder / ("model.pt" if framework == "torch" else "model"), folder / "data.toml"
    if not spec.exists():
        dense.write(folder, framework)
    out = folder / f"{command}.h5"
    words = [command, str(model), "--data", str(spec), "--dtype", "float64", "-q", "-o", str(out), *options]
    assert run(words) == 0
    return read_report(out)


# Every closed form is held to TensorFlow's derivatives in test_closed_forms.py.
FRAMEWORKS = ["torch", "tensorflow"]


@pytest.mark.parametrize(("name", "framework"), covering(SCENARIOS, FRAMEWORKS))
def test_loss_gradient_and_diagonal(name: str, framework: str, tmp_path: Path) -> None:
    """To 1e-10; a loss without second derivatives has exact zeros."""
    dense = Dense(name, "sum" if name in ("huber", "cross_entropy", "poisson") else "mean")
    found = report(dense, tmp_path, framework, "diag")
    flat = dense.flat.clone().requires_grad_()
    value = dense.loss(flat)
    (gradient,) = torch.autograd.grad(value, flat)
    assert found.provenance.loss_value == pytest.approx(float(value), rel=1e-12)
    diagonal = np.diagonal(dense.matrix("hessian"))
    for row in found.layers:
        layer = found.layer(row.name)
        place = dense.place(row.name.rpartition("/")[2])
        for kind, expected in (("gradient", gradient.numpy()), ("diagonal", diagonal)):
            values = [getattr(p, kind) for p in layer.parameters]
            joined = np.concatenate([(like_torch(v) if framework != "torch" else v).ravel() for v in values])
            scale = np.abs(expected).max()
            np.testing.assert_allclose(joined, expected[place], rtol=1e-9, atol=1e-10 * scale, err_msg=kind)


@pytest.mark.parametrize(
    ("name", "framework"), covering(["gaussian_nll", "cross_entropy_tokens", "bce", "hinge"], FRAMEWORKS)
)
def test_whole_hessian_and_trace(name: str, framework: str, tmp_path: Path) -> None:
    """A torch layer's block entry by entry, and the spectrum of TensorFlow's, whose kernels are transposed."""
    dense = Dense(name)
    whole = dense.matrix("hessian")
    blocks = report(dense, tmp_path, framework, "hessian")
    traces = report(dense, tmp_path, framework, "trace")
    for row in blocks.layers:
        place = dense.place(row.name.rpartition("/")[2])
        expected = whole[np.ix_(place, place)]
        block = blocks.record(row.name, BlockRecord)
        scale = np.abs(whole).max()
        if framework == "torch":
            np.testing.assert_allclose(block.entries, expected, rtol=1e-9, atol=1e-10 * scale)
        np.testing.assert_allclose(block.eigenvalues[::-1], np.linalg.eigvalsh(expected), rtol=1e-8, atol=1e-9 * scale)
        trace = traces.record(row.name, TraceRecord)
        assert trace.value == pytest.approx(np.trace(expected), rel=1e-9, abs=1e-11)
