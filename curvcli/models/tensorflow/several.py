"""A weight that several operations are linear in, each with an output of its own (see ``pairs_of_uses``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from curvcli.errors import ModelError
from curvcli.models.base import Array, as_float64
from curvcli.models.tensorflow.confirm import Located, numbered
from curvcli.models.tensorflow.cut import CutBatch
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import full
from curvcli.models.tensorflow.imported import Imported, gradients
from curvcli.models.tensorflow.joints import Joints, mixed
from curvcli.models.tensorflow.linear import PatchUse
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.wording import option

# Basis vectors per call, and numbers of single samples' gradients that may be held at once.
_AT_ONCE, _HELD = 32, 1 << 27


class SeveralUses:
    """All uses of some parameters that share their outputs, in one batch."""

    def __init__(
        self, forward: Forward, cut: CutBatch, located: Mapping[str, Located], parameters: Sequence[str]
    ) -> None:
        """Read what was located.

        Args:
            forward: runs the graph.
            cut: the batch behind its head.
            located: every use of each parameter, by its number.
            parameters: which share their outputs.
        """
        self._forward, self._cut, self._names = forward, cut, tuple(parameters)
        self._uses: dict[str, list[Located]] = {}
        for name in parameters:
            count = next(i for i in range(len(located) + 1) if numbered(name, i) not in located)
            # Parameters may meet the same outputs in another order.
            self._uses[name] = sorted((located[numbered(name, i)] for i in range(count)), key=lambda one: one.output)
        self._z = [f"{one.output}:0" for one in self._uses[parameters[0]]]
        self._layouts = [one.use.layout for one in self._uses[parameters[0]]]

    @property
    def vectors(self) -> int:
        """See ``base.DifferentiatedBatch.uses_vectors``."""
        return sum(layout.channels * layout.positions for layout in self._layouts)

    @cached_property
    def separate(self) -> bool:
        """See ``base.DifferentiatedBatch.uses_separate``."""
        uses = self._uses[self._names[0]]
        names = tuple(numbered(self._names[0], i) for i in range(len(uses)))
        data = tuple(full(str(one.use.data)) for one in uses)
        joints = Joints(names, tuple(one.use for one in uses), tuple(self._z), data, self._cut.samples)
        return not mixed(self._cut, joints, self._forward.dtype)

    def diagonal(self, start: int, stop: int) -> dict[str, Array]:
        """See ``base.DifferentiatedBatch.uses_diagonal``."""
        tf = tensorflow()
        sums = {name: np.zeros(tuple(int(n) for n in self._forward.weights[name].shape)) for name in self._names}
        alike = self._alike()
        largest = max(value.size for value in sums.values()) * self._cut.samples
        if not alike and largest > _HELD:
            raise ModelError(
                f"{self._names[0]}: its uses are of several kinds, and too large to be told apart by samples; "
                f"use {option('method', 'coordinate')}."
            )
        data = [full(str(one.use.data)) for uses in self._uses.values() for one in uses]
        fetch = list(dict.fromkeys((*self._z, *data)))
        for begin in range(start, stop, _AT_ONCE):
            numbers = np.arange(begin, min(begin + _AT_ONCE, stop))
            key = ("pairs of uses", self._names)
            rows = self._cut.run_rows(key, self._body, tf.constant(numbers), fetch=fetch)
            for name, values in zip(self._names, rows, strict=True):
                use = self._uses[name][0].use
                for number, value in zip(numbers, as_float64(values), strict=True):
                    if alike:
                        np.add.at(sums[name].reshape(-1), use.place(self._channel(int(number))), value)
                    else:
                        sums[name] += value.reshape(sums[name].shape)
        return sums

    def _alike(self) -> bool:
        """Whether a channel of every output is joined with the same entries of each parameter."""
        forms = {name: [one.use for one in uses] for name, uses in self._uses.items()}
        return all(
            isinstance(uses[0], PatchUse) and all(uses[0].like(use) for use in uses[1:]) for uses in forms.values()
        )

    @property
    def _positions(self) -> int:
        """Of all outputs together, seen as one."""
        return sum(layout.positions for layout in self._layouts)

    def _channel(self, number: int) -> int:
        """Of a basis vector, where the outputs have the same channels."""
        return number // self._positions

    def _body(self, graph: Imported, numbers: Any) -> Any:
        """What each basis vector gives, as a function to be traced."""
        tf, n, dtype = tensorflow(), self._cut.samples, self._forward.dtype
        z = [graph.fetched[name] for name in self._z]
        changing = self._changing()
        values = [graph.fetched[name] for name in changing]
        dummies = [tf.zeros_like(value) for value in values]
        # ∂(ℓ + Σ_t ⟨u_t, a_t⟩)/∂z at u = 0: its derivatives by z are products, and those by u changes of the data.
        first = gradients([graph.output, *values], z, [graph.cotangent(), *dummies])
        slopes = [tf.stop_gradient(slope) for slope in graph.gradients(z)]
        alike = self._alike()
        prepared = {
            name: [one.use.prepare(graph.fetched[full(str(one.use.data))], n) for one in uses]
            for name, uses in self._uses.items()
        }
        patches = {
            name: tf.concat([use.patches(graph.fetched[full(str(use.data))], n) for use in _patch_uses(uses)], -1)
            for name, uses in self._uses.items()
            if alike
        }
        deltas = [q.canonical(slope, n) for q, slope in zip(self._layouts, slopes, strict=True)] if alike else []
        slope_rows = tf.concat(deltas, -1) if alike else None

        def one_vector(number: Any) -> list[Any]:
            basis = self._basis(number, alike=alike)
            vectors = [q.original(b, n) for q, b in zip(self._layouts, basis, strict=True)]
            pulled = gradients(first, [*z, *dummies], vectors)
            products, moved = pulled[: len(z)], dict(zip(changing, pulled[len(z) :], strict=True))
            if not alike:
                return [
                    self._by_samples(name, vectors, products, slopes, prepared[name], moved) for name in self._names
                ]
            channel, position = number // self._positions, number % self._positions
            rows = [q.canonical(p, n)[:, channel] for q, p in zip(self._layouts, products, strict=True)]
            row = tf.concat(rows, -1)
            return [self._by_channel(p, (channel, position), row, slope_rows, patches[p], moved) for p in self._names]

        signature = [tf.TensorSpec(None, dtype) for _ in self._names]
        return tf.map_fn(one_vector, numbers, fn_output_signature=signature, parallel_iterations=1)

    def _changing(self) -> list[str]:
        """The data of uses that depend on outputs of uses before them."""
        reader = self._forward.reader
        after = reader.downstream([source(z) for z in self._z]) & reader.live(self._forward.output)
        data = [full(str(one.use.data)) for uses in self._uses.values() for one in uses if one.use.follows]
        return [name for name in dict.fromkeys(data) if source(name) in after]

    def _basis(self, number: Any, *, alike: bool) -> list[Any]:
        """A basis vector of all outputs, one for all samples, as each output's part in canonical order."""
        tf, n, dtype = tensorflow(), self._cut.samples, self._forward.dtype
        unit = tf.one_hot(number, self.vectors, dtype=dtype)
        if alike:
            whole = tf.reshape(unit, [1, self._layouts[0].channels, self._positions])
            parts = tf.split(whole, [layout.positions for layout in self._layouts], axis=2)
        else:
            flat = tf.split(unit, [layout.channels * layout.positions for layout in self._layouts])
            parts = [tf.reshape(p, [1, q.channels, q.positions]) for p, q in zip(flat, self._layouts, strict=True)]
        return [tf.broadcast_to(p, [n, q.channels, q.positions]) for p, q in zip(parts, self._layouts, strict=True)]

    def _by_channel(
        self, name: str, place: tuple[Any, Any], row: Any, slopes: Any, patches: Any, moved: Mapping[str, Any]
    ) -> Any:
        """What the basis vector at a channel and position gives for that channel's entries; all uses are alike."""
        tf, n, uses = tensorflow(), self._cut.samples, _patch_uses(self._uses[name])
        channel, position = place
        group = channel // uses[0].outputs_per_group
        here = patches[:, group]
        left, right = tf.gather(here, position, axis=2), tf.linalg.matvec(here, row)
        changes: list[Any] = []
        for use in uses:
            change = moved.get(full(str(use.data))) if use.follows else None
            still = tf.zeros_like(here[..., : use.layout.positions])
            changes.append(still if change is None else use.patches(change, n)[:, group])
        right += 2 * tf.linalg.matvec(tf.concat(changes, -1), slopes[:, channel])
        return tf.reduce_sum(left * right, axis=0)

    def _by_samples(
        self,
        name: str,
        vectors: Sequence[Any],
        products: Sequence[Any],
        slopes: Sequence[Any],
        prepared: Sequence[Any],
        moved: Mapping[str, Any],
    ) -> Any:
        """What one basis vector gives for all entries, sample by sample, whatever the uses."""
        tf, n = tensorflow(), self._cut.samples
        size = prod(int(k) for k in self._forward.weights[name].shape)
        left, right = (tf.zeros([n, size], self._forward.dtype) for _ in range(2))
        for i, one in enumerate(self._uses[name]):
            left += one.use.sample_gradients(vectors[i], prepared[i], n)
            right += one.use.sample_gradients(products[i], prepared[i], n)
            data = full(str(one.use.data))
            if one.use.follows and data in moved:
                right += 2 * one.use.sample_gradients(slopes[i], one.use.prepare(moved[data], n), n)
        return tf.reduce_sum(left * right, axis=0)


def _patch_uses(located: Sequence[Located]) -> list[PatchUse]:
    return [one.use for one in located if isinstance(one.use, PatchUse)]
