"""One batch of a TensorFlow objective: its head run once, every derivative a traced function of the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.models.base import Array, OutputState, Site, as_float64, halves
from curvcli.models.loss import loss_sum
from curvcli.models.pointwise import selected_signs
from curvcli.models.tf_graph import Entry
from curvcli.models.tf_imported import Imported, along, gradients, joined, parts
from curvcli.models.tf_linear import LinearUse
from curvcli.models.tf_rules import Context, data_operand, linear_use
from curvcli.models.tf_runtime import tensorflow

if TYPE_CHECKING:
    from curvcli.models.tf_objective import TensorFlowObjective

# Columns are squared and added in the model's dtype this many at a time, then in float64.
_FLUSH = 32


@dataclass(frozen=True)
class Located:
    """A parameter's one entry and its canonical form."""

    entry: Entry
    use: LinearUse


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
        self._loss = o.batch_loss(data, self._raw_shape)
        self._reached = not output_outside
        self._truth = tf.constant(self._loss.truth, dtype=o.dtype)
        self._weight = tf.constant(self._loss.weight * self._loss.scale, dtype=o.dtype)

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
                o.link,
                truth,
                weight,
            )
            return body(graph, *rest)

        return function, [*o.all_weights(), *self._fed, self._truth, self._weight]

    @property
    def output(self) -> OutputState:
        return self._loss.state(self._values)

    def loss(self) -> float:
        return loss_sum(self.output)

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
        """Where each parameter enters; one pass over the first batch tells the shapes, one or two the rows' order."""
        o = self._objective
        sites: dict[str, Site] = {}
        single: dict[str, Entry] = {}
        for name in self._names:
            entries = o.reader.entries(name, o.needed)
            if isinstance(entries, str):
                sites[name] = Site(name, reached=True, why_not=entries)
            elif not entries:
                sites[name] = Site(name, reached=False)
            elif len(entries) > 1:
                sites[name] = Site(name, reached=True, why_not=f"it is used {len(entries)} times")
            else:
                single[name] = entries[0]
        if not single:
            return sites
        nodes = list(dict.fromkeys(e.node for e in single.values()))
        blocker = dict(zip(nodes, o.reader.blockers([[n] for n in nodes], o.needed), strict=True))
        tensors = list(dict.fromkeys(t for e in single.values() for t in (f"{e.node}:0", data_operand(o.reader, e))))
        full = [t if ":" in t else f"{t}:0" for t in tensors]
        tf = tensorflow()
        shapes = self._run("shapes", lambda g: [tf.shape(g.fetched[t]) for t in full], fetch=full)
        shape = {t: tuple(int(n) for n in s) for t, s in zip(full, shapes, strict=True)}
        why_not = self._locate(single, shape)
        for name, entry in single.items():
            operation = o.reader.nodes[entry.node].op
            if name in why_not:
                sites[name] = Site(name, reached=True, why_not=why_not[name], operation=operation)
                continue
            layout = o.located[name].use.layout
            sites[name] = Site(
                name,
                reached=True,
                z=f"{entry.node}:{layout.channels}x{layout.positions}",
                operation=operation,
                units=layout.channels,
                positions=layout.positions,
                blocker=blocker[entry.node],
            )
        return sites

    def _locate(self, entries: Mapping[str, Entry], shape: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """Find the canonical forms and how the rows of each z belong to samples; returns what has none, and why."""
        o, why_not = self._objective, {}
        contexts = {}
        for name, entry in entries.items():
            data = data_operand(o.reader, entry)
            contexts[name] = Context(
                o.reader,
                entry,
                tuple(int(n) for n in o.weights[name].shape),
                shape[f"{entry.node}:0"],
                shape[data if ":" in data else f"{data}:0"],
                self.samples,
                interleaved=False,
            )
        open_names = list(entries)
        for interleaved in (False, True):
            for name in open_names:
                use = linear_use(replace(contexts[name], interleaved=interleaved))
                if isinstance(use, str):
                    why_not[name] = use
                else:
                    o.located[name] = Located(entries[name], use)
            # All together: in a deep network it is tracing the graph that takes time.
            open_names = self._mixed([name for name in open_names if name not in why_not])
            if not open_names:
                return why_not
        for name in open_names:
            del o.located[name]
            why_not[name] = "samples influence each other between it and the loss"
        return why_not

    def _mixed(self, parameters: Sequence[str]) -> list[str]:
        """Those whose rows, as they are located now, don't belong to single samples."""
        mixed: set[str] = set()
        for half in halves(self.samples):
            left = tuple(name for name in parameters if name not in mixed)
            mixed |= {name for name, found in zip(left, self._reached_by_others(left, half), strict=True) if found}
        return [name for name in parameters if name in mixed]

    # -- second derivatives -------------------------------------------------------------------------------------------

    def _tensors_of(self, parameters: Sequence[str]) -> list[str]:
        """The z of each parameter, then the data of each."""
        o = self._objective
        z = [f"{o.located[p].entry.node}:0" for p in parameters]
        data = [str(o.located[p].use.data) for p in parameters]
        return [*z, *(d if ":" in d else f"{d}:0" for d in data)]

    def samples_separate(self, parameters: Sequence[str], selected: Array) -> bool:
        return not any(self._reached_by_others(tuple(parameters), selected))

    def _reached_by_others(self, names: tuple[str, ...], selected: Array) -> list[bool]:
        """For each parameter, whether the outputs of the selected samples depend on rows of z of others."""
        if self.samples == 1 or selected.all() or not names:
            return [False] * len(names)
        tf, o = tensorflow(), self._objective
        o.backward_passes += 1
        noise = selected_signs(selected, self._raw_shape)
        fetch = self._tensors_of(names)
        interleaved = tuple(o.located[p].use.layout.interleaved for p in names)

        def body(graph: Imported, cotangent: Any, others: Any) -> Any:
            deltas = graph.gradients([graph.fetched[t] for t in fetch[: len(names)]], cotangent)
            return [
                tf.reduce_any(tf.boolean_mask(o.located[name].use.layout.canonical(delta, self.samples), others) != 0)
                for name, delta in zip(names, deltas, strict=True)
            ]

        arguments = (tf.constant(noise, dtype=o.dtype), tf.constant(~selected))
        return [bool(one) for one in self._run(("separate", names, interleaved), body, *arguments, fetch=fetch)]

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
            if key not in self._kept:
                self._kept[key] = split.before(arguments)
            return np.stack([as_float64(split.after(self._kept[key], row)) for row in rows])

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
