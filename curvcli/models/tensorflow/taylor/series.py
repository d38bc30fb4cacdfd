"""One batch's derivatives along coordinates or directions of the inputs, by Taylor coefficients carried forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from curvcli.errors import ModelError
from curvcli.models.base import Array, as_float64
from curvcli.models.pointwise import NoSeriesError
from curvcli.models.taylor.held import bytes_held
from curvcli.models.taylor.order import SAME, Order, candidates, weights_of_samples
from curvcli.models.tensorflow.imported import Imported
from curvcli.models.tensorflow.loss_operations import TENSORFLOW
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.taylor.call import NoRuleError
from curvcli.models.tensorflow.taylor.forward import TracedGraph

# Numbers in the largest coefficient of one chunk of coordinates: few enough to stay near the processor.
_HELD = 1 << 19
# (key, body(graph, variables, *arguments), arguments) → what the body gives, traced once per key.
Run = Callable[..., Any]
Nested = Callable[[int, int], Array]


class TensorFlowSeries:
    """See ``pointwise.InputSeries``."""

    def __init__(self, run: Run, nested: Nested, shapes: Sequence[tuple[int, ...]], samples: int, dtype: Any) -> None:
        """Find how the values on the way belong to samples.

        Args:
            run: a function of the batch's graph, on the batch.
            nested: derivatives of all orders along a coordinate, the value first, by another way.
            shapes: of the inputs.
            samples: of the batch.
            dtype: of the inputs.

        Raises:
            NoSeriesError: an operation can't be followed.
        """
        self._run, self._nested, self._shapes, self.samples = run, nested, list(shapes), samples
        self._dtype = dtype
        tf = tensorflow()
        weights = np.array(weights_of_samples(samples))

        def look(graph: Imported, variables: Sequence[Any], tensor: Any) -> Any:
            traced = TracedGraph(variables, graph.output, _slope(graph))
            axes = len(graph.output.shape)
            shaped = tf.reshape(tensor, [-1, *[1] * (axes - 1)]) if axes and samples > 1 else tensor[0]
            counts = tf.constant([traced.largest, traced.alive], dtype=tf.int64)
            return [counts, traced.slopes(), traced.slopes(shaped)]

        with self._explained():
            counts, slopes, weighted = run("taylor slopes", look, tf.constant(weights, dtype=dtype))
        self._largest, self._alive = map(int, counts.numpy())
        orders: list[Order | str | None] = []
        for one, other in zip(slopes, weighted, strict=True):
            slope = one.numpy()
            orders.append(_order_of(slope, other.numpy(), weights) if slope.any() else None)
        told = [one for one in orders if not isinstance(one, str)]
        self._orders = tuple(told) if len(told) == len(orders) else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except NoRuleError as error:
            raise NoSeriesError(f"no rule for {error}") from error
        except NoSeriesError:
            raise
        # As gradients and kernels refuse an operation, and as rules do where a shape is not known before it is run.
        except (ModelError, NotImplementedError, RuntimeError, AttributeError, IndexError) as error:
            raise NoSeriesError((str(error).splitlines() or [type(error).__name__])[0][:160].rstrip(".")) from error

    def at_once(self, order: int) -> int:
        return max(1, _HELD // (max(1, self._largest) * max(1, order - 1)))

    def held(self, order: int) -> int:
        return bytes_held(self._alive, self._largest, order, int(self._dtype.size))

    def derivatives(self, coordinates: Sequence[int], order: int) -> Array:
        count, size = len(coordinates), sum(prod(shape) for shape in self._shapes) // self.samples
        units = np.zeros((count, 1, size))
        units[np.arange(count), 0, list(coordinates)] = 1.0
        return self.along(np.broadcast_to(units, (count, self.samples, size)), order)

    def along(self, vectors: Array, order: int) -> Array:
        tf, samples, orders = tensorflow(), self.samples, self._orders
        sizes = [prod(shape) // samples for shape in self._shapes]
        segments = np.split(vectors, np.cumsum(sizes)[:-1], axis=2)
        # An input along which no direction goes is a constant.
        moved = [bool(one.any()) for one in segments]
        shaped = zip(segments, self._shapes, moved, strict=True)
        seeds = [tf.constant(one.reshape(len(vectors), *s), dtype=self._dtype) for one, s, used in shaped if used]
        if not seeds:
            return np.zeros((len(vectors), samples, order))

        def body(graph: Imported, variables: Sequence[Any], *seeds: Any) -> Any:
            used = [one for one, use in zip(variables, moved, strict=True) if use]
            slope = _slope(graph)
            traced = TracedGraph(used, graph.output, slope)
            by_output = None
            if orders is not None:
                whole = TracedGraph(variables, graph.output, slope)
                of_value = dict(zip((one.ref() for one in whole.bent), orders, strict=True))
                by_output = [of_value[one.ref()] for one in traced.bent]
            return traced.derivatives(seeds, order, samples, by_output)

        with self._explained():
            return as_float64(self._run(("taylor", order, tuple(moved), orders), body, *seeds))

    def nested(self, coordinate: int, order: int) -> Array:
        with self._explained():
            return self._nested(coordinate, order)[:, 1:]


def _slope(graph: Imported) -> Any:
    """∂Σf/∂o, of operations that are seen one by one; the mask picks the entry of the output."""
    return graph.loss.slope(TENSORFLOW, graph.output, graph.truth, graph.weight) * graph.fetched["mask"]


def _order_of(slope: Array, weighted: Array, weights: Array) -> Order | str:
    """How a value's entries belong to samples, told from the slope of Σ f_n and that of Σ w_n f_n by it."""
    samples = len(weights)
    for order in candidates(slope.shape, samples):
        if samples == 1:
            return order
        shape, axis = order.split(slope.shape)
        plain, other = (np.moveaxis(one.reshape(shape), axis, 0).reshape(samples, -1) for one in (slope, weighted))
        if (np.abs(other - plain * weights[:, None]) <= SAME * np.abs(plain)).all():
            return order
    return "mixed"
