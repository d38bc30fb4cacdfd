"""Rounded activations with known numbers, as their figure is drawn from."""

from __future__ import annotations

import numpy as np

from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.registry import TABLES

LAYERS = ("conv$1", "fc", "head")
BITS = (8, 4, 2)


def activations_of() -> StudyRecord:
    """Three layers at three numbers of bits, one of which has no finite loss."""
    quantised = TABLES["quantized_activations"]
    rows = tuple(
        study_row(
            quantised,
            f"{layer}/{bits}",
            z_layer=layer,
            z_bits=bits,
            z_predicted=2.0**-bits * (number + 1),
            z_quadratic=-(3.0**-bits),
            z_hawq_v2=4.0**-bits,
            z_measured=np.inf if bits == 2 and layer == "fc" else 2.5**-bits,
        )
        for number, layer in enumerate(LAYERS)
        for bits in BITS
    )
    diagonal = StudyArray(
        name="diagonal/fc", values=np.ones(4), axes=("z_0",), long_name="mean of ∂²ℓ/∂z_j²", unit="loss/z²"
    )
    return StudyRecord(name="activations", tables={"quantized_activations": rows}, arrays=(diagonal,))
