"""Logits per token, with samples and tokens in two axes or in one: every command against the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.cli.main import run
from curvcli.report.hdf5.read import Report, read_report

from .conftest import write_spec
from .exported import exported

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(61)
# As many classes as tokens, so that no shape tells them apart.
SAMPLES, TOKENS, CLASSES, IGNORED = 6, 3, 3, -100
X = RNG.standard_normal((SAMPLES, TOKENS, 2))
LABELS = RNG.integers(0, CLASSES, (SAMPLES, TOKENS))
LABELS[2, 1:] = IGNORED
USED = int((LABELS != IGNORED).sum())


class Tagger(nn.Module):
    """Each token is told what those before it are."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.one, self.two, self.form = nn.Linear(2, 3), nn.Linear(3, CLASSES), form

    def forward(self, x: Tensor) -> Tensor:
        z = self.two(torch.tanh(self.one(x).cumsum(1)))
        if self.form == "time-major rows":
            return z.transpose(0, 1).reshape(-1, CLASSES)
        if self.form == "rows":
            return z.view(-1, CLASSES)
        return z.view(-1, CLASSES).softmax(-1) if self.form == "probabilities in rows" else z


def saved(form: str, kind: str, folder: Path) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    module, example = Tagger(form).eval(), torch.from_numpy(X[:4]).float()
    if kind == "trace":
        torch.jit.save(torch.jit.trace(module, example, check_trace=False), folder / "m.pt")
        return module, folder / "m.pt"
    return module, exported(module, (example,), folder / "m.pt2", free=None if kind == "four" else "samples")


def call(
    command: str, form: str, path: Path, folder: Path, *options: str, class_axis: int | None = None
) -> tuple[int, Path]:
    declared = 2 if form == "two axes" else class_axis
    axis = "" if declared is None else f"\nclass_axis = {declared}"
    links = "false" if form.startswith("prob") else "true"
    loss = f'name = "cross_entropy"\nfrom_logits = {links}\nignore_index = {IGNORED}{axis}'
    spec = write_spec(folder, "data", {"x": X}, LABELS, loss, batch=4)
    report = folder / "report.h5"
    words = [command, str(path), "--data", str(spec), "-o", str(report), "-q", "--dtype", "float64", *options]
    return run(words), report


def dense(module: nn.Module) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The gradient by parameter, and the Hessian over all of them."""
    plain = Tagger("two axes").double()
    plain.load_state_dict(module.state_dict())
    parameters = dict(plain.named_parameters())

    def loss(*values: Tensor) -> Tensor:
        out = torch.func.functional_call(plain, dict(zip(parameters, values, strict=True)), (torch.from_numpy(X),))
        labels = torch.from_numpy(LABELS)
        return F.cross_entropy(out.transpose(1, 2), labels, ignore_index=IGNORED)

    values = tuple(p.detach() for p in parameters.values())
    gradients = torch.autograd.functional.jacobian(loss, values)
    blocks = torch.autograd.functional.hessian(loss, values)
    sizes = [v.numel() for v in values]
    rows = [
        torch.cat([b.reshape(n, m) for b, m in zip(row, sizes, strict=True)], 1)
        for row, n in zip(blocks, sizes, strict=True)
    ]
    return {n: g.numpy() for n, g in zip(parameters, gradients, strict=True)}, torch.cat(rows).numpy()


def assert_diagonal(report: Report, module: nn.Module) -> None:
    gradients, hessian = dense(module)
    start = 0
    for layer in ("one", "two"):
        for p in report.layer(layer).parameters:
            truth = gradients[p.name]
            np.testing.assert_allclose(p.gradient, truth, rtol=0, atol=1e-12)
            assert p.diagonal is not None
            expected = hessian.diagonal()[start : start + truth.size]
            np.testing.assert_allclose(p.diagonal.ravel(), expected, rtol=0, atol=1e-12)
            start += truth.size


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        pytest.param(
            form, kind, marks=() if (form, kind) in {("rows", "export"), ("rows", "four")} else pytest.mark.slow
        )
        for form in ("two axes", "rows", "probabilities in rows")
        for kind in ("trace", "export", "four")
    ],
)
def test_every_form_has_the_same_diagonal(form: str, kind: str, tmp_path: Path) -> None:
    """The dense one; an export for four samples at a time, of which the last batch has two, included."""
    module, path = saved(form, kind, tmp_path)
    code, report = call("diag", form, path, tmp_path)
    assert code == 0
    assert_diagonal(read_report(report), module)


@pytest.mark.parametrize("class_axis", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_the_classes_of_rows_are_their_only_axis(class_axis: int, tmp_path: Path) -> None:
    """Counted as the model returns them: seen by sample, axis 1 is the tokens, and the labels would fit it too."""
    module, path = saved("rows", "trace", tmp_path)
    code, report = call("diag", "rows", path, tmp_path, class_axis=class_axis)
    assert code == 0
    assert_diagonal(read_report(report), module)


@pytest.mark.parametrize("kind", ["trace", "export", "four"])
def test_rows_in_another_order_are_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels would go to other tokens: two lines say what to save."""
    _, path = saved("time-major rows", kind, tmp_path)
    assert call("diag", "time-major rows", path, tmp_path)[0] in (2, 3)
    said = capsys.readouterr().err
    assert "another order" in said or "influence each other" in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["trace", "export", "four"])
@pytest.mark.parametrize("form", ["two axes", "rows"])
def test_every_command(form: str, kind: str, tmp_path: Path) -> None:
    """Blocks, ends of spectra, derivatives by the input, the split at a layer, checks, and several in one run."""
    module, path = saved(form, kind, tmp_path)
    gradients, hessian = dense(module)
    code, report = call("eigs", form, path, tmp_path, "--whole-model", "-k", "2")
    assert code == 0
    found = read_report(report)
    (eigen,) = [e for row in found.layers if (e := found.layer(row.name).eigen) is not None]
    values = np.linalg.eigvalsh(hessian)
    near = np.abs(np.asarray(eigen.values)[:, None] - values[None]).min(1)
    assert near.max() <= 1e-9 * np.abs(values).max()
    code, report = call("hessian", form, path, tmp_path, "--force")
    assert code == 0
    block = read_report(report).layer("one").block
    assert block is not None
    np.testing.assert_allclose(block.entries, hessian[:9, :9], rtol=0, atol=1e-12)
    code, report = call("split", form, path, tmp_path, "--force", "--at", "two")
    assert code == 0
    record = read_report(report).layer("two").split
    assert record is not None
    np.testing.assert_allclose(record.parts[0].product, gradients["two.weight"], rtol=0, atol=1e-12)
    code, report = call("inputs", form, path, tmp_path, "--force", "--full")
    assert code == 0
    assert_inputs(read_report(report), module)
    assert call("check", form, path, tmp_path, "--force")[0] == 0


def assert_inputs(report: Report, module: nn.Module) -> None:
    """Of each sample's loss, which is summed over its tokens."""
    record = report.inputs_record("loss")
    plain = Tagger("two axes").double()
    plain.load_state_dict(module.state_dict())
    for n in range(SAMPLES):

        def loss(x: Tensor, n: int = n) -> Tensor:
            out = plain(x.reshape(1, TOKENS, 2)).transpose(1, 2)
            return F.cross_entropy(out, torch.from_numpy(LABELS[n : n + 1]), ignore_index=IGNORED, reduction="sum")

        point = torch.from_numpy(X[n].ravel())
        assert record.hessian is not None
        hessian = torch.autograd.functional.hessian(loss, point).numpy()
        np.testing.assert_allclose(record.hessian[n], hessian, rtol=0, atol=1e-12)
