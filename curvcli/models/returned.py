"""What a model returns for a batch, before anything is known of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from curvcli.models.base import Array


@dataclass(frozen=True)
class Returned:
    """One output of a model, for one batch.

    Attributes:
        name: as ``loss.output`` has it; an only output has none that is needed.
        values: float64, (samples, …); without axes where the model returns one number per batch.
        finals: the ``softmax``, ``log_softmax`` or ``sigmoid`` that it comes from, by the axis of the classes, counted
            from the samples' axis 0; an axis along which there is none is left out.
    """

    name: str
    values: Array
    finals: Mapping[int, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.values.shape[1:])


def class_axes(shape: tuple[int, ...]) -> range:
    """The axes that classes may lie along, in an output of this shape; 1 for one without any."""
    return range(1, max(2, len(shape)))
