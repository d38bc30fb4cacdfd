"""All architectures, family by family."""

from __future__ import annotations

from . import convolutional, others, recurrent, transformers

FAMILIES = (convolutional, transformers, recurrent, others)
ARCHITECTURES = [one for family in FAMILIES for one in family.ARCHITECTURES]
