"""What a report keeps of how sharp a minimum is, by the measures that the literature uses."""

from __future__ import annotations

from typing import Final

from curvcli.report.studies.interface import Study
from curvcli.report.table import Column, Heading, Table
from curvcli.report.units import CURVATURE, GRADIENT, LOSS, NONE

# fmt: off
MEASURES: Final = Table("sharpness", "measure", (
    Column("measure", "text", "name of the measure", heading=Heading("measure", 10),
           inside=frozenset({"csv", "export"}), value=lambda row: row.name),
    Column("value", "number", "the measure, in the unit of its row", NONE, heading=Heading("value", 20),
           role="property", error="stderr", unknown=True, infinite=True),
    Column("stderr", "number", "standard error of the value, widened for few probes; 0 where there is no random error",
           NONE, heading=Heading("±", 30, 0, ("stderr",)), unknown=True),
    Column("unit", "text", "unit of the value", heading=Heading("unit", 40, 6)),
    Column("method", "text", "how it was computed", heading=Heading("method", 50, 3)),
    Column("exact", "flag", "whether the value is exact up to rounding", NONE, heading=Heading("exact", 60, 4)),
    Column("residual", "number", "of an eigenvalue λ with eigenvector v of norm 1, the norm of Hv − λv", CURVATURE,
           role="quality", unknown=True),
    Column("count", "count", "probes or mini-batches that an estimate is of; 0 for none", NONE, blank=True),
    Column("degrees", "number", "degrees of freedom of the standard error; infinite where there is none", NONE,
           unknown=True, infinite=True),
    Column("definition", "prose", "what the measure is", heading=Heading("what", 70, 2), defines=True),
    Column("source", "prose", "where the measure is from", heading=Heading("source", 80, 7)),
    Column("rescaling", "text", "what becomes of the measure where one ReLU layer is scaled up and the next down",
           heading=Heading("rescaled", 90, 5)),
    Column("status", "status", "how the computation ended", heading=Heading("status", 900)),
    Column("reason", "prose", "what there is to know of how it was computed"),
), title="sharpness")

FLATNESS: Final = Table("relative_flatness", "kernel", (
    Column("kernel", "text", "name of the kernel", heading=Heading("kernel", 10),
           inside=frozenset({"csv", "export"}), value=lambda row: row.name),
    Column("layer", "text", "name of its layer"),
    Column("relative_flatness", "number", "tr[(WWᵀ ⊗ I) H], W the kernel with a row per output unit", LOSS,
           heading=Heading("relative flatness", 20), role="property", error="relative_flatness_stderr", unknown=True),
    Column("relative_flatness_stderr", "number", "standard error over probes; 0 where there is no random error", LOSS,
           heading=Heading("±", 30, 0, ("relative_flatness_stderr",)), unknown=True),
    Column("kernel_norm", "number", "Frobenius norm of the kernel", "parameter", heading=Heading("‖W‖", 40, 2)),
    Column("method", "text", "how it was computed", heading=Heading("method", 50, 3)),
    Column("exact", "flag", "whether the value is exact up to rounding", NONE, heading=Heading("exact", 60, 4)),
    Column("degrees", "number", "degrees of freedom of the standard error; infinite where there is none", NONE,
           unknown=True, infinite=True),
    Column("status", "status", "how the computation ended", heading=Heading("status", 900)),
    Column("reason", "prose", "why by this method", heading=Heading("reason", 910, 1)),
), title="relative flatness of kernels")

BATCHES: Final = Table("batch_sharpness", "minibatch", (
    Column("minibatch", "text", "number of the mini-batch", inside=frozenset({"csv", "export"}),
           value=lambda row: row.name),
    Column("minibatch_loss", "number", "the loss of the mini-batch, weight decay included", LOSS, unknown=True),
    Column("minibatch_gradient_norm", "number", "‖g_B‖", GRADIENT, unknown=True),
    Column("minibatch_curvature", "number", "g_BᵀH_Bg_B / ‖g_B‖²", CURVATURE, unknown=True),
    Column("minibatch_distance", "number", "‖g_B − g‖, g the gradient over all the data", GRADIENT, unknown=True),
    Column("minibatch_eigenvalue", "number", "the largest eigenvalue of H_B", CURVATURE, unknown=True),
    Column("minibatch_residual", "number", "the norm of H_Bv − λv of its eigenvector v", CURVATURE, unknown=True),
    Column("minibatch_converged", "flag", "whether that is within the tolerance", NONE),
), title="sharpness of mini-batches")
# fmt: on

SHARPNESS: Final = Study("sharpness", "how sharp a minimum is", (MEASURES, FLATNESS, BATCHES))
