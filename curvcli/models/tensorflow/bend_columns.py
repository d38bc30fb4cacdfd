"""The curvature of the operations after some z, column by column (see ``models.bends``), in traced functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array, Bend, as_float64
from curvcli.models.bends import Bending, orders
from curvcli.models.rows import weighted_signs
from curvcli.models.samples import halves, tags
from curvcli.models.tensorflow.bends import bent_by, tensors_after
from curvcli.models.tensorflow.cut import CutBatch
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import full
from curvcli.models.tensorflow.imported import Imported, gradients
from curvcli.models.tensorflow.joints import Joints
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.shapes import measure
from curvcli.wording import option

Operations = Bending[str, str]
# How far derivatives by entries one by one may be from those by all at once, relative to the largest: rounding.
_CONFIRMED = {"float32": 1e-3, "float64": 1e-9}
_INSTEAD = f"use {option('method', 'coordinate')}"


class BendColumns:
    """The columns of one batch for some parameters, each of which has a z."""

    def __init__(self, forward: Forward, cut: CutBatch, joints: Joints, data: Batch) -> None:
        """Read the graph, with the shapes of this batch.

        Args:
            forward: runs it.
            cut: the batch behind its head.
            joints: of the parameters.
            data: of the batch.
        """
        self._forward, self._cut, self._joints, self._samples = forward, cut, joints, cut.samples
        self._z = list(dict.fromkeys(joints.z))
        starts = [source(z) for z in self._z]
        tensors = tensors_after(forward, starts)
        self._measured = measure(forward, tensors, data) if tensors else {}
        self._bent = bent_by(forward, starts, self._measured)
        self._bendings = self._bent.all_others()
        self._order: dict[str, int] = {}

    @property
    def bends(self) -> tuple[Bend, ...]:
        """See ``base.DifferentiatedBatch.bends``."""
        made = [(bending, self._bent.bend(bending, self._samples)) for bending in self._bendings]
        lost = next((bending for bending, bend in made if bend is None), None)
        if lost is not None:
            raise ModelError(f"what {self._named(lost)} reads has no rows of single samples; {_INSTEAD}.")
        return tuple(bend for _, bend in made if bend is not None)

    def _named(self, bending: Operations) -> str:
        return readable(self._forward.reader.nodes[bending.nodes[0]].op)

    def _made(self, nodes: Sequence[str]) -> list[str]:
        """Every tensor that some nodes make and others read."""
        made = {f"{node}:0": None for node in nodes}
        for reader in self._forward.reader.nodes.values():
            made |= {full(t): None for t in reader.input if not t.startswith("^") and source(t) in nodes}
        return list(made)

    def _fetch(self, nodes: Sequence[str], *values: str) -> list[str]:
        reads = [tensor for node in nodes for tensor in self._bent.reads(node)]
        return list(dict.fromkeys((*self._joints.fetch, *self._made(nodes), *reads, *values)))

    def _returned(self, graph: Imported, node: str) -> dict[str, Any]:
        """∂⟨∂ℓ/∂k, k⟩ by what a node reads, as a function of that."""
        tf = tensorflow()
        made = [graph.fetched[tensor] for tensor in self._made([node])]
        reads = self._bent.reads(node)
        values = [graph.fetched[tensor] for tensor in reads]
        slopes = [tf.stop_gradient(slope) for slope in graph.gradients(made)]
        parts = tf.gradients(made, values, grad_ys=slopes, stop_gradients=values)
        return {r: tf.convert_to_tensor(part) for r, part in zip(reads, parts, strict=True) if part is not None}

    # -- columns ------------------------------------------------------------------------------------------------------

    def columns(self, start: int, stop: int) -> dict[str, Array]:
        """See ``base.DifferentiatedBatch.bend_columns``."""
        shapes = {name: use.shape for name, use in zip(self._joints.names, self._joints.uses, strict=True)}
        sums = {name: np.zeros(shape) for name, shape in shapes.items()}
        self._find_orders()
        first = 0
        for number, (bending, bend) in enumerate(zip(self._bendings, self.bends, strict=True)):
            begin, end = max(start - first, 0), min(stop - first, bend.columns)
            first += bend.columns
            bent = {z for z, after in zip(self._z, self._bent.after, strict=True) if bending in after.others}
            for read in bending.basis:
                size = prod(self._measured[read].shape) // self._samples
                numbers = np.arange(max(begin, 0), min(end, size))
                begin, end = begin - size, end - size
                if len(numbers):
                    key = ("bend", self._joints.names, number, read)
                    body = self._body(bending, read, bent)
                    rows = tensorflow().constant(numbers)
                    values = self._cut.run_rows(key, body, rows, fetch=self._fetch(bending.nodes, read))
                    for name, value in zip(self._names_of(bent), values, strict=True):
                        sums[name] += as_float64(value)
        return sums

    def _names_of(self, bent: set[str]) -> list[str]:
        return [name for name, z in zip(self._joints.names, self._joints.z, strict=True) if z in bent]

    def _body(self, bending: Operations, read: str, bent: set[str]) -> Callable[[Imported, Any], Any]:
        """Columns by numbers of basis vectors of one value, as a function to be traced."""
        joints, n, dtype = self._joints, self._samples, self._forward.dtype
        shape, before = self._measured[read].shape, self._order[read]
        split = [before, n, prod(shape) // (before * n)]
        which = [i for i, z in enumerate(joints.z) if z in bent]
        uses = [joints.uses[i] for i in which]

        def body(graph: Imported, numbers: Any) -> Any:
            tf = tensorflow()
            z, prepared = ([values[i] for i in which] for values in (joints.outputs(graph), joints.prepared(graph)))
            value = graph.fetched[read]
            if bending.kind == "elementwise":
                weights = tf.reshape(self._of_entries(graph, read, bending.nodes)[0], split)
            else:
                # H_k of two factors has this block twice.
                factor = 2 if bending.kind == "bilinear" else 1
                slope = factor * self._returned(graph, bending.nodes[0]).get(read, tf.zeros_like(value))

            def one(c: Any, *totals: Any) -> Any:
                place, after = numbers[c] // split[2], numbers[c] % split[2]
                unit = tf.one_hot(place, before, dtype=dtype)[:, None, None] * tf.one_hot(after, split[2], dtype=dtype)
                vector = tf.reshape(tf.broadcast_to(unit, split), tf.shape(value))
                left = gradients([value], z, [vector])
                if bending.kind == "elementwise":
                    by_sample = weights[place, :, after][:, None, None]
                    layouts = [use.layout for use in uses]
                    right = [q.original(q.canonical(d, n) * by_sample, n) for q, d in zip(layouts, left, strict=True)]
                else:
                    right = gradients([slope], z, [vector])
                terms = zip(uses, left, right, prepared, strict=True)
                products = [use.products(d, e, a, n) for use, d, e, a in terms]
                return (c + 1, *(t + p for t, p in zip(totals, products, strict=True)))

            start = (tf.constant(0), *(tf.zeros(use.shape, dtype) for use in uses))
            return tf.while_loop(lambda c, *_: c < tf.shape(numbers)[0], one, start, parallel_iterations=1)[1:]

        return body

    def _find_orders(self) -> None:
        """How the entries of all that columns go through belong to samples.

        Raises:
            ModelError: that can't be told.
        """
        if self._order or not self._bendings:
            return
        tf, n, cut, dtype = tensorflow(), self._samples, self._cut, self._forward.dtype
        reads = list(dict.fromkeys(read for bending in self._bendings for read in bending.basis))
        pairs = [(read, before) for read in reads for before in orders(self._measured[read].shape, n)]

        def split(graph: Imported, cotangent: Any) -> list[Any]:
            pulled = dict(zip(reads, graph.gradients([graph.fetched[r] for r in reads], cotangent), strict=True))
            return [tf.reshape(pulled[read], [before, n, -1]) for read, before in pairs]

        def by_tags(graph: Imported, cotangent: Any, weights: Any) -> list[Any]:
            per_sample = tf.reshape(weights, [-1, *(1,) * (len(cut.shape) - 1)])
            both = zip(split(graph, cotangent), split(graph, cotangent * per_sample), strict=True)
            return [tf.reduce_all(t == p * weights[:, None]) for p, t in both]

        def by_zeros(graph: Imported, cotangent: Any, others: Any) -> list[Any]:
            return [tf.reduce_all(tf.boolean_mask(rows, others, axis=1) == 0) for rows in split(graph, cotangent)]

        def agreed(kind: str, body: Callable[..., Any], runs: Sequence[tuple[Any, Any]]) -> list[bool]:
            flags = [True] * len(pairs)
            for arguments in runs:
                values = cut.run((kind, self._joints.names), body, *arguments, fetch=[*self._joints.fetch, *reads])
                flags = [flag and bool(value) for flag, value in zip(flags, values, strict=True)]
            return flags

        noise = tf.constant(weighted_signs(np.ones(n), cut.shape), dtype=dtype)
        flags = agreed("bend tags", by_tags, [(noise, tf.constant(tag, dtype=dtype)) for tag in tags(n)])
        kept = {read: before for (read, before), flag in reversed(list(zip(pairs, flags, strict=True))) if flag}
        if len(kept) < len(reads):
            # Where the arithmetic of a kernel depends on the other samples, or numbers are too large, zeros still tell.
            chosen = [(weighted_signs(half.astype(float), cut.shape), ~half) for half in halves(n)]
            runs = [(tf.constant(signs, dtype=dtype), tf.constant(others)) for signs, others in chosen]
            flags = agreed("bend zeros", by_zeros, runs)
            kept = {r: before for (r, before), flag in reversed(list(zip(pairs, flags, strict=True))) if flag} | kept
        lost = next((b for b in self._bendings if any(read not in kept for read in b.basis)), None)
        if lost is not None:
            raise ModelError(f"what {self._named(lost)} reads can't be told apart by samples; {_INSTEAD}.")
        self._order = kept

    # -- operations that take each entry of a value by itself ---------------------------------------------------------

    def in_step(self) -> dict[str, Array]:
        """See ``base.DifferentiatedBatch.bends_in_step``."""
        joints, n = self._joints, self._samples
        nodes = {z: tuple(after.in_step) for z, after in zip(self._z, self._bent.after, strict=True) if after.in_step}
        sums = {name: np.zeros(use.shape) for name, use in zip(joints.names, joints.uses, strict=True)}
        grouped = [(z, nodes[z]) for z in nodes]
        grouped += [(bending.basis[0], bending.nodes) for bending in self._bendings if bending.kind == "elementwise"]
        if not grouped:
            return sums
        which = [i for i, z in enumerate(joints.z) if z in nodes]

        def body(graph: Imported) -> tuple[list[Any], list[Any]]:
            tf, prepared = tensorflow(), joints.prepared(graph)
            made = [self._of_entries(graph, value, some) for value, some in grouped]
            weights = dict(zip(nodes, made, strict=False))
            values = [joints.uses[i].entrywise(weights[joints.z[i]][0], prepared[i], n) for i in which]
            return values, [tf.reduce_max(error) for _, error in made]

        every = tuple(dict.fromkeys(node for _, some in grouped for node in some))
        fetch = self._fetch(every, *(value for value, _ in grouped))
        values, errors = self._cut.run(("bends in step", joints.names), body, fetch=fetch)
        for (_, some), error in zip(grouped, errors, strict=True):
            if error > _CONFIRMED[self._forward.dtype.name]:
                first = readable(self._forward.reader.nodes[some[0]].op)
                raise ModelError(f"{first} does not take the entries that it reads one by one; {_INSTEAD}.")
        for i, value in zip(which, values, strict=True):
            sums[joints.names[i]] = as_float64(value)
        return sums

    def _of_entries(self, graph: Imported, place: str, nodes: Sequence[str]) -> tuple[Any, Any]:
        """The curvature of such operations by one value, which is diagonal; and how far it is from being so."""
        tf, value = tensorflow(), graph.fetched[place]
        slopes: list[Any] = []
        along: list[Any] = []
        errors = [tf.zeros([], value.dtype)]
        for node in nodes:
            for read, slope in self._returned(graph, node).items():
                one = graph.fetched[read]
                noise = tf.random.stateless_normal(tf.shape(one), [3, 5], dtype=one.dtype)
                plain, weighted = (
                    tf.reshape(gradients([one], [value], [cotangent])[0], tf.shape(one))
                    for cotangent in (tf.ones_like(one), noise)
                )
                scale = tf.reduce_max(tf.abs(plain)) * tf.reduce_max(tf.abs(noise))
                errors.append(
                    tf.reduce_max(tf.abs(weighted - plain * noise)) / tf.where(scale == 0, tf.ones_like(scale), scale)
                )
                slopes.append(slope)
                along.append(tf.stop_gradient(plain))
        return (gradients(slopes, [value], along)[0] if slopes else tf.zeros_like(value)), tf.stack(errors)
