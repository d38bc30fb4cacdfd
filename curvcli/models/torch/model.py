"""A model of any torch format, once there is a program and its parameters are tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from curvcli.data.interface import Samples
from curvcli.errors import ModelError
from curvcli.models.base import Array, Layer, Port
from curvcli.models.data_loss import DataLoss
from curvcli.models.model import Backend
from curvcli.models.returned import Returned
from curvcli.models.torch import bus
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.objective import TorchObjective
from curvcli.models.torch.parameters import Parameters
from curvcli.models.torch.program import Original, Program
from curvcli.models.torch.returned import returned_by
from curvcli.spec.loss import LossSpec

HALVES = (torch.float16, torch.bfloat16)
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass
class TorchModel:
    """A program, in inference mode, on one device, in one dtype (see ``model.Model``).

    Attributes:
        path: of the file.
        sha256: of the bytes that were loaded.
        program: what it computes.
        parameters: what it is differentiated by.
        original: the function as saved, until it has been compared with the program.
        layers: see ``model.Model``.
        outputs: see ``model.Model``.
        why_no_layers: see ``model.Model``.
        reopened: the same path once more, in another dtype.
        caveat: see ``model.ModelObjective``.
        ports: what the file says of the inputs; empty where it has their names alone.
        widened: see ``model.ModelObjective``.
    """

    path: Path
    sha256: str
    program: Program
    parameters: Parameters
    original: Original | None
    layers: tuple[Layer, ...]
    outputs: tuple[Port, ...]
    why_no_layers: str
    reopened: Callable[[str], TorchModel]
    caveat: str | None = None
    ports: tuple[Port, ...] = ()
    widened: bool = False

    @property
    def backend(self) -> Backend:
        return "torch"

    @property
    def part(self) -> Mapping[str, str]:
        return {}

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self.ports or tuple(Port(name, None, "float") for name in self.program.inputs)

    @property
    def threads(self) -> int:
        return torch.get_num_threads()

    def precise(self) -> TorchModel:
        model = self.reopened("float64")
        if model.sha256 != self.sha256:
            raise ModelError(f"{self.path}: the file was replaced during the run.")
        return model

    def values(self, parameter: str) -> Array:
        return bus.to_host(self.parameters[parameter])

    def returned(self, samples: Samples, batch_size: int) -> tuple[Returned, ...]:
        batch = next(samples.batches(self.program.samples or batch_size))
        return returned_by(self.program, self.parameters, str(self.path), batch)

    def objective(self, samples: Samples, loss: LossSpec, batch_size: int) -> TorchObjective:
        # Once per opened model: what was the same on one batch of data is the same function.
        original, self.original = self.original, None
        where = str(self.path)
        forward = Forward(self.program, self.parameters, loss.output, where)
        batch_size = self.program.samples or batch_size
        objective = TorchObjective(forward, DataLoss(samples, loss, batch_size, where), original)
        objective.caveat, objective.widened = self.caveat, self.widened
        return objective
