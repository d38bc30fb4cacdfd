"""What the table and the Markdown show of gradients in two parts: one line per layer and part."""

from __future__ import annotations

from typing import Final

from curvcli.report.hdf5.read import Report
from curvcli.report.records.split import SplitPartSummary
from curvcli.report.render.columns import Column, Section, short
from curvcli.text import printable


def _shape(part: SplitPartSummary) -> str:
    """Return the shape of the Jacobian that is kept."""
    return "-" if part.jacobian_shape is None else "×".join(map(str, part.jacobian_shape))


def _number(value: float) -> str:
    """Return a number that was computed, whatever it is."""
    return short(value, "nonfinite")


_COLUMNS: Final = (
    Column("layer", lambda part: printable(part.layer) or "(root)", False, 0),
    Column("by", lambda part: printable(part.by), False, 0),
    Column("kind", lambda part: part.kind, False, 4),
    Column("kept", lambda part: part.kept, False, 2),
    Column("Jacobian", _shape, False, 1),
    Column("‖∂L/∂z‖", lambda part: _number(part.output_gradient_norm), True, 3),
    Column("‖product‖", lambda part: _number(part.product_norm), True, 3),
    Column("difference", lambda part: _number(part.difference), True, 0),
    Column("relative", lambda part: _number(part.relative_difference), True, 0),
)


def split_section(report: Report) -> Section:
    """Return the parts of all layers, in the order of the layers."""
    rows = [part for layer in report.layers for part in layer.split]
    return Section("gradient in two parts", _COLUMNS, rows)
