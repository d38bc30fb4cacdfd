"""One batch of a TensorFlow objective: its head run once, every derivative a traced function of the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array, Site, as_float64, halves, tags
from curvcli.models.pointwise import weighted_signs
from curvcli.models.tensorflow.graph import full
from curvcli.models.tensorflow.imported import Imported, along, gradients, joined, parts
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.sites import read_sites

if TYPE_CHECKING:
    from curvcli.models.tensorflow.objective import TensorFlowObjective

# Columns are squared and added in the model's dtype this many at a time, then in float64.
_FLUSH = 32


class TensorFlowBatch:
    """One batch, its head already run (see ``base.DifferentiatedBatch``)."""

    def __init__(self, objective: TensorFlowObjective, data: Batch, parameters: Sequence[str]) -> None:
        """Run everything before the chosen weights."""
        tf = tensorflow()
        self._objective = o = objective
        self._names = tuple(parameters)
        self._inside, frontier = o.reader.cut(parameters, o.needed)
        self._frontier = [*frontier]
        output_outside = o.output.split(":")[0] not in self._inside
        head = [*frontier, o.output] if output_outside else list(frontier)

        def run_head(weights: Any, fed: Any) -> Any:
            return o.import_graph(weights, o.input_tensors, fed, head)

        self._key = ("batch", self._names)
        self._kept: dict[tuple[Any, ...], list[Any]] = {}
        # Until the output has been seen there is nothing to compare it with.
        self._truth = self._weight = tf.zeros([0], o.dtype)
        values = o.call((*self._key, "head"), run_head, o.all_weights(), o.feed(data)) if head else []
        self._fed = values[: len(frontier)]
        raw = values[-1] if output_outside else self._run("output", lambda g: g.output)
        self._raw_shape = tuple(int(n) for n in raw.shape)
        self._values = as_float64(raw)
        # A scalar output has no axis of samples: the batch is then one sample.
        self.samples = 1 if o.scalar else self._raw_shape[0]
        self._targets = targets = o.targets(data, self._raw_shape)
        self._reached = not output_outside
        self._truth = tf.constant(targets.truth, dtype=o.dtype)
        self._weight = tf.constant(targets.weight * targets.scale, dtype=o.dtype)

    # -- inside a traced function -------------------------------------------------------------------------------------

    def _run(self, key: Any, body: Callable[..., Any], *arguments: Any, fetch: Sequence[str] = ()) -> Any:
        """Trace and run ``body(graph, *arguments)`` with the cut graph imported."""
        function, own = self._traceable(body, fetch)
        return self._objective.call((*self._key, key, tuple(fetch)), function, *own, *arguments)

    def _traceable(self, body: Callable[..., Any], fetch: Sequence[str] = ()) -> tuple[Callable[..., Any], list[Any]]:
        """``body`` as a function of tensors alone, and the ones it takes before its own arguments."""
        o, batch = self._objective, self
        counts = len(o.weights), len(self._fed)

        def function(*tensors: Any) -> Any:
            weights, fed = tensors[: counts[0]], tensors[counts[0] : sum(counts)]
            truth, weight, *rest = tensors[sum(counts) :]
            found = o.import_graph(weights, batch._frontier, fed, [o.output, *fetch])
            graph = Imported(
                dict(zip(o.weights, weights, strict=True)),
                found[0],
                dict(zip(fetch, found[1:], strict=True)),
                o.loss,
                truth,
                weight,
            )
            return body(graph, *rest)

        return function, [*o.all_weights(), *self._fed, self._truth, self._weight]

    @property
    def output(self) -> OutputState:
        return OutputState(self._objective.loss, self._values, self._targets)

    def loss(self) -> float:
        return self.output.value

    def gradient(self, parameters: Sequence[str]) -> dict[str, Array]:
        self._objective.backward_passes += 1
        if not self._reached:
            return {p: self._zeros(p) for p in parameters}
        names = tuple(parameters)
        found = self._run(("gradient", names), lambda g: g.gradients([g.weights[p] for p in names]))
        return {p: as_float64(value) for p, value in zip(names, found, strict=True)}

    def _zeros(self, parameter: str) -> Array:
        return np.zeros(tuple(self._objective.weights[parameter].shape))

    # -- the graph ----------------------------------------------------------------------------------------------------

    def read_sites(self) -> dict[str, Site]:
        """Where each parameter enters; see ``tf_sites``."""
        return read_sites(self._objective, self._names, self.samples, self._mixed)

    # -- second derivatives -------------------------------------------------------------------------------------------

    def _tensors_of(self, parameters: Sequence[str]) -> list[str]:
        """The z of each parameter, then the data of each."""
        o = self._objective
        z = [f"{o.located[p].entry.node}:0" for p in parameters]
        data = [str(o.located[p].use.data) for p in parameters]
        return [*z, *(full(d) for d in data)]

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        # One graph is saved for all data; what branches in it is a loop's or a condition's, and has no site.
        return self._objective.sites(parameters)

    def samples_separate(self, parameters: Sequence[str]) -> bool:
        return not self._mixed(tuple(parameters))

    def _mixed(self, names: tuple[str, ...]) -> list[str]:
        """Those parameters of whose z, as it is located now, some row is reached from another sample's output."""
        if self.samples == 1 or not names:
            return []
        tf, o = tensorflow(), self._objective
        fetch = self._tensors_of(names)
        layouts = [o.located[p].use.layout for p in names]

        def rows(graph: Imported, cotangent: Any) -> list[Any]:
            deltas = graph.gradients([graph.fetched[t] for t in fetch[: len(names)]], cotangent)
            return [layout.canonical(delta, self.samples) for layout, delta in zip(layouts, deltas, strict=True)]

        def by_tags(graph: Imported, cotangent: Any, weights: Any) -> list[Any]:
            per_sample = tf.reshape(weights, [-1, *(1,) * (len(self._raw_shape) - 1)])
            plain, tagged = rows(graph, cotangent), rows(graph, cotangent * per_sample)
            return [tf.reduce_any(t != p * weights[:, None, None]) for t, p in zip(tagged, plain, strict=True)]

        def by_zeros(graph: Imported, cotangent: Any, others: Any) -> list[Any]:
            return [tf.reduce_any(tf.boolean_mask(found, others) != 0) for found in rows(graph, cotangent)]

        orders = tuple(layout.interleaved for layout in layouts)
        suspects: set[str] = set()
        noise = tf.constant(weighted_signs(np.ones(self.samples), self._raw_shape), dtype=o.dtype)
        for tag in tags(self.samples):
            o.backward_passes += 2
            found = self._run(("tags", names, orders), by_tags, noise, tf.constant(tag, dtype=o.dtype), fetch=fetch)
            suspects |= {name for name, one in zip(names, found, strict=True) if bool(one)}
        # Where the arithmetic of a kernel depends on its company, or numbers are too large, zeros still tell.
        mixed: set[str] = set()
        for half in halves(self.samples) if suspects else ():
            o.backward_passes += 1
            chosen = tf.constant(weighted_signs(half.astype(float), self._raw_shape), dtype=o.dtype)
            found = self._run(("zeros", names, orders), by_zeros, chosen, tf.constant(~half), fetch=fetch)
            mixed |= {name for name, one in zip(names, found, strict=True) if bool(one)}
        return [name for name in names if name in mixed & suspects]

    def squared_columns(self, parameters: Sequence[str], columns: Array) -> dict[str, Array]:
        tf, o, names = tensorflow(), self._objective, tuple(parameters)
        fetch = self._tensors_of(names)
        uses = [o.located[p].use for p in names]
        n = self.samples

        def body(graph: Imported, part: Any) -> Any:
            z = [graph.fetched[t] for t in fetch[: len(names)]]
            prepared = [u.prepare(graph.fetched[t], n) for u, t in zip(uses, fetch[len(names) :], strict=True)]

            def one(c: Any, *totals: Any) -> Any:
                deltas = graph.gradients(z, part[c])
                squares = [u.products(d, None, a, n) for u, d, a in zip(uses, deltas, prepared, strict=True)]
                return (c + 1, *(t + s for t, s in zip(totals, squares, strict=True)))

            start = (tf.constant(0), *(tf.zeros(u.shape, o.dtype) for u in uses))
            return tf.while_loop(lambda c, *_: c < tf.shape(part)[0], one, start, parallel_iterations=1)[1:]

        total = {p: self._zeros(p) for p in names}
        for begin in range(0, len(columns), _FLUSH):
            part = tf.constant(columns[begin : begin + _FLUSH], dtype=o.dtype)
            o.backward_passes += len(part)
            for name, value in zip(names, self._run(("columns", names), body, part, fetch=fetch), strict=True):
                total[name] += as_float64(value)
        return total

    def output_hessian_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        tf, o, names = tensorflow(), self._objective, tuple(parameters)
        fetch = self._tensors_of(names)
        uses = [o.located[p].use for p in names]
        if len(set(fetch[: len(names)])) != 1:
            raise ValueError("parameters of one call must share their z")
        layout, n = uses[0].layout, self.samples

        def body(graph: Imported, numbers: Any) -> Any:
            z = graph.fetched[fetch[0]]
            prepared = [u.prepare(graph.fetched[t], n) for u, t in zip(uses, fetch[len(names) :], strict=True)]
            (first,) = graph.gradients([z])

            def one(number: Any) -> Any:
                channel, position = number // layout.positions, number % layout.positions
                basis = tf.one_hot(number, layout.channels * layout.positions, dtype=o.dtype)
                basis = tf.broadcast_to(basis, [n, layout.channels * layout.positions])
                vector = layout.original(tf.reshape(basis, [n, layout.channels, layout.positions]), n)
                (product,) = gradients([first], [z], [vector])
                row = tf.gather(layout.canonical(product, n), channel, axis=1)
                return [u.basis_product(channel, position, row, a, n) for u, a in zip(uses, prepared, strict=True)]

            signature = [tf.TensorSpec(None, o.dtype) for _ in uses]
            return tf.map_fn(one, numbers, fn_output_signature=signature, parallel_iterations=1)

        total = {p: self._zeros(p).reshape(-1) for p in names}
        for begin in range(start, stop, _FLUSH):
            numbers = np.arange(begin, min(begin + _FLUSH, stop))
            o.backward_passes += len(numbers)
            found = self._run(("output-hessian", names), body, tf.constant(numbers), fetch=fetch)
            for name, use, values in zip(names, uses, found, strict=True):
                for number, value in zip(numbers, as_float64(values), strict=True):
                    np.add.at(total[name], use.place(int(number) // layout.positions), value)
        return {p: value.reshape(self._zeros(p).shape) for p, value in total.items()}

    def hessian_products(self, block: Sequence[str], vectors: Array) -> Array:
        tf, names = tensorflow(), tuple(block)
        if not self._reached:
            return np.zeros(vectors.shape)

        def one(graph: Imported, vector: Any) -> Any:
            weights = [graph.weights[p] for p in names]
            return along(graph.gradients(weights), weights, vector)

        def every(graph: Imported, rows: Any) -> Any:
            weights = [graph.weights[p] for p in names]
            first = graph.gradients(weights)
            return tf.map_fn(lambda row: along(first, weights, row), rows, parallel_iterations=1)

        if self._loops:
            # What a loop keeps for its derivatives can't leave the graph: all vectors of the call share one run of it.
            self._objective.backward_passes += len(vectors)
            rows = tf.constant(vectors, dtype=self._objective.dtype)
            return as_float64(self._run(("products", names), every, rows))
        return self._for_each(("products", names), one, vectors)

    @property
    def _loops(self) -> bool:
        return self._objective.reader.has_loops(self._inside)

    def _for_each(self, key: tuple[Any, ...], body: Callable[[Imported, Any], Any], vectors: Array) -> Array:
        """``body(graph, vector)`` for every vector; what the vector has no part in is kept between calls."""
        tf, o = tensorflow(), self._objective
        o.backward_passes += len(vectors)
        rows = tf.constant(vectors, dtype=o.dtype)
        if self._loops:
            return np.stack([as_float64(self._run(key, body, row)) for row in rows])
        function, arguments = self._traceable(body)
        with o.explained():
            split = o.split((*self._key, *key), function, arguments, rows[0])
            try:
                if key not in self._kept:
                    self._kept[key] = split.before(arguments)
                return np.stack([as_float64(split.after(self._kept[key], row)) for row in rows])
            except tf.errors.InvalidArgumentError:
                # An operation of the second part reads, by its gradient's own function, what only the first was fed.
                self._kept.pop(key, None)
        return np.stack([as_float64(self._run(key, body, row)) for row in rows])

    def pushforward(self, block: Sequence[str], vectors: Array) -> Array:
        """See the protocol; J_o v is the derivative of u ↦ J_oᵀ u, which is linear, times v."""
        tf, o, names = tensorflow(), self._objective, tuple(block)
        if not self._reached:
            return np.zeros((len(vectors), *self._raw_shape))

        def body(graph: Imported, rows: Any) -> Any:
            weights = [graph.weights[p] for p in names]
            dummy = tf.zeros_like(graph.output)
            pulled = graph.gradients(weights, dummy)

            def one(row: Any) -> Any:
                return gradients(pulled, [dummy], parts(row, weights))[0]

            return tf.map_fn(one, rows, parallel_iterations=1)

        o.backward_passes += len(vectors)
        return as_float64(self._run(("pushforward", names), body, tf.constant(vectors, dtype=o.dtype)))

    def pullback(self, block: Sequence[str], cotangents: Array) -> Array:
        names = tuple(block)
        if not self._reached:
            return np.zeros((len(cotangents), sum(self._zeros(p).size for p in names)))

        def one(graph: Imported, cotangent: Any) -> Any:
            return joined(graph.gradients([graph.weights[p] for p in names], cotangent))

        return self._for_each(("pullback", names), one, cotangents)

    def activation_probes(self, parameters: Sequence[str], signs: Array, *, remainder: bool) -> dict[str, Array]:
        tf, o, names = tensorflow(), self._objective, tuple(parameters)
        fetch = self._tensors_of(names)
        uses = [o.located[p].use for p in names]
        if len(set(fetch[: len(names)])) != 1:
            raise ValueError("parameters of one call must share their z")
        layout, n = uses[0].layout, self.samples

        def body(graph: Imported, probes: Any) -> Any:
            z = graph.fetched[fetch[0]]
            prepared = [u.prepare(graph.fetched[t], n) for u, t in zip(uses, fetch[len(names) :], strict=True)]
            # With ∂ℓ/∂o held fixed, what is left of ∇²_z ℓ is the part without ∇²_o ℓ.
            cotangent = tf.stop_gradient(graph.cotangent()) if remainder else None
            (first,) = graph.gradients([z], cotangent)

            def one(probe: Any) -> Any:
                vector = layout.original(probe, n)
                (product,) = gradients([first], [z], [vector])
                return [u.products(vector, product, a, n) for u, a in zip(uses, prepared, strict=True)]

            signature = [tf.TensorSpec(u.shape, o.dtype) for u in uses]
            return tf.map_fn(one, probes, fn_output_signature=signature, parallel_iterations=1)

        o.backward_passes += len(signs)
        key = ("activation-probes", names, remainder)
        found = self._run(key, body, tf.constant(signs, dtype=o.dtype), fetch=fetch)
        return {p: as_float64(value) for p, value in zip(names, found, strict=True)}

    def sample_gradients(self, parameters: Sequence[str], columns: Array) -> Array:
        tf, o, names = tensorflow(), self._objective, tuple(parameters)
        fetch = self._tensors_of(names)
        uses = [o.located[p].use for p in names]
        n = self.samples

        def body(graph: Imported, part: Any) -> Any:
            z = [graph.fetched[t] for t in fetch[: len(names)]]
            prepared = [u.prepare(graph.fetched[t], n) for u, t in zip(uses, fetch[len(names) :], strict=True)]

            def one(column: Any) -> Any:
                deltas = graph.gradients(z, column)
                found = [u.sample_gradients(d, a, n) for u, d, a in zip(uses, deltas, prepared, strict=True)]
                return tf.concat(found, axis=1)

            return tf.map_fn(one, part, parallel_iterations=1)

        o.backward_passes += len(columns)
        return as_float64(
            self._run(("sample-gradients", names), body, tf.constant(columns, dtype=o.dtype), fetch=fetch)
        )

    def hessian_diagonal_entries(self, parameter: str, indices: Array) -> Array:
        tf, o = tensorflow(), self._objective
        if not self._reached:
            return np.zeros(len(indices))

        def body(graph: Imported, numbers: Any) -> Any:
            weight = graph.weights[parameter]
            (first,) = graph.gradients([weight])

            def one(number: Any) -> Any:
                unit = tf.reshape(tf.one_hot(number, int(np.prod(weight.shape)), dtype=o.dtype), weight.shape)
                (row,) = gradients([first], [weight], [unit])
                return tf.reshape(row, [-1])[number]

            return tf.map_fn(one, numbers, fn_output_signature=o.dtype, parallel_iterations=1)

        o.backward_passes += len(indices)
        return as_float64(self._run(("entries", parameter), body, tf.constant(np.asarray(indices, dtype=np.int64))))

    def diagonal_entries(self, places: Mapping[str, int]) -> dict[str, float]:
        if not self._reached:
            return dict.fromkeys(places, 0.0)
        # Each is made once per batch: to cut the graph in two, for a second vector, would take longer than the product.
        return {name: float(self._entry(name, place)) for name, place in places.items()}

    def _entry(self, parameter: str, place: int) -> Any:
        tf, o = tensorflow(), self._objective

        def body(graph: Imported, number: Any) -> Any:
            weight = graph.weights[parameter]
            (first,) = graph.gradients([weight])
            unit = tf.reshape(tf.one_hot(number, int(np.prod(weight.shape)), dtype=o.dtype), weight.shape)
            (row,) = gradients([first], [weight], [unit])
            return tf.reshape(row, [-1])[number]

        o.backward_passes += 1
        return self._run(("entry", parameter), body, tf.constant(place, dtype=tf.int64))
