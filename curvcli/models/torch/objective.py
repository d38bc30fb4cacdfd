"""The objective of a torch module: forward passes that leave a graph which can be differentiated again and again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curvcli.data.interface import Batch, Samples
from curvcli.errors import ModelError, UsageError
from curvcli.memory import available_memory
from curvcli.models.base import Array, Site, as_float64, merged_sites
from curvcli.models.memory import peak_memory, process_memory, release_memory
from curvcli.models.objective import DataObjective
from curvcli.models.pointwise import SampleFunction
from curvcli.models.torch.batch import Structure, TorchBatch
from curvcli.models.torch.chain import TorchChainBatch
from curvcli.models.torch.graph import operation
from curvcli.models.torch.inputs import TorchInputBatch
from curvcli.models.torch.program import FinalOperation, Program, differentiable
from curvcli.spec.loss import LossSpec
from curvcli.wording import option

# Torch's convention where neither spec nor targets say it: the classes are axis 1.
_CLASS_AXIS = 1


# How far the outputs of two ways to compute the same may be apart, relative to the largest.
_SAME = {torch.float32: 1e-3, torch.float64: 1e-9}
_SAME_ROUGHLY = 5e-2  # in half precision


@dataclass(frozen=True)
class Original:
    """The module as it was saved.

    Attributes:
        module: untouched, in inference mode.
        dtype: of its numbers.
    """

    module: Any
    dtype: torch.dtype


class TorchObjective(DataObjective):
    """L(θ) of a module over samples (see ``base.Objective``)."""

    def __init__(
        self,
        program: Program,
        original: Original | None,
        parameters: Mapping[str, Tensor],
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
        self.program, self.parameters, self.input_names = program, parameters, program.inputs
        self._loss_program, self.edge_cut = program, False
        self.output_name, self.device, self.dtype = output, device, dtype
        self.structures: dict[Hashable, Structure] = {}
        self.require(list(parameters))
        arguments = self.tensors(self.first_batch())
        if not parameters:
            # Without weights to differentiate by, the graph whose end tells the final operation starts at the inputs.
            arguments = {n: t.requires_grad_(t.is_floating_point()) for n, t in arguments.items()}
        probe = self.forward(arguments)
        if original is not None:
            self._hold_against(original, arguments)
        axis = self._class_axis(tuple(probe.shape), _CLASS_AXIS)
        ending = self._final(arguments, axis)
        final = _final_operation(probe, axis) if ending is None else ending.name
        values = as_float64(probe.detach().cpu())
        del probe
        self._settle(values, final, axis)
        if self.loss.cut and ending is not None:
            self._loss_program = ending.before
        self.edge_cut = self.loss.cut and ending is None

    @property
    def random(self) -> tuple[str, ...]:
        """See ``DataObjective``."""
        return self.program.random

    @property
    def branches(self) -> bool:
        """See ``DataObjective``."""
        return self.program.branches

    @property
    def batch_statistics(self) -> bool:
        """See ``DataObjective``."""
        return self.program.batch_statistics

    def require(self, names: Sequence[str]) -> None:
        """Let only these parameters be differentiated: the graph then starts at the first of them."""
        wanted = set(names)
        for name, tensor in self.parameters.items():
            # Asked of the tensor: objectives of other samples share it.
            if tensor.requires_grad != (name in wanted):
                tensor.requires_grad_(name in wanted)

    def tensors(self, batch: Batch) -> dict[str, Tensor]:
        """A batch's inputs on the device, floats in the objective's dtype."""
        arguments = {}
        for name in self.input_names:
            tensor = torch.from_numpy(np.asarray(batch.inputs[name], order="C"))
            # A copy: a module may work in place on what it is given, and the batch is not the module's.
            dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
            arguments[name] = tensor.to(self.device, dtype, copy=True)
        return arguments

    def forward(self, arguments: Mapping[str, Tensor], output: str | None = None) -> Tensor:
        """What the loss is taken of, or the output named, for one batch."""
        program = self._loss_program if output is None else self.program
        return _choose(self._run(program, arguments), self.output_name if output is None else output, self.where)

    def _run(self, program: Callable[[Mapping[str, Tensor]], Any], arguments: Mapping[str, Tensor]) -> Any:
        try:
            with differentiable(self.dtype):
                # In place on what is differentiated by, autograd forbids it; and what is given serves more than once.
                return program({n: t.clone() for n, t in arguments.items()})
        except (RuntimeError, torch.jit.Error) as error:
            raise ModelError(_forward_failed(self.where, arguments, error)) from error

    def _alike(self, program: Callable[[Mapping[str, Tensor]], Any], arguments: Mapping[str, Tensor]) -> Tensor:
        """The output that the loss is taken of, with the same random numbers in every call."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            return _choose(self._run(program, arguments), self.output_name, self.where).detach()

    def _final(self, arguments: Mapping[str, Tensor], axis: int) -> FinalOperation | None:
        """The normaliser along the classes that the output comes from, if the program can be cut before it.

        The cut is taken only where the same normaliser of what it returns is the output itself.
        """
        ending = self.program.final(self.output_name)
        if ending is None:
            return None
        before = self._alike(ending.before, arguments)
        if ending.name == "sigmoid":
            expected = torch.sigmoid(before)
        elif before.ndim > axis:
            expected = getattr(torch, ending.name)(before, axis)
        else:
            return None
        given = self._alike(self.program, arguments)
        same = expected.shape == given.shape and torch.allclose(expected, given, rtol=1e-4, atol=1e-6, equal_nan=True)
        return ending if same else None

    def _hold_against(self, original: Original, arguments: Mapping[str, Tensor]) -> None:
        """Compare what the program returns with what the file's own ``forward`` does.

        Raises:
            ModelError: they differ by more than rounding.
        """
        kinds = {n: original.dtype if t.is_floating_point() else t.dtype for n, t in arguments.items()}
        narrow = {n: t.detach().to(kinds[n], copy=True) for n, t in arguments.items()}
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            try:
                # What a module prints is not for standard output, where the results are.
                with differentiable(original.dtype), redirect_stdout(sys.stderr):
                    own = _choose(original.module(**narrow), self.output_name, self.where).to(self.dtype)
            except (RuntimeError, torch.jit.Error) as failure:
                raise ModelError(_forward_failed(self.where, narrow, failure)) from failure
        mine = self._alike(self.program, arguments)
        error, scale = (float(t.abs().max()) if t.numel() else 0.0 for t in (own - mine, own))
        if torch.isfinite(own).all() and error > _SAME.get(original.dtype, _SAME_ROUGHLY) * scale:
            raise ModelError(
                f"{self.where}: after replacing operations without second derivatives the model returns other numbers "
                f"(by {error / scale:.2g} of the largest), so its derivatives would be of another function.\n"
                "Please report this with the model; torch.export may give a file that works."
            )

    def _output_values(self, batch: Batch) -> Array:
        self.require([])
        return as_float64(self.forward(self.tensors(batch)).detach().cpu())

    def _examined(self, parameters: Sequence[str]) -> Iterator[TorchBatch]:
        """Batches whose graphs tell those of all others: the first and the last, which may be shorter.

        All of them where the model branches: then each may take a way of its own.
        """
        last = self.batch_count() - 1
        if self.program.branches:
            yield from self.batches(parameters)
            return
        yield next(self.batches(parameters))
        if last and len(self.samples) % self.batch_size:
            yield next(self.batches(parameters, start=last))

    def _read_sites(self, parameters: Sequence[str]) -> Mapping[str, Site]:
        found = list(map(lambda batch: batch.sites(parameters), self._examined(parameters)))  # noqa: C417 - one at a time
        return {name: merged_sites([sites[name] for sites in found]) for name in parameters}

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """See ``base.Objective``."""
        found = (batch.joint_blocker(parameters) for batch in self._examined(parameters))
        return next((blocker for blocker in found if blocker is not None), None)

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


_NORMALISERS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}


def _final_operation(output: Tensor, class_axis: int) -> str | None:
    """The softmax along the classes or sigmoid that the output comes from, if it comes from one."""
    if output.grad_fn is None:
        return None
    name = _NORMALISERS.get(operation(output.grad_fn))
    if name in ("softmax", "log_softmax"):
        axis = int(output.grad_fn._saved_dim)  # type: ignore[attr-defined]
        # The axis is stored unsigned; -1 comes back as a huge number.
        axis = axis - (1 << 64) if axis >= 1 << 63 else axis
        return name if axis % output.ndim == class_axis else None
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
            f"choose one of them (loss.output in the dataset spec, or {option('of')})."
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
