"""One batch of a TensorFlow objective: its head run once, every derivative a traced function of the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.losses.interface import OutputState
from curvcli.models.arrays import Rows, rows_of
from curvcli.models.base import Array, Bend, Site, as_float64
from curvcli.models.bundle import Vectors
from curvcli.models.data_loss import DataLoss
from curvcli.models.tensorflow.bend_columns import BendColumns
from curvcli.models.tensorflow.columns import ColumnSquares
from curvcli.models.tensorflow.confirm import Located
from curvcli.models.tensorflow.cut import CutBatch
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.imported import Imported, along, gradients, joined, parts
from curvcli.models.tensorflow.joints import Joints, mixed
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.several import SeveralUses
from curvcli.models.tensorflow.sites import read_sites
from curvcli.models.tensorflow.vectors import bundled

# Columns are squared and added in the model's dtype this many at a time, then in float64.
_FLUSH = 32
# To cut a graph in two for all parameters takes as long as to trace so many functions of one.
_MANY_PARAMETERS = 5


class TensorFlowBatch:
    """One batch, its head already run (see ``base.DifferentiatedBatch``)."""

    def __init__(
        self,
        forward: Forward,
        data_loss: DataLoss,
        located: dict[str, Located],
        known_sites: Callable[[Sequence[str]], dict[str, Site]],
        data: Batch,
        parameters: Sequence[str],
    ) -> None:
        """Run everything before the chosen weights.

        Args:
            forward: runs it.
            data_loss: of all the data.
            located: canonical forms by parameter; shared, and added to where sites are read.
            known_sites: what was read off the graph, which is the same for all batches.
            data: this batch.
            parameters: what it will be differentiated by.
        """
        self._forward, self._data_loss, self._located, self._known_sites = forward, data_loss, located, known_sites
        self._names, self._data = tuple(parameters), data
        self._rows: dict[str, Array | None] = {}
        self._bends: dict[tuple[str, ...], BendColumns] = {}
        self._squares: ColumnSquares | None = None
        self._several: dict[tuple[str, ...], SeveralUses] = {}
        self._cut = CutBatch(forward, data_loss, data, parameters)
        self.samples = self._cut.samples

    @property
    def output(self) -> OutputState:
        return OutputState(self._data_loss.loss, self._cut.values, self._cut.targets)

    def loss(self) -> float:
        return self.output.value

    def gradient(self, parameters: Sequence[str]) -> dict[str, Array]:
        if not self._cut.reached:
            return {p: self._zeros(p) for p in parameters}
        names = tuple(parameters)
        slopes = self._cut.run(("gradient", names), lambda g: g.gradients([g.weights[p] for p in names]))
        return {p: as_float64(value) for p, value in zip(names, slopes, strict=True)}

    def _zeros(self, parameter: str) -> Array:
        return np.zeros(tuple(self._forward.weights[parameter].shape))

    def _tensor(self, array: Array) -> Any:
        return tensorflow().constant(array, dtype=self._forward.dtype)

    # -- the graph ----------------------------------------------------------------------------------------------------

    def read_sites(self) -> dict[str, Site]:
        """Where each parameter enters; see ``sites``. For the first batch."""
        return read_sites(self._forward, self._data_loss, self._located, self._names, self.samples, self._mixed)

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        # One graph is saved for all data; what branches in it is a loop's or a condition's, and has no site.
        return self._known_sites(parameters)

    def rows(self, parameter: str) -> Array | None:
        if parameter not in self._rows:
            self._rows[parameter] = self._forward.looked_up(parameter, self._data)
        return self._rows[parameter]

    def samples_separate(self, parameters: Sequence[str]) -> bool:
        return not self._mixed(tuple(parameters))

    def _mixed(self, names: tuple[str, ...]) -> list[str]:
        return mixed(self._cut, self._joints(names), self._forward.dtype)

    def _joints(self, parameters: Sequence[str]) -> Joints:
        return Joints.of(parameters, self._located, self.samples)

    # -- by z ---------------------------------------------------------------------------------------------------------

    def squared_columns(self, parameters: Sequence[str], columns: Array) -> dict[str, Array]:
        squares = self._column_squares(parameters, len(columns))
        squares.add(columns)
        return squares.sums()

    def column_squares(self, parameters: Sequence[str], count: int, *, anew: bool) -> ColumnSquares | None:
        under_way, self._squares = self._squares, None
        if anew or under_way is None or under_way.ended or under_way.key != (*parameters, count):
            under_way = self._column_squares(parameters, count)
        if under_way.together:
            self._squares = under_way
        return self._squares

    def _column_squares(self, parameters: Sequence[str], count: int) -> ColumnSquares:
        forward = self._forward
        return ColumnSquares(self._cut, self._joints(parameters), forward.functions, forward.dtype, count)

    def _bend_columns(self, parameters: Sequence[str]) -> BendColumns:
        names = tuple(parameters)
        if names not in self._bends:
            self._bends[names] = BendColumns(self._forward, self._cut, self._joints(names), self._data)
        return self._bends[names]

    def bends(self, parameters: Sequence[str]) -> tuple[Bend, ...]:
        return self._bend_columns(parameters).bends

    def bend_columns(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        return self._bend_columns(parameters).columns(start, stop)

    def bends_in_step(self, parameters: Sequence[str]) -> dict[str, Array]:
        return self._bend_columns(parameters).in_step()

    def _several_uses(self, parameters: Sequence[str]) -> SeveralUses:
        names = tuple(parameters)
        if names not in self._several:
            self._several[names] = SeveralUses(self._forward, self._cut, self._located, names)
        return self._several[names]

    def uses_separate(self, parameters: Sequence[str]) -> bool:
        return self._several_uses(parameters).separate

    def uses_vectors(self, parameters: Sequence[str]) -> int:
        return self._several_uses(parameters).vectors

    def uses_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        return self._several_uses(parameters).diagonal(start, stop)

    def output_hessian_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        tf, dtype, joints, n = tensorflow(), self._forward.dtype, self._joints(parameters), self.samples
        layout, uses = joints.single(), joints.uses

        def body(graph: Imported, numbers: Any) -> Any:
            z, prepared = joints.outputs(graph)[0], joints.prepared(graph)
            (first,) = graph.gradients([z])

            def one(number: Any) -> Any:
                channel, position = number // layout.positions, number % layout.positions
                basis = tf.one_hot(number, layout.channels * layout.positions, dtype=dtype)
                basis = tf.broadcast_to(basis, [n, layout.channels * layout.positions])
                vector = layout.original(tf.reshape(basis, [n, layout.channels, layout.positions]), n)
                (product,) = gradients([first], [z], [vector])
                row = tf.gather(layout.canonical(product, n), channel, axis=1)
                return [u.basis_product(channel, position, row, a, n) for u, a in zip(uses, prepared, strict=True)]

            signature = [tf.TensorSpec(None, dtype) for _ in uses]
            return tf.map_fn(one, numbers, fn_output_signature=signature, parallel_iterations=1)

        total = {p: self._zeros(p).reshape(-1) for p in parameters}
        for begin in range(start, stop, _FLUSH):
            numbers = np.arange(begin, min(begin + _FLUSH, stop))
            key = ("output-hessian", joints.names)
            products = self._cut.run_rows(key, body, tf.constant(numbers), fetch=joints.fetch)
            for name, use, values in zip(parameters, uses, products, strict=True):
                for number, value in zip(numbers, as_float64(values), strict=True):
                    np.add.at(total[name], use.place(int(number) // layout.positions), value)
        return {p: value.reshape(self._zeros(p).shape) for p, value in total.items()}

    def activation_probes(self, parameters: Sequence[str], signs: Array, *, remainder: bool) -> dict[str, Array]:
        tf, dtype, joints, n = tensorflow(), self._forward.dtype, self._joints(parameters), self.samples
        layout, uses = joints.single(), joints.uses

        def body(graph: Imported, probes: Any) -> Any:
            z, prepared = joints.outputs(graph)[0], joints.prepared(graph)
            # With ∂ℓ/∂o held fixed, what is left of ∇²_z ℓ is the part without ∇²_o ℓ.
            cotangent = tf.stop_gradient(graph.cotangent()) if remainder else None
            (first,) = graph.gradients([z], cotangent)

            def one(probe: Any) -> Any:
                vector = layout.original(probe, n)
                (product,) = gradients([first], [z], [vector])
                return [u.products(vector, product, a, n) for u, a in zip(uses, prepared, strict=True)]

            signature = [tf.TensorSpec(u.shape, dtype) for u in uses]
            return tf.map_fn(one, probes, fn_output_signature=signature, parallel_iterations=1)

        key = ("activation-probes", joints.names, remainder)
        products = self._cut.run_rows(key, body, self._tensor(signs), fetch=joints.fetch)
        return {p: as_float64(value) for p, value in zip(parameters, products, strict=True)}

    def sample_gradients(self, parameters: Sequence[str], columns: Array) -> Array:
        tf, joints, n = tensorflow(), self._joints(parameters), self.samples

        def body(graph: Imported, part: Any) -> Any:
            z, prepared = joints.outputs(graph), joints.prepared(graph)

            def one(column: Any) -> Any:
                deltas = graph.gradients(z, column)
                rows = [u.sample_gradients(d, a, n) for u, d, a in zip(joints.uses, deltas, prepared, strict=True)]
                return tf.concat(rows, axis=1)

            return tf.map_fn(one, part, parallel_iterations=1)

        key = ("sample-gradients", joints.names)
        return as_float64(self._cut.run_rows(key, body, self._tensor(columns), fetch=joints.fetch))

    # -- by the weights -----------------------------------------------------------------------------------------------

    def hessian_products(self, block: Sequence[str], vectors: Vectors) -> Vectors:
        tf, names, rows = tensorflow(), tuple(block), rows_of(vectors)
        if not self._cut.reached:
            return Rows(np.zeros_like(rows))

        def one(graph: Imported, vector: Any) -> Any:
            weights = [graph.weights[p] for p in names]
            return along(graph.gradients(weights), weights, vector)

        def every(graph: Imported, rows: Any) -> Any:
            weights = [graph.weights[p] for p in names]
            first = graph.gradients(weights)
            return tf.map_fn(lambda row: along(first, weights, row), rows, parallel_iterations=1)

        if self._cut.loops:
            # What a loop keeps for its derivatives can't leave the graph: all vectors of the call share one run of it.
            return bundled(self._cut.run_rows(("products", names), every, self._tensor(rows)))
        return bundled(self._cut.for_each(("products", names), one, rows))

    def pushforward(self, block: Sequence[str], vectors: Vectors | Array) -> Array:
        """See the protocol; J_o v is the derivative of u ↦ J_oᵀ u, which is linear, times v."""
        tf, names = tensorflow(), tuple(block)
        if not self._cut.reached:
            return np.zeros((len(vectors), *self._cut.shape))

        def body(graph: Imported, rows: Any) -> Any:
            weights = [graph.weights[p] for p in names]
            dummy = tf.zeros_like(graph.output)
            pulled = graph.gradients(weights, dummy)

            def one(row: Any) -> Any:
                return gradients(pulled, [dummy], parts(row, weights))[0]

            return tf.map_fn(one, rows, parallel_iterations=1)

        rows = rows_of(vectors) if isinstance(vectors, Vectors) else vectors
        return as_float64(self._cut.run_rows(("pushforward", names), body, self._tensor(rows)))

    def pullback(self, block: Sequence[str], cotangents: Array) -> Vectors:
        names = tuple(block)
        if not self._cut.reached:
            return Rows(np.zeros((len(cotangents), sum(self._zeros(p).size for p in names))))

        def one(graph: Imported, cotangent: Any) -> Any:
            return joined(graph.gradients([graph.weights[p] for p in names], cotangent))

        return bundled(self._cut.for_each(("pullback", names), one, cotangents))

    def hessian_diagonal_entries(self, parameter: str, indices: Array) -> Array:
        tf, dtype = tensorflow(), self._forward.dtype
        if not self._cut.reached:
            return np.zeros(len(indices))

        def body(graph: Imported, numbers: Any) -> Any:
            weight = graph.weights[parameter]
            (first,) = graph.gradients([weight])
            return tf.map_fn(
                lambda number: _entry(first, weight, number), numbers, fn_output_signature=dtype, parallel_iterations=1
            )

        numbers = tf.constant(np.asarray(indices, dtype=np.int64))
        return as_float64(self._cut.run_rows(("entries", parameter), body, numbers))

    def diagonal_entries(self, places: Mapping[str, int]) -> dict[str, float]:
        if not self._cut.reached:
            return dict.fromkeys(places, 0.0)
        if self._share_entries:
            numbers = np.array([[self._names.index(name), place] for name, place in places.items()], dtype=np.int64)
            entries = self._cut.for_each(("shared entry",), self._shared_entry, numbers)
            return dict(zip(places, map(float, entries), strict=True))
        return {name: float(self._single_entry(name, place)) for name, place in places.items()}

    @property
    def _share_entries(self) -> bool:
        """Whether one function for the entries of all parameters is had sooner than one per parameter.

        It is traced once, and works through the whole network for each entry.
        """
        return len(self._names) >= _MANY_PARAMETERS and not self._cut.loops

    def _shared_entry(self, graph: Imported, chosen: Any) -> Any:
        """Entry (i, i) of parameter number k, for ``chosen`` = (k, i)."""
        tf, weights = tensorflow(), [graph.weights[p] for p in self._names]
        places = [tf.where(chosen[0] == k, chosen[1], -1) for k in range(len(weights))]
        units = [_unit(weight, place) for weight, place in zip(weights, places, strict=True)]
        rows = gradients(graph.gradients(weights), weights, units)
        entries = [tf.reshape(row, [-1])[tf.maximum(p, 0)] for row, p in zip(rows, places, strict=True)]
        return tf.gather(tf.stack(entries), chosen[0])

    def _single_entry(self, parameter: str, place: int) -> Any:
        def body(graph: Imported, number: Any) -> Any:
            weight = graph.weights[parameter]
            return _entry(graph.gradients([weight])[0], weight, number)

        return self._cut.run(("entry", parameter), body, tensorflow().constant(place, dtype=tensorflow().int64))


def _entry(first: Any, weight: Any, number: Any) -> Any:
    """Entry (i, i) of the derivative of ``first`` by the weight, for a flat number i."""
    (row,) = gradients([first], [weight], [_unit(weight, number)])
    return tensorflow().reshape(row, [-1])[number]


def _unit(weight: Any, number: Any) -> Any:
    """One at a flat number, zeros elsewhere, in a weight's shape; zeros for a number below zero."""
    tf = tensorflow()
    return tf.reshape(tf.one_hot(number, int(np.prod(weight.shape)), dtype=weight.dtype), weight.shape)
