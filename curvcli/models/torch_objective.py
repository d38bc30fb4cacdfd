"""The objective of a torch module: forward passes that leave a graph which can be differentiated again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curvcli.data.interface import Batch, Samples
from curvcli.errors import ModelError, UsageError
from curvcli.models.base import Array, Site, as_float64
from curvcli.models.memory import available_memory, peak_memory, process_memory, release_memory
from curvcli.models.objective import DataObjective
from curvcli.models.pointwise import SampleFunction
from curvcli.models.torch_batch import TorchBatch
from curvcli.models.torch_chain import TorchChainBatch
from curvcli.models.torch_graph import operation
from curvcli.models.torch_inputs import TorchInputBatch
from curvcli.spec.dataset import LossSpec

# Torch's convention: the classes are axis 1.
_CLASS_AXIS = 1


@contextmanager
def differentiable() -> Iterator[None]:
    """Kernels that have a second derivative, and a graph whose operations can be seen."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    # The fused attention kernels and cuDNN's recurrent ones have no double backward; the profiling executor hides
    # operations behind its own nodes after the first calls.
    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=False),
        torch.jit.optimized_execution(False),  # type: ignore[attr-defined]
    ):
        yield


class TorchObjective(DataObjective):
    """L(θ) of a module over samples (see ``base.Objective``)."""

    def __init__(
        self,
        module: Any,
        parameters: Mapping[str, Tensor],
        input_names: Sequence[str],
        samples: Samples,
        loss: LossSpec,
        *,
        output: str | None,
        batch_size: int,
        target_column: str,
        device: torch.device,
        dtype: torch.dtype,
        where: str,
    ) -> None:
        """Prepare, with one forward pass that settles the link, the output's shape and the denominator.

        Raises:
            SpecError: the loss declaration contradicts the model.
            DataError: targets that do not fit the output.
            ModelError: the forward pass fails.
        """
        super().__init__(samples, loss, batch_size, target_column, where)
        self.module, self.parameters, self.input_names = module, parameters, tuple(input_names)
        self.output_name, self.device, self.dtype = output, device, dtype
        self._required: set[str] | None = None
        self._interleaved: dict[str, bool] = {}
        self.require(list(parameters))
        arguments = self.tensors(self.first_batch())
        if not parameters:
            # Without weights to differentiate by, the graph whose end tells the final operation starts at the inputs.
            arguments = {n: t.requires_grad_(t.is_floating_point()) for n, t in arguments.items()}
        probe = self.forward(arguments)
        final = _final_operation(probe)
        values = as_float64(probe.detach().cpu())
        del probe
        self._settle(values, final, _CLASS_AXIS)

    def require(self, names: Sequence[str]) -> None:
        """Let only these parameters be differentiated: the graph then starts at the first of them."""
        wanted = set(names)
        if wanted == self._required:
            return
        for name, tensor in self.parameters.items():
            tensor.requires_grad_(name in wanted)
        self._required = wanted

    def tensors(self, batch: Batch) -> dict[str, Tensor]:
        """A batch's inputs on the device, floats in the objective's dtype."""
        arguments = {}
        for name in self.input_names:
            tensor = torch.from_numpy(np.asarray(batch.inputs[name], order="C"))
            arguments[name] = tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)
        return arguments

    def forward(self, arguments: Mapping[str, Tensor], output: str | None = None) -> Tensor:
        """The output that the loss is taken of, or the one named, for one batch."""
        try:
            with differentiable():
                # A module may work in place on what it is given; autograd forbids that for what it differentiates by.
                result = self.module(**{n: t.clone() if t.requires_grad else t for n, t in arguments.items()})
        except (RuntimeError, torch.jit.Error) as error:
            raise ModelError(_forward_failed(self.where, arguments, error)) from error
        return _choose(result, self.output_name if output is None else output, self.where)

    def _output_values(self, batch: Batch) -> Array:
        self.require([])
        return as_float64(self.forward(self.tensors(batch)).detach().cpu())

    def _read_sites(self, parameters: Sequence[str]) -> Mapping[str, Site]:
        batch = next(self.batches(parameters))
        found = batch.read_sites()
        self._interleaved.update(batch.sites.interleaved)
        return found

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """See ``base.Objective``."""
        return next(self.batches(parameters)).sites.joint_blocker(parameters)

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[TorchBatch]:
        """The data from batch ``start`` on; see ``base.Objective``."""
        for data in self.samples.batches(self.batch_size, start=start):
            yield TorchBatch(self, data, parameters)

    # -- derivatives by the inputs, and in parts (see ``pointwise.PointwiseObjective``) -------------------------------

    def differentiable_inputs(self) -> tuple[str, ...]:
        """The names of the floating-point inputs."""
        return tuple(n for n, tensor in self.tensors(self.first_batch()).items() if tensor.is_floating_point())

    def output_shape(self, output: str | None) -> tuple[int, ...]:
        """One sample's shape of an output."""
        self.require([])
        return self._of_one_sample(tuple(self.forward(self.tensors(self.first_batch()), output).shape), output)

    def input_batches(
        self, function: SampleFunction, inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[TorchInputBatch]:
        """The data from batch ``start`` on."""
        for data in self.samples.batches(self.batch_size, start=start):
            yield TorchInputBatch(self, data, function, inputs)

    def chain_batches(
        self, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[TorchChainBatch]:
        """The data from batch ``start`` on, split at a layer."""
        for data in self.samples.batches(self.batch_size, start=start):
            yield TorchChainBatch(self, data, layer, parameters, inputs)

    @contextmanager
    def moved(self, offsets: Mapping[str, Array]) -> Iterator[None]:
        """See ``pointwise.PointwiseObjective``."""
        kept = {name: self.parameters[name].detach().clone() for name in offsets}
        try:
            with torch.no_grad():
                for name, offset in offsets.items():
                    self.parameters[name].add_(torch.from_numpy(offset).to(self.device, self.dtype))
            yield
        finally:
            with torch.no_grad():
                for name, values in kept.items():
                    self.parameters[name].copy_(values)

    def memory_in_use(self) -> int:
        """See ``base.Objective``."""
        if self.device.type == "cuda":
            return int(torch.cuda.memory_allocated(self.device))
        return process_memory()

    def memory_peak(self) -> int:
        """See ``base.Objective``."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return peak_memory()

    def memory_release(self) -> None:
        """See ``base.Objective``."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        release_memory()

    def memory_free(self) -> int:
        """See ``base.Objective``."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            # What the caching allocator holds and nobody uses can be had too.
            return int(free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device))
        return available_memory()

    def interleaved(self, parameter: str) -> bool:
        """Whether a parameter's z was found to be time-major."""
        return self._interleaved.get(parameter, False)


_NORMALISERS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}


def _final_operation(output: Tensor) -> str | None:
    """The softmax or sigmoid the output comes from, if it comes from one."""
    if output.grad_fn is None:
        return None
    name = _NORMALISERS.get(operation(output.grad_fn))
    if name in ("softmax", "log_softmax"):
        axis = int(output.grad_fn._saved_dim)  # type: ignore[attr-defined]
        # The axis is stored unsigned; -1 comes back as a huge number.
        axis = axis - (1 << 64) if axis >= 1 << 63 else axis
        return name if axis % output.ndim == _CLASS_AXIS else None
    return name


def _choose(result: Any, name: str | None, where: str) -> Tensor:
    """The output that the loss is taken of, from whatever the module returned."""
    if isinstance(result, Tensor):
        if name not in (None, "output", "0"):
            raise UsageError(f"{where} has no output {name!r}: it has a single unnamed one (call it output).")
        return result
    if isinstance(result, dict):
        outputs = {str(k): v for k, v in result.items()}
    elif hasattr(result, "_fields"):
        outputs = dict(zip(result._fields, result, strict=True))
    elif isinstance(result, (tuple, list)):
        outputs = {str(i): v for i, v in enumerate(result)}
    else:
        raise ModelError(f"{where} returns a {type(result).__name__}, not tensors.")
    if name in (None, "output") and len(outputs) == 1:
        name = next(iter(outputs))
    if name not in outputs or not isinstance(outputs[name], Tensor):
        raise UsageError(
            f"{where} has the outputs {', '.join(outputs)}: "
            "choose one of them (loss.output in the dataset spec, or --of)."
        )
    chosen: Tensor = outputs[name]
    return chosen


def _forward_failed(where: str, arguments: Mapping[str, Tensor], error: Exception) -> str:
    shapes = ", ".join(
        f"{name} {tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for name, t in arguments.items()
    )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "Error" in line or "error" in line), lines[-1] if lines else "")
    advice = "Check [inputs] of the dataset spec: shape, layout, dtype."
    return f"{where} fails on the data ({shapes}): {reason[:300]}\n{advice}"
