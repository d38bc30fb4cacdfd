"""All architectures, family by family."""

from __future__ import annotations

from . import convolutional, keras_models, libraries, others, recurrent, tensorflow_graphs, transformers

FAMILIES = (convolutional, transformers, recurrent, others, libraries, keras_models, tensorflow_graphs)
ARCHITECTURES = [one for family in FAMILIES for one in family.ARCHITECTURES]
