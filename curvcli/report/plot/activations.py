"""What rounding each layer's activation does to the loss, against the bits: predicted, and measured points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from curvcli.report.plot.sensitivity import Rises, draw_rises
from curvcli.report.plot.style import MUTED, NEGATIVE, OTHER, Plot
from curvcli.report.plot.view import View

_ACTIVATIONS: Final = Rises(
    "activations",
    "Rise of the loss with one layer's activation quantised",
    "quantized_activations",
    "z_layer",
    "z_bits",
    "bits per entry of z",
    {
        "z_quadratic": (NEGATIVE, "-", "gᵀδ + ½δᵀHδ"),
        "z_predicted": (OTHER, "--", "gᵀδ + ½ΣH_jjδ_j²"),
        "z_hawq_v2": (MUTED, ":", "HAWQ-V2"),
    },
    "z_measured",
    "z_quadratic",
)


def draw(view: View) -> Iterator[Plot]:
    """Yield pages of one panel per layer; all share both axes."""
    yield from draw_rises(view, _ACTIVATIONS)
