"""The memory of a GPU, as TensorFlow tells it."""

from __future__ import annotations

from curvcli.memory import available_memory
from curvcli.models.device_memory import Memory
from curvcli.models.memory import ProcessMemory
from curvcli.models.tensorflow.runtime import tensorflow


class GpuMemory:
    """One device's memory (see ``base.Memory``)."""

    def __init__(self, device: str) -> None:
        """``device`` as TensorFlow names it: ``/GPU:0`` or ``/device:GPU:0``."""
        self._device = device.removeprefix("/").removeprefix("device:")

    def _info(self, figure: str) -> int:
        return int(tensorflow().config.experimental.get_memory_info(self._device)[figure])

    def in_use(self) -> int:
        """Bytes of living tensors."""
        return self._info("current")

    def peak(self) -> int:
        """The most bytes of living tensors so far."""
        return self._info("peak")

    def free(self) -> int:
        """What the process may have: TensorFlow takes a whole GPU for itself and does not tell its size."""
        return available_memory()

    def release(self) -> None:
        """Give back what the process holds unused."""
        ProcessMemory().release()


def memory_of(device: str) -> Memory:
    """The memory that tensors on a device take."""
    return GpuMemory(device) if "GPU" in device else ProcessMemory()
