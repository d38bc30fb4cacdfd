"""What every place that work is done in says of its memory."""

from __future__ import annotations

from typing import Protocol


class Memory(Protocol):
    """The memory that the work is done in: this process's, or a device's."""

    def in_use(self) -> int:
        """Bytes held now."""
        ...

    def peak(self) -> int:
        """The most bytes ever held; what is held now where the system does not tell."""
        ...

    def free(self) -> int:
        """Bytes that could still be had."""
        ...

    def release(self) -> None:
        """Give back what is held and not used, so that ``in_use`` tells what is needed."""
        ...
