"""The protocol that a saved file of any format is opened to, and that of the objective it makes with data.

A format's file shows that it meets them: its ``opened`` says that it returns a `Model`, and mypy holds it to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from curvcli.data.interface import Samples
from curvcli.losses.interface import Loss
from curvcli.models.base import Array, Layer, Objective, Parameter, Port
from curvcli.models.pointwise import PointwiseObjective
from curvcli.models.returned import Returned
from curvcli.models.vectors import VectorSpace
from curvcli.spec.loss import LossSpec

Backend = Literal["torch", "tensorflow"]


class ModelObjective(Objective, PointwiseObjective, Protocol):
    """The loss of a model over the data: all derivatives, and what is known of the model before any is taken."""

    @property
    def batch_size(self) -> int:
        """Samples per batch; all of them where the model returns one number per batch."""
        ...

    @property
    def final(self) -> str | None:
        """The ``softmax``, ``log_softmax`` or ``sigmoid`` that the model ends in, if it can be recognised."""
        ...

    @property
    def loss(self) -> Loss:
        """The declared loss, settled on the output that it is taken of."""
        ...

    @property
    def classes(self) -> int | None:
        """How many classes the output tells apart, for cross-entropy; None for other losses."""
        ...

    @property
    def random(self) -> tuple[str, ...]:
        """The operations of the graph that draw random numbers, as a person reads them."""
        ...

    @property
    def batch_statistics(self) -> bool:
        """Whether a batch norm in the graph uses the statistics of the batch."""
        ...

    @property
    def uncompared(self) -> str | None:
        """Why the file's own function could not be run here, and so not be compared; None if it was."""
        ...

    @property
    def widened(self) -> bool:
        """Whether the file rounds to 16 bits what is computed here without."""
        ...

    @property
    def caveat(self) -> str | None:
        """What of the network the file may have lost, so that derivatives are another function's; None if nothing."""
        ...

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """The vectors of some parameters, as products take and return them."""
        ...

    @property
    def undecided(self) -> str | None:
        """What the data left open about the loss, and how it was taken; None if nothing."""
        ...

    def samples_interact(self) -> bool:
        """Whether a sample's output changes with the other samples of its batch.

        Tried on the first batch, and on every batch where the graph branches.
        """
        ...

    def outputs(self, batch_size: int) -> Array:
        """What the model returns for every sample, ``batch_size`` at a time: float64, (samples, …).

        A model that returns one number per batch gives those, (batches,).
        """
        ...


class Model(Protocol):
    """A saved file, opened on one device, its numbers in one dtype."""

    @property
    def path(self) -> Path:
        """The file or directory."""
        ...

    @property
    def backend(self) -> Backend:
        """The framework that computes."""
        ...

    @property
    def sha256(self) -> str:
        """Of the bytes that were loaded."""
        ...

    @property
    def part(self) -> Mapping[str, str]:
        """What of the file was opened, where it holds several models, by the names of options; empty otherwise."""
        ...

    @property
    def threads(self) -> int:
        """How many threads an operation is divided among: sums are added up in an order that depends on it."""
        ...

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers with trainable parameters, in model order."""
        ...

    @property
    def why_no_layers(self) -> str:
        """What to tell a person who needs layers of a model without any."""
        ...

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""
        ...

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What the model returns, as far as the file says."""
        ...

    def values(self, parameter: str) -> Array:
        """A parameter's current entries, float64, in its shape."""
        ...

    def precise(self) -> Model:
        """The same model in float64.

        Raises:
            ModelError: it has an operation that float64 lacks, or the file was replaced meanwhile.
        """
        ...

    def returned(self, samples: Samples, batch_size: int) -> tuple[Returned, ...]:
        """What it returns for the first batch, without any loss; targets are not looked at.

        Raises:
            DataError: the data do not fit the model.
            ModelError: the forward pass fails, or returns no tensors.
        """
        ...

    def objective(self, samples: Samples, loss: LossSpec, batch_size: int) -> ModelObjective:
        """The loss over ``samples`` as a function of the parameters; one forward pass settles what it is taken of.

        Raises:
            SpecError: the loss declaration contradicts the model.
            DataError: targets that do not fit the output.
            ModelError: the forward pass fails, or returns other numbers than the file's own function.
        """
        ...
