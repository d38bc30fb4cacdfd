"""The objective of a torch program: what is settled by its first forward pass, and the batches that stand on it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import torch

from curvcli.data.interface import Batch
from curvcli.models.base import Array, Parameter, Site
from curvcli.models.data_loss import DataLoss
from curvcli.models.objective import DataObjective
from curvcli.models.pointwise import SampleFunction, Side
from curvcli.models.sites import merged_sites
from curvcli.models.torch import bus, tensor_vectors
from curvcli.models.torch.activations import TorchActivationBatch
from curvcli.models.torch.batch import Structure, TorchBatch
from curvcli.models.torch.chain import TorchChainBatch
from curvcli.models.torch.final import final_of_graph, final_of_program
from curvcli.models.torch.flattened import is_flattened, uncut
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.inputs import TorchInputBatch
from curvcli.models.torch.memory import memory_of
from curvcli.models.torch.program import Original
from curvcli.models.torch.tensor_space import TensorSpace
from curvcli.models.vectors import VectorSpace

# Torch's convention where neither spec nor targets say it: the classes are axis 1.
_CLASS_AXIS = 1


class TorchObjective(DataObjective):
    """L(θ) of a program over samples (see ``model.ModelObjective``)."""

    def __init__(self, forward: Forward, data_loss: DataLoss, original: Original | None) -> None:
        """Settle the link, the output's shape and the denominator, with one forward pass.

        Args:
            forward: of the program; told here whether it is cut.
            data_loss: to settle.
            original: to compare with; None if that was done before.

        Raises:
            SpecError: the loss declaration contradicts the model.
            DataError: targets that do not fit the output.
            ModelError: the forward pass fails, or returns other numbers than the original.
        """
        super().__init__(data_loss, memory_of(forward.parameters.device))
        self._forward, self.parameters = forward, forward.parameters
        self._structures: dict[Hashable, Structure] = {}
        self.parameters.require(list(self.parameters))
        arguments = forward.tensors(data_loss.first_batch())
        if not self.parameters:
            # Without weights to differentiate by, the graph whose end tells the final operation starts at the inputs.
            arguments = {n: t.requires_grad_(t.is_floating_point()) for n, t in arguments.items()}
        probe = forward(arguments)
        if original is not None:
            forward.compare(original, arguments)
        ending = probe
        if is_flattened(forward, arguments, probe):
            forward.flattened = True
            probe = forward(arguments)
        axis = data_loss.class_axis(tuple(probe.shape), -1 if forward.flattened else _CLASS_AXIS)
        if forward.flattened:
            declared = data_loss.spec.class_axis
            if declared is None:
                data_loss.undecided = None  # it is the last of the two that the rows have
            elif 0 < declared < probe.ndim - 1:
                axis = declared + 1  # of what the model returns: one axis for samples and tokens
        final = final_of_program(forward, arguments, axis)
        name = None if final is None else final.name
        if final is None:
            name = final_of_graph(ending, axis - forward.flattened)
            if name is not None and forward.flattened:
                raise uncut(forward.where, name)
        values = bus.to_host(probe)
        del probe, ending
        data_loss.settle(values, name, axis)
        if self.loss.cut:
            forward.cut(None if final is None else final.before)

    @property
    def dtype(self) -> str:
        return str(self.parameters.dtype).removeprefix("torch.")

    @property
    def threads(self) -> int:
        return torch.get_num_threads()

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """See ``model.ModelObjective``; where products are made."""
        if tensor_vectors.stays(self.parameters.device):
            return TensorSpace(tuple(parameters), self.parameters.device, self.parameters.dtype)
        return super().space(parameters)

    @property
    def random(self) -> tuple[str, ...]:
        return self._forward.program.random

    @property
    def branches(self) -> bool:
        return self._forward.program.branches

    @property
    def batch_statistics(self) -> bool:
        return self._forward.program.batch_statistics

    def outputs(self, batch_size: int) -> Array:
        """See ``model.ModelObjective``; no more at a time than the file was made for."""
        return super().outputs(min(batch_size, self._forward.program.samples or batch_size))

    def _output_values(self, batch: Batch) -> Array:
        self.parameters.require([])
        return bus.to_host(self._forward(self._forward.tensors(batch)))

    def _batch(self, data: Batch, parameters: Sequence[str]) -> TorchBatch:
        return TorchBatch(self._forward, self.data_loss, self._structures, data, parameters)

    def _examined(self, parameters: Sequence[str]) -> Iterator[TorchBatch]:
        """Batches whose graphs tell those of all others: the first and the last, which may be shorter.

        All of them where the model branches: then each may take a way of its own.
        """
        last = self.batch_count() - 1
        starts = [0, last] if last and len(self.data_loss) % self.batch_size else [0]
        if self.branches:
            starts = list(range(last + 1))
        for start in starts:
            yield self._batch(next(self.data_loss.batches(start=start)), parameters)

    def _read_sites(self, parameters: Sequence[str]) -> Mapping[str, Site]:
        by_batch = list(map(lambda batch: batch.sites(parameters), self._examined(parameters)))  # noqa: C417 - one at a time
        return {name: merged_sites([sites[name] for sites in by_batch]) for name in parameters}

    def _tables(self, parameters: Sequence[str]) -> list[str]:
        return [name for name in parameters if self.parameters[name].ndim > 1]

    def _looked_up(self, data: Batch, tables: Sequence[str]) -> Mapping[str, Array | None]:
        batch = self._batch(data, tables)
        return {name: batch.rows(name) for name in tables}

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        blockers = (batch.joint_blocker(parameters) for batch in self._examined(parameters))
        return next((blocker for blocker in blockers if blocker is not None), None)

    # -- derivatives by the inputs, and in two parts ------------------------------------------------------------------

    def differentiable_inputs(self) -> tuple[str, ...]:
        tensors = self._forward.tensors(self.data_loss.first_batch())
        return tuple(name for name, tensor in tensors.items() if tensor.is_floating_point())

    def output_shape(self, output: str | None) -> tuple[int, ...]:
        self.parameters.require([])
        values = self._forward(self._forward.tensors(self.data_loss.first_batch()), output)
        return self.data_loss.of_one_sample(tuple(values.shape), output)

    def _input_batch(self, data: Batch, function: SampleFunction, inputs: Sequence[str]) -> TorchInputBatch:
        return TorchInputBatch(self._forward, self.data_loss, data, function, inputs)

    def _chain_batch(
        self, data: Batch, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str]
    ) -> TorchChainBatch:
        return TorchChainBatch(self._forward, self.data_loss, data, layer, parameters, inputs, self._orders)

    def _activation_batch(self, data: Batch, layer: Sequence[str], side: Side) -> TorchActivationBatch:
        return TorchActivationBatch(self._forward, self.data_loss, data, layer, self._orders, side)

    def at(self, values: Mapping[str, Array]) -> AbstractContextManager[None]:
        return self.parameters.at(values)
