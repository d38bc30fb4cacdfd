"""The inputs that a function is differentiated by, as one text."""

from __future__ import annotations

import json
from collections.abc import Iterable

from curvcli.report.records.inputs import InputAxes


def encode_axes(inputs: Iterable[InputAxes]) -> str:
    """Return names and shapes as JSON, in order: ``[["x", []], ["image", [28, 28]]]``."""
    return json.dumps([[axes.name, list(axes.shape)] for axes in inputs])


def decode_axes(text: str) -> tuple[InputAxes, ...]:
    """Return what `encode_axes` was given."""
    return tuple(InputAxes(name=name, shape=tuple(shape)) for name, shape in json.loads(text))
