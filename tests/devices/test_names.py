"""Devices that are not there, or wrong there, are refused in a line; and what is settled for a GPU is put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import curvcli
from curvcli.errors import ModelError, UsageError
from curvcli.models.torch import device
from curvcli.models.torch.derivatives import derivatives
from curvcli.models.torch.device import compute_exactly, device_of

from .figures import MODELS

UNKNOWN = ("xla", "xpu", "meta", "CUDA", "gpu", "cpu:0", "", "cuda:", "cuda:-1", "cuda:٣", "cuda:1\n", "cuda:99999")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """As if PyTorch were built for CUDA, and saw so many GPUs."""

    def see(count: int) -> None:
        monkeypatch.setattr(torch.version, "cuda", "12.8")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch, "zeros", lambda *shape, **options: None)

    return see


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mps", "--device mps: refused: it has no float64"),
        ("mps:0", "issues 88308"),
        *(
            (name, "the devices are cpu, cuda, cuda:1 …")
            for name in ("xla", "meta", "CUDA", "gpu", "cpu:0", "", "cuda:")
        ),
        *((name, "the devices are cpu") for name in ("cuda:-1", "cuda:٣", "cuda:1\n", "cuda:99999", "cuda:0x1", "xpu")),
    ],
)
def test_what_is_no_device_is_refused(name: str, said: str) -> None:
    """In one line, with the reason."""
    with pytest.raises(UsageError) as refusal:
        device_of(name)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value).replace(name, "")


def test_a_build_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    with pytest.raises(UsageError, match="built for the processor alone"):
        device_of("cuda")


def test_gpus_are_found_by_number(gpus: Callable[[int], None]) -> None:
    gpus(2)
    assert [str(device_of(name)) for name in ("cuda", "cuda:0", "cuda:1")] == ["cuda:0", "cuda:0", "cuda:1"]
    with pytest.raises(UsageError, match="PyTorch sees 2 here, the last is cuda:1"):
        device_of("cuda:7")
    gpus(0)
    with pytest.raises(UsageError, match="sees no GPU here"):
        device_of("cuda")


def test_a_gpu_that_refuses_is_told_in_its_words(gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(1)

    def zeros(*shape: int, **options: Any) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nmore")

    monkeypatch.setattr(torch, "zeros", zeros)
    with pytest.raises(UsageError, match=r"not available here \(CUDA error: all .* unavailable\)\.$"):
        device_of("cuda:0")


def settings() -> list[Any]:
    """All that is settled; what PyTorch refuses to tell is set in two ways."""
    backends: Any = torch.backends
    cudnn = backends.cudnn
    places = [getattr(one, "fp32_precision", None) for one in (backends.cuda.matmul, cudnn.conv, cudnn.rnn)]
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tf32 = backends.cuda.matmul.allow_tf32, cudnn.allow_tf32
    return [*places, *strict, *tf32, cudnn.benchmark, cudnn.deterministic]


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_float32_is_multiplied_as_such_and_settings_are_put_back(precision: str) -> None:
    """Whatever a program has set before; cuDNN's own default is TF32."""
    own = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        before = settings()
        put_back = compute_exactly()
        during = settings()
        put_back()
        assert settings() == before
    finally:
        torch.set_float32_matmul_precision(own)
    assert during[:3] == ["ieee"] * 3
    assert during[3:] == [True, True, False, False, False, True]
    assert before != during


def test_python_callers_get_their_settings_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a function that was asked for a GPU, found or not."""
    before = settings()
    seen: list[list[Any]] = []

    def refuse(name: str) -> torch.device:
        seen.append(settings())
        return device.device_of("mps")

    monkeypatch.setattr("curvcli.models.torch.torchscript.device_of", refuse)
    with pytest.raises(curvcli.CurvcliError, match="device='mps': refused"):
        curvcli.trace(MODELS / "mlp_tanh.pt", device="cuda")
    assert seen[0] != before
    assert settings() == before


def test_a_full_gpu_is_no_missing_derivative() -> None:
    """It is told as what it is, with what helps."""

    class Full(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
            told = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB."
            raise torch.OutOfMemoryError(told)

    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ModelError) as error:
        derivatives([Full.apply(x).sum()], [x], None, "net.pt: an operation has no second derivative")
    said = str(error.value).splitlines()
    assert said[0] == "net.pt: CUDA out of memory. Tried to allocate 20.00 GiB."
    assert said[1].startswith("Use a smaller --batch-size")
    np.testing.assert_array_equal(x.detach(), 1)
