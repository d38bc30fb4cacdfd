"""The devices that PyTorch may compute on here, and how exactly: float32 as float32, and the same sums each time."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import torch

from curvcli.errors import ModelError, UsageError
from curvcli.wording import option

_CUDA: Final = re.compile(r"cuda(?::([0-9]{1,4}))?")
_MPS: Final = (
    "refused: it has no float64, in which sums are added up, and second derivatives have been zero or wrong there "
    "(PyTorch's issues 88308, 98498, 180201)"
)
# cuBLAS adds in an order of its own where it may share its room among streams; read when it first multiplies.
_WORKSPACE: Final = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Operations without a kernel that adds in a fixed order say so each time; see docs/devices.md.
_TOLD: Final = ".*does not have a deterministic implementation.*"
_BACKENDS: Final[Any] = torch.backends
_UTILS: Final[Any] = torch.utils


def device_of(name: str) -> torch.device:
    """A device by its name, e.g. ``cuda:1``.

    Raises:
        UsageError: it is not there, or wrong there.
    """
    if name == "cpu":
        return torch.device("cpu")
    match = _CUDA.fullmatch(name)
    if match is None:
        reason = _MPS if name.partition(":")[0] == "mps" else "the devices are cpu, cuda, cuda:1 …"
        raise _refused(name, reason)
    if torch.version.cuda is None and torch.version.hip is None:
        raise _refused(name, f"PyTorch {torch.__version__} was built for the processor alone; install a build for CUDA")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise _refused(name, "PyTorch sees no GPU here: is its driver loaded (nvidia-smi), and the GPU not hidden?")
    number = int(match[1] or torch.cuda.current_device())
    if number >= count:
        raise _refused(name, f"PyTorch sees {count} here, the last is cuda:{count - 1}")
    device = torch.device("cuda", number)
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except RuntimeError as error:  # taken by another process alone, too old for this build, or no memory left
        raise _refused(name, f"not available here ({str(error).strip().splitlines()[0][:160]})") from error
    return device


def _refused(name: str, reason: str) -> UsageError:
    return UsageError(f"{option('device', name)}: {reason}.")


def full(where: str, error: Exception) -> ModelError | None:
    """What to say if a device had too little memory; the interpreter of scripts makes another error of that."""
    told = next((line.strip() for line in str(error).splitlines() if "out of memory" in line), None)
    if told is None:
        return None
    reason = told.partition("Error: ")[2] or told
    return ModelError(
        f"{where}: {reason.partition('. GPU')[0][:200]}.\n"
        f"Use a smaller {option('batch_size')}: the results stay the same; or a lower {option('memory_limit')}, which "
        "keeps fewer graphs."
    )


def compute_exactly() -> Callable[[], object]:
    """Have GPUs multiply float32 numbers as such, and add in a fixed order wherever a kernel can; for the process.

    By default cuDNN rounds what it multiplies to TF32, which has 10 bits: 1e-3 of a product.

    Returns:
        What puts back all settings.
    """
    os.environ.setdefault(*_WORKSPACE)
    backends_before = Settings()
    matrices, cudnn, fill = _BACKENDS.cuda.matmul, _BACKENDS.cudnn, _UTILS.deterministic
    finer = [one for one in (matrices, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None)) if one is not None]
    # Noted before any is changed: PyTorch has two ways to set them, and refuses to tell what was set in both.
    backends_before.note(*((one, "fp32_precision") for one in finer), (matrices, "allow_tf32"), (cudnn, "allow_tf32"))
    backends_before.note((cudnn, "benchmark"), (cudnn, "deterministic"), (fill, "fill_uninitialized_memory"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer way, which is taken too
        matrices.allow_tf32 = cudnn.allow_tf32 = False
    for one in finer:
        if hasattr(one, "fp32_precision"):
            one.fp32_precision = "ieee"
    cudnn.benchmark, cudnn.deterministic = False, True
    fill.fill_uninitialized_memory = False  # it would write every vector once more than needed
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    warnings.filterwarnings("ignore", message=_TOLD)

    def put_back() -> None:
        backends_before.put_back()
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        told: Any = warnings.filters
        told[:] = [one for one in told if getattr(one[1], "pattern", None) != _TOLD]

    return put_back


class Settings:
    """Attributes of modules and what they were, the first noted put back last."""

    def __init__(self) -> None:
        """None noted yet."""
        self._kept: list[tuple[Any, str, Any]] = []

    def note(self, *places: tuple[Any, str]) -> None:
        """Remember what these are, as far as they are there and say so."""
        for holder, name in places:
            with suppress(AttributeError, RuntimeError):
                self._kept.append((holder, name, getattr(holder, name)))

    def put_back(self) -> None:
        """Make them what they were."""
        for holder, name, value in reversed(self._kept):
            setattr(holder, name, value)
