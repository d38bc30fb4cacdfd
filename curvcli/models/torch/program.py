"""What the adapter needs of a file's computation, whatever format it was read from.

Everything else in this folder that differentiates stands on it: a format brings a `Program`, named parameters that
require gradients, and the function as it was saved, to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class FinalOperation:
    """The normaliser that an output comes from.

    Attributes:
        name: ``softmax``, ``log_softmax`` or ``sigmoid``.
        before: the program that returns what it reads, moved as the output is.
    """

    name: str
    before: Program


class Program(Protocol):
    """What a model computes, as a function of its inputs by name; autograd sees every operation."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of those that have to be fed."""
        ...

    @property
    def branches(self) -> bool:
        """Whether it takes one way or another, or a number of rounds, by what it computes."""
        ...

    @property
    def random(self) -> tuple[str, ...]:
        """The operations that draw random numbers, as a person reads them."""
        ...

    @property
    def complex(self) -> bool:
        """Whether complex numbers are made on the way."""
        ...

    @property
    def recurrent(self) -> bool:
        """Whether there is a recurrent layer for which oneDNN has one kernel that hides all its steps."""
        ...

    @property
    def batch_statistics(self) -> bool:
        """Whether a batch norm in training mode uses the statistics of the batch."""
        ...

    @property
    def samples(self) -> int | None:
        """How many samples a batch has at most, where the file was made for one number of them; None if any."""
        ...

    def __call__(self, arguments: Mapping[str, Tensor], *, whole: bool = False) -> Any:
        """Whatever the model returns: a tensor, or tensors in a tuple, a named tuple or a dictionary.

        Args:
            arguments: the inputs by name.
            whole: whether the rows that a short batch was filled up with are returned too, after its own.

        Raises:
            RuntimeError: it can't compute this.
        """
        ...

    def final(self, output: str | None) -> FinalOperation | None:
        """The softmax, log-softmax or sigmoid that an output comes from, by way of nothing that changes a number.

        Args:
            output: which, by the name or number that the model gives it; None for the only one.
        """
        ...


@dataclass(frozen=True)
class Original:
    """The model as it was saved, in inference mode.

    Attributes:
        run: the outputs for inputs by name; raises RuntimeError where it can't compute.
        dtype: of its numbers.
        rough: whether it rounds some of them to 16 bits.
    """

    run: Callable[[Mapping[str, Tensor]], Any]
    dtype: torch.dtype
    rough: bool = False


class UnfitBatchError(RuntimeError):
    """The program can't be run on a batch as it is, whatever the numbers in it; a person reads it."""

    def __init__(self, reason: str, advice: str) -> None:
        """What is wrong with the batch, and what to do."""
        super().__init__(reason)
        self.advice = advice


@contextmanager
def differentiable(dtype: torch.dtype, *, recurrent: bool = False) -> Iterator[None]:
    """Kernels that have a second derivative, a graph whose operations can be seen, and numbers of one dtype.

    The fused attention kernels and cuDNN's recurrent ones have no double backward; the profiling executor hides
    operations behind its own nodes after the first calls, oneDNN the steps of ``recurrent`` layers from the first on;
    ``torch.zeros(n)`` in a script has the default dtype.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    before, onednn, cudnn = torch.get_default_dtype(), torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()
    torch.set_default_dtype(dtype)
    torch._C._set_mkldnn_enabled(onednn and not recurrent)
    torch._C._set_cudnn_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            yield
    finally:
        torch.set_default_dtype(before)
        torch._C._set_mkldnn_enabled(onednn)
        torch._C._set_cudnn_enabled(cudnn)
