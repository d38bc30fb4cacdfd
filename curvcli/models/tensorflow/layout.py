"""Moves a z's entries into canonical order and back, in TensorFlow."""

from __future__ import annotations

from typing import Any

from curvcli.models.layout import ZLayout
from curvcli.models.tensorflow.runtime import tensorflow


class TensorFlowLayout(ZLayout):
    """A z of any batch of the graph."""

    def canonical(self, z: Any, samples: int) -> Any:
        """z-shaped → (samples, channels, positions)."""
        tf = tensorflow()
        split = tf.transpose(tf.reshape(z, self.split(samples)), self.order)
        return tf.reshape(split, [samples, self.channels, self.positions])

    def original(self, canonical: Any, samples: int) -> Any:
        """(samples, channels, positions) → z-shaped."""
        tf = tensorflow()
        sizes = self.split(samples)
        permuted = tf.reshape(canonical, [sizes[a] for a in self.order])
        return tf.reshape(tf.transpose(permuted, self.inverse), [samples * self.rows_per_sample, *self.shape[1:]])
