"""All architectures, family by family."""

from __future__ import annotations

from . import (
    convolutional,
    dense_prediction,
    generation,
    graphs,
    keras_models,
    libraries,
    physics,
    recommendation,
    recurrent,
    tensorflow_graphs,
    transformers,
)

FAMILIES = (
    convolutional,
    transformers,
    recurrent,
    graphs,
    dense_prediction,
    recommendation,
    generation,
    physics,
    libraries,
    keras_models,
    tensorflow_graphs,
)
ARCHITECTURES = [one for family in FAMILIES for one in family.ARCHITECTURES]
