"""Studies with numbers that can be drawn, one of each."""

from __future__ import annotations

import numpy as np

from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.registry import TABLES


def sensitivity() -> StudyRecord:
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


def slice_() -> StudyRecord:
    """One direction."""
    steps = np.linspace(-1, 1, 5)
    arrays = {"coordinate_1": steps, "loss": steps**2 + 1, "quadratic": steps**2 + 0.9}
    return StudyRecord(
        name="slice",
        tables={"slice": (study_row(TABLES["slice"], "top", about="eigenvector", slope=0.0, curvature=2.0),)},
        arrays=tuple(
            StudyArray(name=name, values=values, axes=("point",), long_name=name, unit="1")
            for name, values in arrays.items()
        ),
    )


STUDIES = (slice_, sensitivity)
