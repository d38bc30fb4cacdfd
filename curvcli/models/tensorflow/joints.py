"""Where some parameters of a batch meet its data: each one's z, and what its canonical form is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.models.rows import weighted_signs
from curvcli.models.samples import halves, tags
from curvcli.models.tensorflow.confirm import Located
from curvcli.models.tensorflow.cut import CutBatch
from curvcli.models.tensorflow.graph import full
from curvcli.models.tensorflow.imported import Imported
from curvcli.models.tensorflow.layout import TensorFlowLayout
from curvcli.models.tensorflow.linear import LinearUse
from curvcli.models.tensorflow.runtime import tensorflow


@dataclass(frozen=True)
class Joints:
    """What functions of these parameters' z have to fetch, and what they make of it.

    Attributes:
        names: of the parameters.
        uses: the canonical form of each.
        z: the tensor each is linear in, by name.
        data: the tensor each meets there.
        samples: of the batch.
    """

    names: tuple[str, ...]
    uses: tuple[LinearUse, ...]
    z: tuple[str, ...]
    data: tuple[str, ...]
    samples: int

    @staticmethod
    def of(parameters: Sequence[str], located: Mapping[str, Located], samples: int) -> Joints:
        """Those of some parameters, each of which has been located."""
        places = [located[p] for p in parameters]
        return Joints(
            tuple(parameters),
            tuple(place.use for place in places),
            tuple(f"{place.entry.node}:0" for place in places),
            tuple(full(str(place.use.data)) for place in places),
            samples,
        )

    @property
    def fetch(self) -> list[str]:
        """The tensors that a function needs."""
        return [*self.z, *self.data]

    def single(self) -> TensorFlowLayout:
        """How the one z that all of them share is laid out.

        Raises:
            ValueError: they have several.
        """
        if len(set(self.z)) != 1:
            raise ValueError("parameters of one call must share their z")
        return self.uses[0].layout

    def outputs(self, graph: Imported) -> list[Any]:
        """Each z."""
        return [graph.fetched[name] for name in self.z]

    def prepared(self, graph: Imported) -> list[Any]:
        """What each use makes of its data once, for all columns."""
        pairs = zip(self.uses, self.data, strict=True)
        return [use.prepare(graph.fetched[name], self.samples) for use, name in pairs]


def mixed(cut: CutBatch, joints: Joints, dtype: Any) -> list[str]:
    """Those parameters of whose z, as it is located now, some row is reached from another sample's output."""
    samples = joints.samples
    if samples == 1 or not joints.names:
        return []
    # A kernel and its bias share z: what is asked of it is asked once.
    sharing: dict[Any, list[str]] = {}
    for name, z, use in zip(joints.names, joints.z, joints.uses, strict=True):
        sharing.setdefault((z, use.layout), []).append(name)
    names, layouts = tuple(names[0] for names in sharing.values()), [layout for _, layout in sharing]
    tf, fetch = tensorflow(), list(dict.fromkeys(z for z, _ in sharing))

    def rows(graph: Imported, cotangent: Any) -> list[Any]:
        deltas = dict(zip(fetch, graph.gradients([graph.fetched[z] for z in fetch], cotangent), strict=True))
        return [layout.canonical(deltas[z], samples) for z, layout in sharing]

    def by_tags(graph: Imported, cotangent: Any, weights: Any) -> list[Any]:
        per_sample = tf.reshape(weights, [-1, *(1,) * (len(cut.shape) - 1)])
        plain, tagged = rows(graph, cotangent), rows(graph, cotangent * per_sample)
        return [tf.reduce_any(t != p * weights[:, None, None]) for t, p in zip(tagged, plain, strict=True)]

    def by_zeros(graph: Imported, cotangent: Any, others: Any) -> list[Any]:
        return [tf.reduce_any(tf.boolean_mask(row, others) != 0) for row in rows(graph, cotangent)]

    orders = tuple(layout.interleaved for layout in layouts)
    suspects: set[str] = set()
    noise = tf.constant(weighted_signs(np.ones(samples), cut.shape), dtype=dtype)
    for tag in tags(samples):
        flags = cut.run(("tags", names, orders), by_tags, noise, tf.constant(tag, dtype=dtype), fetch=fetch)
        suspects |= {name for name, flag in zip(names, flags, strict=True) if bool(flag)}
    # Where the arithmetic of a kernel depends on the other samples, or numbers are too large, zeros still tell.
    reached: set[str] = set()
    for half in halves(samples) if suspects else ():
        chosen = tf.constant(weighted_signs(half.astype(float), cut.shape), dtype=dtype)
        flags = cut.run(("zeros", names, orders), by_zeros, chosen, tf.constant(~half), fetch=fetch)
        reached |= {name for name, flag in zip(names, flags, strict=True) if bool(flag)}
    groups = zip(names, sharing.values(), strict=True)
    mixed_up = {name for first, group in groups if first in reached & suspects for name in group}
    return [name for name in joints.names if name in mixed_up]
