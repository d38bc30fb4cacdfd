"""What a report keeps of how the loss depends on activations, and on rounding them."""

from __future__ import annotations

from typing import Final

from curvcli.report.studies.interface import Study
from curvcli.report.table import Column, Heading, Place, Table
from curvcli.report.units import BY_Z, LOSS, NONE

Z: Final = "z"
BY_Z_TWICE: Final = "loss/z²"


def _named(column: str, about: str, heading: Heading | None = None) -> Column:
    """The column of the rows' names, which JSON and the report itself have anyway."""
    inside: frozenset[Place] = frozenset({"csv", "export"})
    return Column(column, "text", about, heading=heading, inside=inside, value=lambda row: row.name)


# fmt: off
ACTIVATIONS: Final = Table("activations", "activation", (
    _named("activation", "the layer whose activation z is looked at", Heading("layer", 10)),
    Column("z_side", "text", "what z is of the layer: its output, or the input of its kernel", defines=True),
    Column("z_made_by", "text", "the operation that makes z", heading=Heading("z of", 20, 4)),
    Column("z_axes", "shape", "length of each axis of one sample's z", heading=Heading("shape", 30, 5)),
    Column("z_entries", "count", "number of entries of one sample's z", NONE, heading=Heading("entries", 35, 2)),
    Column("z_low", "number", "least number that z holds in all samples", Z, heading=Heading("least", 40, 3),
           role="property", unknown=True),
    Column("z_high", "number", "largest number that z holds in all samples", Z, heading=Heading("largest", 45, 3),
           role="property", unknown=True),
    Column("z_gradient", "number", "mean over samples of ‖∂ℓ/∂z‖", BY_Z, heading=Heading("‖∂ℓ/∂z‖", 50, 1),
           role="property", unknown=True),
    Column("z_trace", "number", "trace of the mean over samples of ∂²ℓ/∂z²", BY_Z_TWICE, heading=Heading("trace", 60),
           role="property", worse="larger", error="z_trace_stderr", unknown=True),
    Column("z_trace_stderr", "number", "its standard error by the random vectors, widened for few or skewed ones; 0 "
           "where exact", BY_Z_TWICE, heading=Heading("±", 61, 1, ("z_probes",)), role="quality", unknown=True),
    Column("z_degrees", "number", "degrees of freedom of that error", NONE, unknown=True, infinite=True),
    Column("z_trace_data_stderr", "number", "standard error of the trace as a mean over samples", BY_Z_TWICE,
           heading=Heading("± data", 65, 1), role="quality", unknown=True),
    Column("z_mean_curvature", "number", "trace over entries: the mean of the diagonal", BY_Z_TWICE,
           heading=Heading("per entry", 70, 2), role="property", unknown=True),
    Column("z_method", "text", "how the diagonal was computed", heading=Heading("diagonal", 80, 2)),
    Column("z_probes", "count", "random vectors that it took; 0 where exact", NONE,
           heading=Heading("probes", 85, 3, ("z_probes",)), role="quality"),
    Column("exact", "flag", "whether these figures are no estimates", NONE, heading=Heading("exact", 90, 1)),
), title="curvature of the loss by activations z")

MISSING: Final = Table("missing_activations", "missing_activation", (
    _named("missing_activation", "the layer that has no such activation", Heading("layer", 10)),
    Column("z_missing", "prose", "why it has none", heading=Heading("reason", 20)),
), title="layers left out")

QUANTIZED: Final = Table("quantized_activations", "quantized_activation", (
    _named("quantized_activation", "the layer and the bits"),
    Column("z_layer", "text", "the layer whose activation is quantised", heading=Heading("layer", 10)),
    Column("z_quantizer", "text", "what z is of the layer, and the scheme that rounds it", defines=True),
    Column("z_bits", "count", "bits per entry of z", NONE, heading=Heading("bits", 20)),
    Column("z_mean_square", "number", "mean square of δ = Q(z) − z over entries and samples", "z²",
           heading=Heading("mean δ²", 30, 2), role="property", worse="larger", unknown=True),
    Column("z_slope", "number", "mean over samples of gᵀδ", LOSS, heading=Heading("gᵀδ", 40, 3), role="property",
           unknown=True),
    Column("z_rounding_curvature", "number", "mean over samples of ½ Σ H_jj δ_j²", LOSS,
           heading=Heading("½ΣHδ²", 50, 3), role="property", error="z_predicted_stderr", unknown=True),
    Column("z_predicted", "number", "mean over samples of gᵀδ + ½ Σ H_jj δ_j²", LOSS, heading=Heading("predicted", 60),
           role="property", worse="larger", error="z_predicted_stderr", unknown=True),
    Column("z_predicted_stderr", "number", "its standard error by the random vectors, where these were used", LOSS,
           heading=Heading("±", 61, 1, ("z_predicted_stderr",)), role="quality", unknown=True),
    Column("z_quadratic", "number", "mean over samples of gᵀδ + ½ δᵀHδ", LOSS, heading=Heading("quadratic", 70, 1),
           role="property", worse="larger", unknown=True),
    Column("z_hawq_v2", "number", "(trace / n) · mean over samples of ‖δ‖²", LOSS, heading=Heading("HAWQ-V2", 80, 1),
           role="property", unknown=True),
    Column("z_measured", "number", "rise of the loss with this activation quantised, measured", LOSS,
           heading=Heading("measured", 90), role="property", worse="larger", unknown=True, infinite=True),
), title="quantised one activation at a time: predicted and measured rise of the loss")

RANKS: Final = Table("activation_ranks", "ranked_bits", (
    _named("ranked_bits", "the bits", Heading("bits", 10)),
    Column("ranked_activations", "count", "number of layers", NONE, heading=Heading("layers", 20)),
    Column("z_rank_predicted", "number", "Spearman's correlation over layers of the predicted with the measured rise",
           NONE, heading=Heading("predicted", 30), role="quality", unknown=True),
    Column("z_rank_quadratic", "number", "likewise of gᵀδ + ½ δᵀHδ", NONE, heading=Heading("quadratic", 40),
           role="quality", unknown=True),
    Column("z_rank_hawq_v2", "number", "likewise of HAWQ-V2's metric", NONE, heading=Heading("HAWQ-V2", 50),
           role="quality", unknown=True),
    Column("z_rank_error", "number", "likewise of the mean square of δ, the curvature left out", NONE,
           heading=Heading("mean δ²", 60), role="quality", unknown=True),
), title="quantised activations: rank correlation over layers with the measured rise")

CHANNELS: Final = Table("activation_channels", "activation_channel", (
    _named("activation_channel", "the layer and the channel"),
    Column("z_channel_layer", "text", "the layer whose activation the channel is of"),
    Column("z_channel_side", "text", "what z is of the layer: its output, or the input of its kernel", defines=True),
    Column("z_channel", "count", "channel of z, from 0", NONE),
    Column("z_channel_trace", "number", "sum of the diagonal over the channel's entries", BY_Z_TWICE, role="property",
           error="z_channel_stderr", unknown=True),
    Column("z_channel_stderr", "number", "its standard error; 0 where exact", BY_Z_TWICE, unknown=True),
))
# fmt: on

STUDY: Final = Study(
    "activations",
    "how the loss depends on activations, and on rounding them",
    (ACTIVATIONS, MISSING, QUANTIZED, RANKS, CHANNELS),
)
