"""The one table of what a report's columns are.

HDF5, JSON, CSV, exports, printed tables, `compare`, `assert` and plots take names, headings, units and formats from
here. A new column is one entry in a table below, and the place where its number is computed: `records.entries` or
`records.spectra`, or the entry's own `value`. It stands behind the others, for CSV is read by position too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any, Final

from curvcli.report.table import EVERYWHERE, Column, Heading, Place, Table
from curvcli.report.units import BY_ENTRY, BY_Z, CURVATURE, GRADIENT, NONE, SECONDS, of_function

_NOT_CSV: Final = EVERYWHERE - {"csv"}
_DERIVED: Final = frozenset[Place]({"csv", "export"})
_EXPORT: Final = frozenset[Place]({"export"})
_JSON: Final = frozenset[Place]({"json"})
_STORED: Final = frozenset[Place]({"hdf5", "json"})


def _sign(position: int) -> Callable[[Any], int | None]:
    return lambda row: None if row.inertia is None else row.inertia[position]


def _name(row: Any) -> str:
    return str(row.name)


# A column takes two lines at most, so that a table reads as a table.
# fmt: off
_STATISTICS: Final = (
    Column("gradient_norm", "number", "Euclidean norm of the gradient", GRADIENT, "gradient",
           Heading("gradient norm", 70, 3, ("diagonal", "gradient")), role="property"),
    Column("trace", "number", "trace of the {}", CURVATURE, "trace", Heading("trace", 80, 0, ("diagonal", "trace")),
           role="property", worse="larger", error="trace_stderr", plotted=True),
    Column("diagonal_min", "number", "smallest entry of the diagonal of the {}", CURVATURE, "diagonal",
           Heading("min", 110, 2, ("diagonal",)), role="property", worse="lower"),
    Column("diagonal_max", "number", "largest entry of the diagonal of the {}", CURVATURE, "diagonal",
           Heading("max", 120, 1, ("diagonal",)), role="property", worse="larger"),
    Column("diagonal_mean", "number", "mean entry of the diagonal of the {}", CURVATURE, "diagonal",
           role="property", worse="larger"),
    Column("diagonal_abs_mean", "number", "mean absolute entry of the diagonal of the {}", CURVATURE, "diagonal",
           role="property", worse="larger"),
    Column("negative_share", "share", "share of negative entries of the diagonal of the {}", NONE, "diagonal",
           Heading("negative share", 150, 8, ("diagonal",)), role="property", worse="larger", tolerance=0.01),
)
_RELATIVE: Final = Column(
    "diagonal_relative_stderr", "share", "norm of the standard errors of the diagonal relative to that of the diagonal",
    NONE, "diagonal", Heading("± rel", 130, 1, ("estimated diagonal",)), role="quality", later=True,
)
_UNSURE: Final = Column(
    "negative_share_rounding", "share", "share of entries of the diagonal that rounding may have moved across zero",
    NONE, "diagonal", unknown=True, later=True,
)

LAYERS: Final = Table("summary", "layer", (
    Column("name", "text", "name of the layer", inside=_JSON),
    Column("layer", "text", "name of the layer", heading=Heading("layer", 10), inside=_DERIVED, value=_name),
    Column("kind", "text", "kind of layer", heading=Heading("kind", 20, 7)),
    Column("index", "count", "place in the model", NONE),
    Column("method", "text", "how the results were computed", heading=Heading("method", 30, 4)),
    # Of eigenpairs alone one says whether they have converged.
    Column("exact", "flag", "whether the results are exact up to rounding", NONE,
           heading=Heading("exact", 50, 5, ("diagonal", "trace", "density", "hessian"))),
    Column("parameter_count", "count", "number of parameters", NONE, heading=Heading("parameters", 60, 6),
           role="quality"),
    *_STATISTICS,
    Column("products", "count", "number of products with the matrix", NONE, role="quality"),
    Column("status", "status", "how the computation ended", heading=Heading("status", 900)),
    _RELATIVE,
    Column("trace_stderr", "number", "standard error of the trace", CURVATURE, "trace",
           Heading("± stderr", 90, 1, ("trace", "estimated diagonal")), role="quality", later=True),
    Column("trace_data_stderr", "number", "standard error of the trace over draws of the data", CURVATURE, "trace",
           Heading("± data", 100, 2, ("trace",)), role="quality", later=True),
    Column("trace_method", "text", "how the trace was computed, if not as the sum of the diagonal", "", "trace",
           later=True),
    Column("eigen_method", "text", "how the eigenvalues were computed", "", "eigen", later=True),
    Column("eigenvalue_count", "count", "number of computed eigenvalues", NONE, "eigen", role="quality", later=True),
    Column("converged_count", "count", "number of computed eigenvalues that meet the tolerance", NONE, "eigen",
           Heading("converged", 180, 1, ("eigen",)), role="quality", later=True),
    Column("top_eigenvalue", "number", "largest eigenvalue, if it was searched for", CURVATURE, "eigen",
           Heading("eigenvalues", 160, 0, ("eigen",)), role="property", worse="larger", plotted=True, later=True),
    Column("smallest_eigenvalue", "number", "smallest eigenvalue, if it was searched for", CURVATURE, "eigen",
           role="property", worse="lower", later=True),
    Column("eigenvalues", "numbers", "computed eigenvalues, descending", CURVATURE, "eigen", later=True),
    Column("largest_residual", "number", "largest norm of the residuals", CURVATURE, "eigen",
           Heading("largest residual", 170, 3, ("eigen",)), role="quality", inside=_DERIVED),
    Column("density_method", "text", "how the spectral density was computed", "", "density", later=True),
    Column("weight_at_zero", "share", "share of eigenvalues that are zero; an upper bound where not exact", NONE,
           "density", Heading("weight at zero", 200, 2, ("density",)), role="property", tolerance=0.01, later=True),
    Column("support_min", "number", "smallest eigenvalue that the density has seen", CURVATURE, "density",
           role="property", worse="lower", later=True),
    Column("support_max", "number", "largest eigenvalue that the density has seen", CURVATURE, "density",
           Heading("support", 190, 1, ("density",)), role="property", worse="larger", later=True),
    Column("hessian_method", "text", "how the whole matrix was computed", "", "hessian", later=True),
    Column("frobenius_norm", "number", "Frobenius norm of the {}", CURVATURE, "hessian",
           Heading("Frobenius norm", 230, 2, ("hessian",)), role="property", worse="larger", later=True),
    Column("condition_number", "number", "condition number of the {}", NONE, "hessian",
           Heading("condition", 220, 1, ("hessian",)), role="property", infinite=True, later=True),
    Column("condition_is_bound", "flag", "whether the condition number is only a lower bound", NONE, "hessian",
           later=True),
    Column("matrix", "text", "matrix of the trace, the eigenvalues, the density and the full matrix",
           heading=Heading("matrix", 40, 0, ("other matrix",)), blank=True,
           later=True),
    Column("positive_eigenvalues", "count", "number of positive eigenvalues", NONE, "hessian", role="property",
           inside=_DERIVED, value=_sign(0)),
    Column("zero_eigenvalues", "count", "number of eigenvalues that are zero to rounding", NONE, "hessian",
           role="property", inside=_DERIVED, value=_sign(1)),
    Column("negative_eigenvalues", "count", "number of negative eigenvalues", NONE, "hessian",
           Heading("inertia +/0/-", 210, 1, ("hessian",)), role="property", worse="larger", inside=_DERIVED,
           value=_sign(2)),
    Column("eigen_which", "text", "which eigenvalues were searched for", "", "eigen", later=True),
    Column("trace_estimates", "count", "number of estimates behind the standard error of the trace", NONE,
           "trace", later=True),
    Column("trace_degrees", "number", "degrees of freedom of the standard error of the trace", NONE, "trace",
           unknown=True, later=True),
    Column("trace_rounding", "number", "how far the trace may be off by rounding", CURVATURE, "trace", role="quality",
           unknown=True, later=True),
    Column("diagonal_rounding", "number", "how far entries of the diagonal may be off by rounding", CURVATURE,
           "diagonal", role="quality", unknown=True, later=True),
    _UNSURE,
    Column("diagonal_verified", "number", "largest difference between the diagonal and products", CURVATURE, "diagonal",
           Heading("off products", 140, 2, ("verified",)), role="quality", unknown=True, later=True),
    Column("density_rounding", "number", "how far eigenvalues of the density may be off by rounding", CURVATURE,
           "density", role="quality", unknown=True, later=True),
    Column("hessian_rounding", "number", "how far eigenvalues of the whole matrix may be off by rounding", CURVATURE,
           "hessian", role="quality", unknown=True, later=True),
    Column("seconds", "number", "wall time", SECONDS, inside=_EXPORT | _JSON),
    Column("residuals", "numbers", "norm of the residual of each eigenpair", CURVATURE, "eigen", later=True,
           inside=_NOT_CSV),
    Column("eigenvalue_rounding", "numbers", "how much of each residual may be rounding", CURVATURE, "eigen",
           later=True, inside=_NOT_CSV),
    Column("inertia", "signs", "number of eigenvalues of the {} by sign", NONE, "hessian", later=True, inside=_STORED),
))


_MEANS: Final = {"diagonal_mean": Heading("mean", 115, 4), "diagonal_abs_mean": Heading("mean |entry|", 125, 4)}
# A parameter's own statistics stand in its table whatever else the report holds.
_OF_PARAMETERS: Final = tuple(
    replace(column, heading=_MEANS.get(column.name) or (column.heading and replace(column.heading, when=())))
    for column in (*_STATISTICS, _RELATIVE, _UNSURE)
)

PARAMETERS: Final = Table("parameters", "parameter", (
    Column("layer", "text", "name of the layer", inside=frozenset[Place]({"hdf5", "export"})),
    Column("label", "text", "name inside the layer", heading=Heading("parameter", 10), inside=_STORED),
    Column("parameter", "text", "name inside the layer", inside=_EXPORT, value=lambda row: row.label),
    Column("name", "text", "name in the model", inside=_JSON | _EXPORT),
    Column("shape", "shape", "length of each axis", heading=Heading("shape", 20, 3)),
    Column("size", "count", "number of entries", NONE, inside=_EXPORT, value=lambda row: prod(row.shape)),
    Column("axes", "words", "name of each axis"),
    Column("method", "text", "how the diagonal was computed", "", "diagonal", Heading("method", 30, 1)),
    Column("exact", "flag", "whether the diagonal is exact up to rounding", NONE, "diagonal", Heading("exact", 50, 1)),
    Column("reason", "prose", "why this method, or why there is no result", heading=Heading("reason", 910)),
    Column("products", "count", "number of products with the matrix", NONE, heading=Heading("products", 60, 5)),
    Column("status", "status", "how the computation ended", heading=Heading("status", 900)),
    *_OF_PARAMETERS,
    Column("estimates", "count", "number of estimates behind the standard errors of the diagonal", NONE,
           "diagonal", later=True),
    Column("degrees", "number", "degrees of freedom of the standard errors of the diagonal", NONE, "diagonal",
           unknown=True, later=True),
    Column("widening", "number", "factor in these standard errors because the estimates are few", NONE,
           "diagonal", later=True),
    Column("independent", "flag", "whether these estimates are independent", NONE, "diagonal", later=True),
    Column("rounding", "number", "how far entries of the diagonal may be off by rounding", CURVATURE, "diagonal",
           Heading("± rounding", 160, 3, ("rounding",)), unknown=True, later=True),
    Column("verified", "number", "largest difference between the diagonal and products", CURVATURE, "diagonal",
           Heading("off products", 170, 2, ("verified",)), unknown=True, later=True),
    Column("verification", "prose", "which entries of the diagonal were checked by products", "", "diagonal",
           Heading("verified by", 920, 1, ("verified",)), later=True),
    Column("matrix", "text", "matrix of the diagonal", "", "diagonal", Heading("matrix", 40, 0, ("other matrix",)),
           later=True),
    Column("channel_relative_stderr", "share",
           "norm of the standard errors of sums per output channel relative to that of the sums", NONE, "diagonal",
           Heading("± rel, channels", 135, 1, ("channels",)), later=True),
))

_F0, _F1, _F2 = (of_function("function", order) for order in range(3))
INPUTS: Final = Table("inputs_summary", "function", (
    Column("function", "text", "name of the function", heading=Heading("function", 10), inside=_DERIVED, value=_name),
    Column("inputs", "inputs", "name and shape of each input", heading=Heading("by", 20, 4), inside=EVERYWHERE - _JSON),
    Column("samples", "count", "number of samples", NONE, heading=Heading("samples", 30, 5)),
    Column("coordinates", "count", "number of entries of all inputs per sample", NONE,
           heading=Heading("coordinates", 40, 6)),
    Column("method", "text", "how the second derivatives were computed", heading=Heading("method", 50, 4, ("second",))),
    Column("exact", "flag", "whether the second derivatives are exact up to rounding", NONE,
           heading=Heading("exact", 60, 5, ("second",))),
    Column("value_mean", "number", "mean of the function over the samples", _F0, "inputs",
           Heading("mean value", 70, 1), role="property"),
    Column("gradient_norm_mean", "number", "mean Euclidean norm of the gradient over the samples", _F1, "inputs",
           Heading("mean ‖gradient‖", 80, 2, ("gradient",)), role="property"),
    Column("laplacian_mean", "number", "mean Laplacian over the samples", _F2, "inputs",
           Heading("mean Laplacian", 90, 0, ("laplacian",)), role="property"),
    Column("laplacian_stderr_mean", "number", "mean standard error of the Laplacian over the samples", _F2, "inputs",
           Heading("± stderr", 100, 1, ("estimated laplacian",)), role="quality"),
    Column("laplacian_min", "number", "smallest Laplacian", _F2, "inputs", Heading("min", 110, 4, ("laplacian",)),
           role="property"),
    Column("laplacian_max", "number", "largest Laplacian", _F2, "inputs", Heading("max", 120, 4, ("laplacian",)),
           role="property"),
    Column("laplacian_abs_mean", "number", "mean absolute Laplacian over the samples", _F2, "inputs",
           Heading("mean |Laplacian|", 130, 3, ("laplacian",)), role="property"),
    Column("diagonal_min", "number", "smallest entry of the Hessian diagonals", _F2, "inputs",
           Heading("diagonal min", 140, 3, ("diagonal",)), role="property"),
    Column("diagonal_max", "number", "largest entry of the Hessian diagonals", _F2, "inputs",
           Heading("diagonal max", 150, 3, ("diagonal",)), role="property"),
    Column("order", "count", "highest order of the derivatives along single coordinates", NONE, "inputs",
           Heading("order", 160, 3, ("derivatives",)), blank=True, inside=EVERYWHERE - _JSON),
    Column("residual_column", "prose", "column of the data that the Laplacian is compared with", "", "inputs",
           Heading("minus", 170, 2, ("residual",)), blank=True, inside=EVERYWHERE - _JSON),
    Column("residual_mean_abs", "number", "mean absolute difference between Laplacian and column", _F2, "inputs",
           Heading("mean |residual|", 180, 0, ("residual",)), inside=EVERYWHERE - _JSON, role="property",
           worse="larger"),
    Column("residual_max_abs", "number", "largest absolute difference between Laplacian and column", _F2, "inputs",
           Heading("max |residual|", 190, 1, ("residual",)), inside=EVERYWHERE - _JSON, role="property",
           worse="larger"),
    Column("residual_rms", "number", "root mean square of the difference between Laplacian and column", _F2, "inputs",
           inside=EVERYWHERE - _JSON, role="property", worse="larger"),
    Column("products", "count", "number of Hessian-vector products", NONE, heading=Heading("products", 200, 7)),
    Column("probes", "count", "random vectors drawn", NONE),
    Column("status", "status", "how the computation ended", heading=Heading("status", 900)),
    Column("reason", "prose", "why this method, or why there is no result", inside=_NOT_CSV),
))
SPLIT: Final = Table("split_parts", "part", (
    Column("layer", "text", "the layer at whose output z the gradient is split", heading=Heading("layer", 10),
           inside=frozenset[Place]({"hdf5", "export"})),
    Column("by", "text", "the parameter's name inside the layer, or the input's name", heading=Heading("by", 20)),
    Column("kind", "text", "parameter or input", heading=Heading("kind", 30, 4)),
    Column("operation", "text", "operation that computes z"),
    Column("z_shape", "shape", "length of each axis of z per sample"),
    Column("samples", "count", "number of samples", NONE),
    Column("shape", "shape", "length of each axis of the parameter, of the input per sample"),
    Column("kept", "text", "whether the whole Jacobian was kept, or only its products", heading=Heading("kept", 40, 2)),
    Column("jacobian_shape", "shape", "length of each axis of the Jacobian that is kept",
           heading=Heading("Jacobian", 50, 1), inside=_JSON),
    Column("reason", "prose", "why"),
    Column("output_gradient_norm", "number", "Euclidean norm of the gradient of the loss by z", BY_Z, "split",
           Heading("‖∂L/∂z‖", 60, 3), role="property"),
    Column("product_norm", "number", "Euclidean norm of the gradient by z times the Jacobian of z", BY_ENTRY, "split",
           Heading("‖product‖", 70, 3), role="property"),
    Column("gradient_norm", "number", "Euclidean norm of the gradient computed directly", BY_ENTRY, "split"),
    Column("difference", "number", "largest absolute difference between the two gradients", BY_ENTRY, "split",
           Heading("difference", 80), role="quality"),
    Column("relative_difference", "number", "norm of their difference relative to that of the gradient", NONE, "split",
           Heading("relative", 90), role="quality"),
    Column("passes", "count", "number of backward passes", NONE),
))
CHECKS: Final = Table("checks", "check", (
    Column("name", "text", "name of the check", inside=_JSON),
    Column("check", "text", "name of the check", heading=Heading("check", 10), inside=_DERIVED, value=_name),
    Column("subject", "prose", "what was checked", heading=Heading("subject", 20)),
    Column("outcome", "outcome", "how the check came out", heading=Heading("result", 30)),
    Column("figure", "number", "what was measured", NONE, "checks", Heading("figure", 40, 1), role="quality"),
    Column("limit", "number", "limit that the figure is compared with", NONE, "checks", Heading("limit", 50, 2)),
    Column("detail", "prose", "what was found, or why it was skipped", heading=Heading("detail", 60)),
))
# fmt: on
