"""Every command gives the processor's figures on another device: a simulated one, and a GPU where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from .figures import FEW, assert_same, report_of
from .simulated import second_device

# Sums are added up in float64 on both; on a GPU kernels add in another order.
ROUNDING, OF_A_GPU = 1e-12, 1e-9

WHOLE = ("--whole-model", *FEW)
CASES: dict[str, tuple[str, Sequence[str]]] = {
    "diag": ("mlp_tanh.pt", ("diag", *FEW, "--layer", "norm", "--layer", "fc3")),
    "diag, exported": ("mlp_tanh.pt2", ("diag", *FEW, "--layer", "norm", "--layer", "fc3")),
    "diag, convolutions": ("vgg16_digits.pt", ("diag", *FEW, "--layer", "fc8", "--layer", "conv5_3")),
    "diag, probes": (
        "mlp_tanh.pt",
        ("diag", *FEW, "--layer", "fc3", "--method", "activation_probes"),
    ),
    "diag, xdiag": ("mlp_tanh.pt", ("diag", *FEW, "--layer", "norm", "--method", "xdiag", "--probes", "12")),
    "diag, output Hessian": ("mlp_tanh.pt", ("diag", *FEW, "--layer", "fc3", "--method", "output_hessian")),
    "hutchinson": ("mlp_tanh.pt", ("trace", *WHOLE, "--method", "hutchinson", "--probes", "6")),
    "xtrace": ("mlp_tanh.pt", ("trace", *WHOLE, "--method", "xtrace", "--probes", "12")),
    "hutch++": ("mlp_tanh.pt", ("trace", *WHOLE, "--method", "hutch++", "--probes", "12")),
    "xnystrace": ("mlp_tanh.pt", ("trace", *WHOLE, "--matrix", "fisher", "--method", "xnystrace", "--probes", "12")),
    "eigs": ("mlp_tanh.pt", ("eigs", *WHOLE, "-k", "2")),
    "density": ("mlp_tanh.pt", ("density", *WHOLE, "--probes", "2", "--steps", "8")),
    "hessian": ("mlp_tanh.pt", ("hessian", *FEW, "--layer", "norm")),
    "inputs": ("poisson_tanh.pt", ("inputs", "--limit", "5", "--method", "taylor")),
    "split": ("mlp_tanh.pt", ("split", *FEW, "--at", "fc2", "--by", "weight")),
    "slice": ("mlp_tanh.pt", ("slice", *FEW, "--along", "gradient")),
    "sharpness": ("mlp_tanh.pt", ("sharpness", *FEW, "--measure", "sam", "--measure", "gradient_curvature")),
    "sensitivity": ("mlp_tanh.pt", ("sensitivity", *FEW, "--layer", "fc3")),
}
SLOW: dict[str, tuple[str, Sequence[str]]] = {
    "diag, attention": ("attention_digits.pt", ("diag", *FEW, "--layer", "query", "--layer", "norm1")),
    "diag, all of it": ("mlp_tanh.pt", ("diag", *FEW)),
    "trace, attention": ("attention_digits.pt", ("trace", *WHOLE, "--method", "hutchinson", "--probes", "4")),
    "inputs, attention": ("attention_digits.pt", ("inputs", "--limit", "3", "--method", "taylor")),
    "inputs, products": ("mlp_tanh.pt", ("inputs", "--limit", "3", "--method", "products")),
    "coupling, all layers": ("mlp_tanh.pt", ("coupling", *FEW)),
    "coupling, probes": ("mlp_tanh.pt", ("coupling", *FEW, "--method", "probes")),
    "sharpness, all of it": ("mlp_tanh.pt", ("sharpness", *FEW)),
}


@pytest.mark.parametrize("name", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_second_device_gives_the_same_figures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the rounding of sums; and no operation meets tensors of two devices."""
    model, words = (CASES | SLOW)[name]
    expected = report_of(words, model, "cpu", tmp_path)
    with second_device(monkeypatch) as bus:
        found = report_of(words, model, "meta", tmp_path)
    assert bus.there
    assert_same(found, expected, ROUNDING)


@pytest.mark.parametrize("name", CASES | SLOW)
def test_a_gpu_gives_the_same_figures(name: str, tmp_path: Path, gpu: str) -> None:
    """In float64."""
    model, words = (CASES | SLOW)[name]
    expected = report_of(words, model, "cpu", tmp_path)
    assert_same(report_of(words, model, gpu, tmp_path), expected, OF_A_GPU)


@pytest.mark.parametrize("name", ["diag", "diag, convolutions", "hutchinson"])
def test_a_gpu_multiplies_float32_as_such(name: str, tmp_path: Path, gpu: str) -> None:
    """With TF32 these would be off by 1e-3."""
    model, words = CASES[name]
    expected = report_of(words, model, "cpu", tmp_path)
    found = report_of(words, model, gpu, tmp_path, dtype="float32")
    for key, value in expected.items():
        if key.startswith("layers/") and ("diagonal" in key or "gradient" in key) and "stderr" not in key:
            assert abs(found[key] - value).max() <= 1e-4 * abs(value).max(), key


@pytest.mark.parametrize("name", ["diag, convolutions", "eigs", "hutchinson"])
def test_a_gpu_gives_the_same_bits_again(name: str, tmp_path: Path, gpu: str) -> None:
    """As resuming a run requires."""
    model, words = CASES[name]
    first, second = (tmp_path / one for one in ("first", "second"))
    for folder in (first, second):
        folder.mkdir()
    assert_same(report_of(words, model, gpu, second), report_of(words, model, gpu, first), 0.0)
