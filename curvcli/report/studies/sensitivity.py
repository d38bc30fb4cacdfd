"""What a report keeps of a network's sensitivity to quantised and to removed weights."""

from __future__ import annotations

from typing import Final

from curvcli.report.studies.interface import Study
from curvcli.report.table import Column, Heading, Place, Table
from curvcli.report.units import LOSS, NONE

WEIGHTS: Final = "parameter²"
# What stands for the layer of rows about all of them together.
ALL_LAYERS: Final = "(all layers)"


def _named(column: str, about: str, heading: Heading | None = None) -> Column:
    """The column of the rows' names, which JSON and the report itself have anyway."""
    inside: frozenset[Place] = frozenset({"csv", "export"})
    return Column(column, "text", about, heading=heading, inside=inside, value=lambda row: row.name)


# fmt: off
QUANTIZATION: Final = Table("quantization", "quantized", (
    _named("quantized", "the layer and the bits"),
    Column("quantized_layer", "text", "the layer whose kernels are quantised", heading=Heading("layer", 10)),
    Column("kernels", "words", "the parameters that are quantised"),
    Column("quantizer", "text", "the scheme, and which weights share a scale", defines=True),
    Column("bits", "count", "bits per weight", NONE, heading=Heading("bits", 20)),
    Column("weights", "count", "number of weights that are quantised", NONE, heading=Heading("weights", 30, 5)),
    Column("rounding_error", "number", "‖Q(W) − W‖²", WEIGHTS, heading=Heading("‖Q(W)−W‖²", 40, 2), role="property",
           worse="larger"),
    Column("rounding_slope", "number", "gᵀδ, δ = Q(W) − W", LOSS, heading=Heading("gᵀδ", 50, 3), role="property",
           unknown=True),
    Column("rounding_curvature", "number", "½ Σ H_jj δ_j²", LOSS, heading=Heading("½ΣHδ²", 60, 3),
           role="property", error="predicted_stderr", unknown=True),
    Column("predicted_rise", "number", "gᵀδ + ½ Σ H_jj δ_j², the predicted rise of the loss", LOSS,
           heading=Heading("predicted", 70), role="property", worse="larger", error="predicted_stderr", unknown=True),
    Column("predicted_stderr", "number", "standard error of the predicted rise at most, where H_jj is an estimate: as "
           "if the errors of all entries went together", LOSS, heading=Heading("± at most", 75, 1,
           ("predicted_stderr",)), role="quality", unknown=True),
    Column("quadratic_rise", "number", "gᵀδ + ½ δᵀHδ, with what weights of the layer do to each other", LOSS,
           heading=Heading("quadratic", 80, 1), role="property", worse="larger", unknown=True),
    Column("hawq_v2", "number", "(tr H / n) ‖Q(W) − W‖², the metric of HAWQ-V2", LOSS,
           heading=Heading("HAWQ-V2", 90, 1), role="property", unknown=True),
    Column("measured_rise", "number", "rise of the loss with this layer's kernels quantised, measured", LOSS,
           heading=Heading("measured", 100), role="property", worse="larger", unknown=True, infinite=True),
), title="quantised one layer at a time: predicted and measured rise of the loss")

CHANNELS: Final = Table("quantization_channels", "quantized_channel", (
    _named("quantized_channel", "the parameter, the channel and the bits"),
    Column("channel_parameter", "text", "the parameter that the channel is of"),
    Column("channel", "count", "output channel, from 0", NONE),
    Column("channel_bits", "count", "bits per weight", NONE),
    Column("channel_quantizer", "text", "the scheme, and which weights share a scale", defines=True),
    Column("channel_error", "number", "‖Q(W) − W‖² of the channel", WEIGHTS, role="property"),
    Column("channel_rise", "number", "gᵀδ + ½ Σ H_jj δ_j² of the channel", LOSS, role="property", unknown=True),
))

PRUNING: Final = Table("pruning", "pruned", (
    _named("pruned", "the layer and the sparsity"),
    Column("pruned_layer", "text", "the layer whose weights are removed", heading=Heading("layer", 10)),
    Column("sparsity", "number", "share of its weights that are removed", NONE, heading=Heading("sparsity", 20)),
    Column("removed", "count", "number of weights that are removed", NONE, heading=Heading("removed", 30, 5)),
    Column("pruned_saliency", "number", "½ Σ H_jj w_j² of those removed, the least of the layer", LOSS,
           heading=Heading("½ΣHw²", 40, 2), role="property", unknown=True),
    Column("pruned_predicted", "number", "−gᵀw + ½ Σ H_jj w_j² of those removed, the predicted rise of the loss", LOSS,
           heading=Heading("predicted", 50), role="property", worse="larger", error="pruned_stderr", unknown=True),
    Column("pruned_stderr", "number", "standard error of the predicted rise at most, where H_jj is an estimate", LOSS,
           heading=Heading("± at most", 55, 1, ("pruned_stderr",)), role="quality", unknown=True),
    Column("pruned_measured", "number", "rise of the loss without them, measured", LOSS,
           heading=Heading("measured", 60), role="property", worse="larger", unknown=True, infinite=True),
    Column("magnitude_measured", "number", "rise of the loss without as many of the smallest weights, measured", LOSS,
           heading=Heading("by |w|", 70, 1), role="property", worse="larger", unknown=True, infinite=True),
    Column("obs_predicted", "number", "rise predicted by Optimal Brain Surgeon, all other weights of the layer moved",
           LOSS, heading=Heading("OBS predicted", 80, 1, ("obs_predicted",)), role="property", worse="larger",
           unknown=True),
    Column("obs_measured", "number", "rise of the loss with these weights removed and moved, measured", LOSS,
           heading=Heading("OBS measured", 90, 1, ("obs_predicted",)), role="property", worse="larger", unknown=True,
           infinite=True),
), title="weights of least ½H_jj w_j² removed, one layer at a time: predicted and measured rise of the loss")

SALIENCY: Final = Table("saliency", "salient_layer", (
    _named("salient_layer", "the layer", Heading("layer", 10)),
    Column("layer_weights", "count", "number of weights", NONE, heading=Heading("weights", 20)),
    Column("saliency", "number", "½ Σ H_jj w_j² of all weights of the layer", LOSS, heading=Heading("½ΣHw²", 30),
           role="property", unknown=True),
    Column("negative_saliencies", "share", "share of weights of which H_jj is negative", NONE,
           heading=Heading("H_jj < 0", 40), role="property", unknown=True),
    Column("diagonal_method", "text", "how the diagonal of the Hessian was computed",
           heading=Heading("diagonal", 50, 3)),
    Column("surgeon", "prose", "whether the layer's Hessian was inverted, or why not", heading=Heading("OBS", 60, 2,
           ("surgeon",))),
    Column("surgeon_eigenvalue", "number", "smallest eigenvalue of the layer's Hessian", "loss/parameter²",
           heading=Heading("λ smallest", 70, 2, ("surgeon_eigenvalue",)), role="property", unknown=True),
), title="saliency of weights")

SALIENCY_CHANNELS: Final = Table("saliency_channels", "salient_channel", (
    _named("salient_channel", "the parameter and the channel"),
    Column("salient_parameter", "text", "the parameter that the channel is of"),
    Column("salient_index", "count", "output channel, from 0", NONE),
    Column("channel_saliency", "number", "½ Σ H_jj w_j² of the channel's weights", LOSS, role="property", unknown=True),
    Column("channel_slope", "number", "−gᵀw of the channel's weights", LOSS, role="property", unknown=True),
))

ALLOCATION: Final = Table("allocation", "allotted_layer", (
    _named("allotted_layer", "the layer", Heading("layer", 10)),
    Column("allotted_weights", "count", "number of weights", NONE, heading=Heading("weights", 20)),
    Column("allotted_bits", "count", "bits per weight that the layer gets", NONE, heading=Heading("bits", 30),
           role="property"),
    Column("allotted_quadratic", "number", "gᵀδ + ½ δᵀHδ with these", LOSS, heading=Heading("quadratic", 40),
           role="property", unknown=True),
    Column("allotted_measured", "number", "rise of the loss with this layer quantised to these, measured", LOSS,
           heading=Heading("measured", 50), role="property", unknown=True, infinite=True),
), title="bits allotted to each layer")

BUDGETS: Final = Table("bit_budgets", "bit_budget", (
    _named("bit_budget", "how bits are spread", Heading("bits", 10)),
    Column("mean_bits", "number", "mean bits per weight", NONE, heading=Heading("mean bits", 20)),
    Column("budget_quantizer", "text", "the scheme, and which weights share a scale", defines=True),
    Column("bytes", "count", "size of the quantised weights, without their scales", "B", heading=Heading("bytes", 30)),
    Column("joint_predicted", "number", "sum of the layers' predicted rises", LOSS, heading=Heading("predicted", 40),
           role="property", unknown=True),
    Column("joint_quadratic", "number", "sum of the layers' gᵀδ + ½ δᵀHδ", LOSS, heading=Heading("quadratic", 45),
           role="property", unknown=True),
    Column("joint_measured", "number", "rise of the loss with all layers quantised, measured", LOSS,
           heading=Heading("measured", 50), role="property", worse="larger", unknown=True, infinite=True),
), title="all layers quantised")

RANKS: Final = Table("sensitivity_ranks", "ranked", (
    _named("ranked", "the bits", Heading("bits", 10)),
    Column("ranked_layers", "count", "number of layers", NONE, heading=Heading("layers", 20)),
    Column("rank_predicted", "number", "Spearman's correlation over layers of the predicted with the measured rise",
           NONE, heading=Heading("predicted", 30), role="quality", unknown=True),
    Column("rank_quadratic", "number", "likewise of gᵀδ + ½ δᵀHδ", NONE, heading=Heading("quadratic", 40),
           role="quality", unknown=True),
    Column("rank_hawq_v2", "number", "likewise of HAWQ-V2's metric", NONE, heading=Heading("HAWQ-V2", 50),
           role="quality", unknown=True),
    Column("rank_error", "number", "likewise of ‖δ‖², the curvature left out", NONE, heading=Heading("‖δ‖²", 60),
           role="quality", unknown=True),
), title="quantised layers: rank correlation over them with the measured rise")

PRUNING_RANKS: Final = Table("pruning_ranks", "ranked_sparsity", (
    _named("ranked_sparsity", "the sparsity", Heading("sparsity", 10)),
    Column("pruned_layers", "count", "number of layers", NONE, heading=Heading("layers", 20)),
    Column("rank_pruned", "number", "Spearman's correlation over layers of the predicted with the measured rise",
           NONE, heading=Heading("predicted", 30), role="quality", unknown=True),
), title="pruned layers: rank correlation over them with the measured rise")
# fmt: on

SENSITIVITY: Final = Study(
    "sensitivity",
    "what quantised and removed weights do to the loss",
    (QUANTIZATION, RANKS, BUDGETS, ALLOCATION, PRUNING, PRUNING_RANKS, SALIENCY, CHANNELS, SALIENCY_CHANNELS),
)
