"""One batch's derivatives along coordinates or directions of the inputs, by Taylor coefficients carried forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.data_loss import DataLoss
from curvcli.models.pointwise import NoSeriesError, SampleFunction
from curvcli.models.taylor.held import bytes_held
from curvcli.models.torch import bus
from curvcli.models.torch.end import LossEnd
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.taylor.call import NoRuleError
from curvcli.models.torch.taylor.forward import TaylorForward
from curvcli.models.torch.taylor.tape import UnrecordableError, recorded

# Numbers in the largest coefficient of one chunk of coordinates: few enough to stay near the processor.
_HELD = 1 << 19
# How far the recorded operations may be from the program, relative to the largest entry: rounding.
_SAME = {torch.float32: 1e-3, torch.float64: 1e-9}
# glibc gives blocks up to this size back at once, until the first of them was freed; then it keeps them.
_BLOCK = (32 << 20) - (64 << 10)


class TorchSeries:
    """See ``pointwise.InputSeries``."""

    def __init__(
        self,
        forward: Forward,
        data_loss: DataLoss,
        data: Batch,
        function: SampleFunction,
        inputs: Sequence[str],
        ends: tuple[Tensor, Tensor],
    ) -> None:
        """Record the batch's pass.

        Args:
            forward: of the program.
            data_loss: of all the data.
            data: the batch.
            function: of every sample.
            inputs: by which it is differentiated.
            ends: what the program returned for it, and the derivative of Σ f_n by that.

        Raises:
            NoSeriesError: an operation can't be followed, or what was recorded computes something else.
        """
        _keep_freed_blocks()
        if forward.program.random:
            raise NoSeriesError(f"{', '.join(forward.program.random)} draws random numbers")
        if forward.edge_cut and function.output is None:
            raise NoSeriesError("the loss is taken of what stands before the last operation")
        self._where, self._tensor = forward.where, forward.parameters.tensor
        arguments = forward.tensors(data)
        output, slope = (one.detach() for one in ends)
        self.samples = 1 if data_loss.scalar else output.shape[0]

        def computed(*tensors: Tensor) -> tuple[Tensor, Tensor]:
            raw = forward({**arguments, **dict(zip(inputs, tensors, strict=True))}, function.output)
            if function.output is not None:
                return raw, slope
            return raw, LossEnd(forward, data_loss, raw, data, closed=False).cotangent

        with self._explained():
            tensors = [arguments[name].requires_grad_() for name in inputs]
            tape = recorded(computed, tensors)
            self._taylor = TaylorForward(tape, tensors, self.samples)
            self._shapes = [tuple(one.shape) for one in tensors]
            self._size = max(one.element_size() for one in tensors)
        for recomputed, direct in zip(self._taylor.ends, (output, slope), strict=True):
            scale = bus.number(direct.abs().max()) if direct.numel() else 0.0
            if direct.numel() and not bus.number((recomputed - direct).abs().max()) <= _SAME[direct.dtype] * scale:
                raise NoSeriesError("run again, its operations return other numbers")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except NoRuleError as error:
            raise NoSeriesError(f"no rule for {error}") from error
        except UnrecordableError as error:
            raise NoSeriesError(str(error)) from error
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise NoSeriesError(f"{type(error).__name__}: {error}") from error
        except (RuntimeError, ModelError) as error:
            # The pass itself succeeds: what fails is that it is recorded.
            cause = error.__cause__ if isinstance(error, ModelError) and error.__cause__ is not None else error
            raise NoSeriesError((str(cause).splitlines() or [type(cause).__name__])[0][:160]) from error

    def at_once(self, order: int) -> int:
        return max(1, _HELD // (max(1, self._taylor.largest) * max(1, order - 1)))

    def held(self, order: int) -> int:
        return bytes_held(self._taylor.alive, self._taylor.largest, order, self._size)

    def _sizes(self) -> list[int]:
        return [int(np.prod(shape)) // self.samples for shape in self._shapes]

    def derivatives(self, coordinates: Sequence[int], order: int) -> Array:
        seeds: list[Tensor | None] = []
        rows: list[tuple[int, ...]] = []
        start = 0
        for shape, size in zip(self._shapes, self._sizes(), strict=True):
            own = [(row, c - start) for row, c in enumerate(coordinates) if start <= c < start + size]
            start += size
            rows.append(tuple(row for row, _ in own))
            if not own:
                seeds.append(None)
                continue
            units = np.zeros((len(own), size))
            units[np.arange(len(own)), [place for _, place in own]] = 1.0
            unit = self._tensor(units)
            if self.samples == shape[0]:
                seeds.append(unit.reshape(len(own), 1, *shape[1:]).expand(len(own), *shape))
            else:
                seeds.append(unit.reshape(len(own), *shape))
        return self._carried(seeds, rows, order)

    def along(self, vectors: Array, order: int) -> Array:
        segments = torch.split(self._tensor(vectors), self._sizes(), dim=2)
        seeds: list[Tensor | None] = [
            one.reshape(len(vectors), *shape) for one, shape in zip(segments, self._shapes, strict=True)
        ]
        return self._carried(seeds, [tuple(range(len(vectors)))] * len(seeds), order)

    def _carried(self, seeds: Sequence[Tensor | None], rows: Sequence[tuple[int, ...]], order: int) -> Array:
        with self._explained():
            return bus.to_host(self._taylor.derivatives(seeds, rows, order))

    def nested(self, coordinate: int, order: int) -> Array:
        starts = np.cumsum([0, *self._sizes()])
        which = int(np.searchsorted(starts, coordinate, side="right")) - 1
        with self._explained():
            return bus.to_host(self._taylor.nested(which, coordinate - int(starts[which]), order))


@cache
def _keep_freed_blocks() -> None:
    """Let the C library keep the coefficients' memory between operations, instead of asking the system each time."""
    torch.empty(_BLOCK, dtype=torch.uint8)
