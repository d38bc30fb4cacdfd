"""The memory of a CUDA device, as torch's caching allocator holds it."""

from __future__ import annotations

import torch

from curvcli.models.device_memory import Memory
from curvcli.models.memory import ProcessMemory


class CudaMemory:
    """One device's memory (see ``base.Memory``)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def in_use(self) -> int:
        """Bytes of living tensors."""
        return int(torch.cuda.memory_allocated(self._device))

    def peak(self) -> int:
        """The most bytes of living tensors so far."""
        return int(torch.cuda.max_memory_allocated(self._device))

    def free(self) -> int:
        """Bytes free on the device, and those that the allocator holds and nobody uses."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return int(free + torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device))

    def release(self) -> None:
        """Give back what the allocator holds unused, and what the process does."""
        torch.cuda.empty_cache()
        ProcessMemory().release()


def memory_of(device: torch.device) -> Memory:
    """The memory that tensors on a device take."""
    return CudaMemory(device) if device.type == "cuda" else ProcessMemory()
