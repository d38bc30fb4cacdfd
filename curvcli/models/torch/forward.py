"""Forward passes of a program, which leave a graph that can be differentiated again and again."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curvcli.data.interface import Batch
from curvcli.errors import DataError, ModelError, UsageError
from curvcli.models.outputs import named_output, no_such_output
from curvcli.models.torch import bus
from curvcli.models.torch.device import full
from curvcli.models.torch.parameters import Parameters
from curvcli.models.torch.program import Original, Program, UnfitBatchError, differentiable

# How far the outputs of two ways to compute the same may be apart, relative to the largest.
_SAME = {torch.float32: 1e-3, torch.float64: 1e-9}
_SAME_ROUGHLY = 5e-2  # in half precision
# What PyTorch's messages speak of where arguments do not fit: other formats know shapes and dtypes before they run.
_MISFIT = re.compile(r"shape|\bsizes?\b|dimension|channels|scalar type|index out of range", re.IGNORECASE)


class Forward:
    """A program with its parameters, run on batches of data.

    Attributes:
        program: the whole model.
        parameters: it is differentiated by these.
        output: the name of the output that the loss is taken of; None for the only one.
        where: the model, for messages.
        edge_cut: whether the loss's input stands one operation before what a pass returns.
        flattened: whether samples and what each has many of are one axis of that output; here it is two.
    """

    def __init__(self, program: Program, parameters: Parameters, output: str | None, where: str) -> None:
        self.program, self.parameters, self.output, self.where = program, parameters, output, where
        self.edge_cut = self.flattened = False
        self._before_final: Program | None = None

    def cut(self, before: Program | None) -> None:
        """Take the loss of what stands before the final softmax or sigmoid.

        Args:
            before: the program that returns it; None if only the graph of a pass can be cut, at its last edge.
        """
        self._before_final, self.edge_cut = before, before is None

    def tensors(self, batch: Batch) -> dict[str, Tensor]:
        """A batch's inputs on the device, floats in the parameters' dtype."""
        arguments = {}
        for name in self.program.inputs:
            values = np.asarray(batch.inputs[name])
            dtype = self.parameters.dtype if np.issubdtype(values.dtype, np.floating) else None
            # A copy: a module may work in place on its inputs, and the batch is not the module's.
            arguments[name] = bus.to_device(values, self.parameters.device, dtype, copy=True)
        return arguments

    def __call__(self, arguments: Mapping[str, Tensor], output: str | None = None) -> Tensor:
        """What the loss is taken of, or the output of this name, for one batch.

        Raises:
            DataError: the data do not fit the model.
            ModelError: the forward pass fails.
            UsageError: there is no such output.
        """
        program = self.program if output is not None else self._before_final or self.program
        chosen = choose(self._run(program, arguments), self.output if output is None else output, self.where)
        return self._by_sample(chosen, samples_of(arguments)) if output in (None, self.output) else chosen

    def whole(self, arguments: Mapping[str, Tensor]) -> tuple[Tensor, int | None]:
        """What the loss is taken of, for one batch, which may be filled up to as many samples as the file takes.

        Returns:
            It, and how many of its rows are the batch's own; None if all. Every value on the way has as many rows as in
            any other batch, so that this graph can be read like theirs.

        Raises:
            DataError: the data do not fit the model.
            ModelError: the forward pass fails.
        """
        samples, most = samples_of(arguments), self.program.samples
        if most is None or samples >= most:
            return self(arguments), None
        program = self._before_final or self.program
        chosen = self._by_sample(choose(self._run(program, arguments, whole=True), self.output, self.where), most)
        if len(chosen) > most:
            return chosen[: samples * (len(chosen) // most)], None  # several rows each, which the targets will refuse
        return chosen, samples

    def outputs(self, arguments: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All tensors that the whole model returns for one batch, by name; an only unnamed one is called ``output``.

        Raises:
            DataError: the data do not fit the model.
            ModelError: the forward pass fails, or returns no tensors.
        """
        return named_tensors(self._run(self.program, arguments), self.where)

    def _by_sample(self, output: Tensor, samples: int) -> Tensor:
        return output.reshape(samples, len(output) // samples, *output.shape[1:]) if self.flattened else output

    def _run(self, program: Program, arguments: Mapping[str, Tensor], *, whole: bool = False) -> Any:
        try:
            with differentiable(self.parameters.dtype, recurrent=program.recurrent):
                # In place on what is differentiated by, autograd forbids it; and the arguments serve more than once.
                return program({n: t.clone() for n, t in arguments.items()}, whole=whole)
        except RuntimeError as error:
            raise _forward_failed(self.where, arguments, error) from error

    def repeatable(self, program: Program, arguments: Mapping[str, Tensor]) -> Tensor:
        """The output that the loss is taken of, detached; with the same random numbers in every call.

        Gradients stay enabled: a model may take derivatives itself, and return them.
        """
        with torch.random.fork_rng():
            torch.manual_seed(0)
            chosen = choose(self._run(program, arguments), self.output, self.where).detach()
            return self._by_sample(chosen, samples_of(arguments))

    def compare(self, original: Original, arguments: Mapping[str, Tensor]) -> None:
        """Compare what the program returns with what the file's own function does.

        Raises:
            ModelError: they differ by more than rounding.
        """
        kinds = {n: original.dtype if t.is_floating_point() else t.dtype for n, t in arguments.items()}
        narrow = {n: t.detach().to(kinds[n], copy=True) for n, t in arguments.items()}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            try:
                # What a module prints is not for standard output, where the results are.
                with differentiable(original.dtype), redirect_stdout(sys.stderr):
                    own = choose(original.run(narrow), self.output, self.where).detach().to(self.parameters.dtype)
            except RuntimeError as failure:
                raise _forward_failed(self.where, narrow, failure) from failure
        rewritten = self.repeatable(self.program, arguments)
        error, scale = (bus.number(t.abs().max()) if t.numel() else 0.0 for t in (own - rewritten, own))
        same = _SAME_ROUGHLY if original.rough else _SAME.get(original.dtype, _SAME_ROUGHLY)
        if bus.holds(torch.isfinite(own).all()) and error > same * scale:
            raise ModelError(
                f"{self.where}: after replacing operations without second derivatives the model returns other numbers "
                f"(by {error / scale:.2g} of the largest), so its derivatives would be of another function.\n"
                "Please report this with the model; torch.export may give a file that works."
            )


def samples_of(arguments: Mapping[str, Tensor]) -> int:
    """How many samples a batch has."""
    return next(len(tensor) for tensor in arguments.values() if tensor.ndim)


def choose(returned: Any, name: str | None, where: str) -> Tensor:
    """The output of some name, from whatever the module returned; what it left out is None, and no output.

    Raises:
        UsageError: there is none of that name, or several and no name.
        ModelError: the module returns no tensors.
    """
    if isinstance(returned, Tensor):
        if name not in (None, "output", "0"):
            raise UsageError(f"{where} has no output {name!r}: it has a single unnamed one (call it output).")
        return returned
    outputs = _by_name(returned, where)
    chosen = named_output({n: value for n, value in outputs.items() if value is not None}, name, where)
    if not isinstance(chosen, Tensor):
        raise UsageError(no_such_output(outputs, where))
    return chosen


def named_tensors(returned: Any, where: str) -> dict[str, Tensor]:
    """All tensors of whatever the module returned, by name.

    Raises:
        ModelError: there are none.
    """
    if isinstance(returned, Tensor):
        return {"output": returned}
    tensors = {name: value for name, value in _by_name(returned, where).items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"{where} returns no tensors.")
    return tensors


def _by_name(returned: Any, where: str) -> dict[str, Any]:
    if isinstance(returned, dict):
        return {str(k): v for k, v in returned.items()}
    if hasattr(returned, "_fields"):
        return dict(zip(returned._fields, returned, strict=True))
    if isinstance(returned, (tuple, list)):
        return {str(i): v for i, v in enumerate(returned)}
    raise ModelError(f"{where} returns a {type(returned).__name__}, not tensors.")


def _forward_failed(where: str, arguments: Mapping[str, Tensor], error: Exception) -> DataError | ModelError:
    """What the interpreter says, as a mistake in the data where it says that these do not fit."""
    if (too_little := full(where, error)) is not None:
        return too_little
    shapes = ", ".join(
        f"{name} {tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for name, t in arguments.items()
    )
    if isinstance(error, UnfitBatchError):
        return DataError(f"{where}: {error}\n{error.advice}")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "Error" in line or "error" in line), lines[-1] if lines else "")
    advice = "Check [inputs] of the dataset spec: shape, layout, dtype."
    kind = DataError if _MISFIT.search(reason) else ModelError
    return kind(f"{where} fails on the data ({shapes}): {reason[:300]}\n{advice}")
