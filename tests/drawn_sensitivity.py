"""A sensitivity with known numbers, as its figures are drawn from."""

from __future__ import annotations

import numpy as np

from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.registry import TABLES


def sensitivity_of() -> StudyRecord:
    """Two layers at three numbers of bits and two sparsities, and the saliencies of their kernels."""
    rng = np.random.default_rng(0)
    quantised, pruned = TABLES["quantization"], TABLES["pruning"]
    layers = ("conv$1", "fc")
    return StudyRecord(
        name="sensitivity",
        tables={
            "quantization": tuple(
                study_row(
                    quantised,
                    f"{layer}/{bits}",
                    quantized_layer=layer,
                    kernels=(f"{layer}/kernel",),
                    bits=bits,
                    predicted_rise=4.0**-bits,
                    quadratic_rise=-(5.0**-bits),
                    hawq_v2=3.0**-bits,
                    measured_rise=np.inf if bits == 2 and layer == "fc" else 4.5**-bits,
                )
                for layer in layers
                for bits in (8, 4, 2)
            ),
            "pruning": tuple(
                study_row(
                    pruned,
                    f"{layer}/{share}",
                    pruned_layer=layer,
                    sparsity=share,
                    pruned_predicted=share**2,
                    pruned_measured=share,
                    magnitude_measured=2 * share,
                )
                for layer in (*layers, "(all layers)")
                for share in (0.25, 0.5)
            ),
        },
        arrays=tuple(
            StudyArray(
                name=f"saliency/{layer}/kernel",
                values=rng.standard_normal((4, 5)) ** 3,
                axes=("in", "out"),
                long_name="saliency",
                unit="loss",
            )
            for layer in layers
        ),
    )
