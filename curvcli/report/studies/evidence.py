"""What a report keeps of the Laplace evidence of blocks of parameters."""

from __future__ import annotations

from typing import Final

from curvcli.report.studies.interface import Study
from curvcli.report.table import Column, Heading, Table
from curvcli.report.units import NONE

NAT: Final = "nat"
PRECISION: Final = "1/parameter²"

# fmt: off
EVIDENCE: Final = Table("evidence", "uncertain_block", (
    Column("uncertain_block", "text", "the layer whose parameters are uncertain, or the whole model; all others are "
           "fixed", heading=Heading("uncertain", 10), inside=frozenset({"csv", "export"}), value=lambda row: row.name),
    Column("entries", "count", "number of its parameters' entries", NONE, heading=Heading("entries", 20, 6)),
    Column("prior_precision", "number", "α, the precision of the normal prior of these parameters", PRECISION,
           heading=Heading("α", 30), role="property", error="prior_stderr", unknown=True, infinite=True),
    Column("prior_stderr", "number", "standard error of a searched α; 0 where all eigenvalues are known", PRECISION,
           heading=Heading("±", 31, 5, ("prior_stderr",)), unknown=True),
    Column("noise", "number", "σ, the standard deviation of the noise that squared errors are of", "output",
           heading=Heading("σ", 35, 0, ("noise",)), role="property", error="noise_stderr", unknown=True),
    Column("noise_stderr", "number", "standard error of a searched σ; 0 where all eigenvalues are known", "output",
           heading=Heading("±", 36, 6, ("noise_stderr",)), unknown=True),
    Column("log_evidence", "number", "log p(D|α) ≈ log-likelihood − (α/2)‖θ‖² − ½ log det(I + H/α)", NAT,
           heading=Heading("log evidence", 40), role="property", error="evidence_stderr", unknown=True, infinite=True),
    Column("evidence_stderr", "number", "standard error of the log evidence over random vectors, widened for few, and "
           "what the Lanczos steps leave open; 0 where all eigenvalues are known", NAT,
           heading=Heading("±", 41, 0, ("evidence_stderr",)), role="quality", unknown=True),
    Column("evidence_truncation", "number", "how far the Lanczos steps that were not made could move the log evidence",
           NAT, heading=Heading("steps ±", 42, 4, ("evidence_truncation",)), role="quality", unknown=True),
    Column("evidence_rounding", "number", "how far rounding could move the log evidence, if it moved all eigenvalues "
           "alike", NAT, heading=Heading("rounding ≤", 43, 8), role="quality", unknown=True, infinite=True),
    Column("log_likelihood", "number", "log p(D|θ) of the network as it is", NAT,
           heading=Heading("log-likelihood", 50, 2), role="property", unknown=True),
    Column("log_occam", "number", "log evidence − log-likelihood: what the parameters cost", NAT,
           heading=Heading("Occam", 60, 2), role="property", error="evidence_stderr", unknown=True, infinite=True),
    Column("prior_penalty", "number", "−(α/2)‖θ‖², of the log Occam factor", NAT, role="property", unknown=True,
           infinite=True),
    Column("volume_ratio", "number", "−½ log det(I + H/α), of the log Occam factor", NAT, role="property",
           error="evidence_stderr", unknown=True, infinite=True),
    Column("effective_parameters", "number", "γ = Σ λ/(λ + α), the number of parameters that the data determine", NONE,
           heading=Heading("γ", 70), role="property", error="effective_stderr", unknown=True),
    Column("effective_stderr", "number", "standard error of γ; 0 where all eigenvalues are known", NONE,
           heading=Heading("±", 71, 5, ("effective_stderr",)), unknown=True),
    Column("fixed_point", "number", "by how much, relatively, the condition of a maximum is not met: α‖θ‖² = γ where α "
           "is searched, Σ r²/σ² = n − γ where σ is", NONE, heading=Heading("fixed point", 80, 7), role="quality",
           unknown=True),
    Column("parameters_norm", "number", "‖θ‖ of the block", "parameter", role="property"),
    Column("posterior_gradient", "number", "‖∇(−log-likelihood) + αθ‖ by these parameters; 0 at the posterior's "
           "maximum", "nat/parameter", heading=Heading("‖gradient‖", 90, 3), role="property", unknown=True),
    Column("newton_decrement", "number", "√(rᵀA⁻¹r) of that gradient r and A = H + αI: how many posterior standard "
           "deviations off the maximum of its quadratic model", NONE, heading=Heading("off maximum", 100, 1),
           role="property", unknown=True),
    Column("newton_gain", "number", "½ rᵀA⁻¹r: by how much the log evidence would be larger at that maximum", NAT,
           heading=Heading("gain", 110, 3), role="property", unknown=True),
    Column("newton_length", "number", "‖A⁻¹r‖: how far away that maximum is", "parameter", role="property",
           unknown=True),
    Column("negative_eigenvalues", "number", "eigenvalues of the curvature below zero; an estimate where the spectrum "
           "is one", NONE, heading=Heading("λ < 0", 120, 0, ("negative_eigenvalues",))),
    Column("lowest_eigenvalue", "number", "the lowest of them that was seen: there is no approximation for an α up to "
           "its magnitude", PRECISION, heading=Heading("lowest λ", 121, 0, ("negative_eigenvalues",)), unknown=True),
    Column("evidence_probes", "count", "random vectors that the estimates are of; 0 for none", NONE, blank=True),
    Column("degrees", "number", "degrees of freedom of the standard errors; infinite where there is none", NONE,
           unknown=True, infinite=True),
    Column("matrix", "text", "whose eigenvalues they are", heading=Heading("matrix", 130, 8), defines=True),
    Column("precisions", "text", "which α and σ were searched, and which were given", defines=True),
    Column("method", "text", "how they were computed", heading=Heading("method", 131, 5)),
    Column("exact", "flag", "whether the log evidence is exact up to rounding, as the normal approximation has it",
           NONE, heading=Heading("exact", 140, 6)),
    Column("status", "status", "how the computation ended", heading=Heading("status", 900)),
    Column("reason", "prose", "what there is to know of how it came about", heading=Heading("reason", 910, 1)),
), title="Laplace evidence, with all other parameters fixed")

CURVE: Final = Table("evidence_curve", "block_and_prior", (
    Column("block_and_prior", "text", "the block and α", inside=frozenset({"csv", "export"}),
           value=lambda row: row.name),
    Column("curve_block", "text", "the block whose parameters are uncertain", heading=Heading("uncertain", 10)),
    Column("curve_definition", "text", "the matrix, and whether σ was searched or given", defines=True),
    Column("curve_prior", "number", "α, as it was given", PRECISION, heading=Heading("α", 20)),
    Column("curve_noise", "number", "σ that goes with it", "output", heading=Heading("σ", 25, 0, ("curve_noise",)),
           unknown=True),
    Column("curve_evidence", "number", "log evidence at this α", NAT, heading=Heading("log evidence", 30),
           role="property", error="curve_stderr", unknown=True, infinite=True),
    Column("curve_stderr", "number", "its standard error; 0 where all eigenvalues are known", NAT,
           heading=Heading("±", 31, 0, ("curve_stderr",)), unknown=True),
    Column("curve_truncation", "number", "how far the Lanczos steps that were not made could move it", NAT,
           heading=Heading("steps ±", 32, 1, ("curve_truncation",)), unknown=True),
    Column("curve_likelihood", "number", "log-likelihood", NAT, heading=Heading("log-likelihood", 40, 2),
           unknown=True),
    Column("curve_occam", "number", "log evidence − log-likelihood", NAT, heading=Heading("Occam", 50, 2),
           unknown=True, infinite=True),
    Column("curve_effective", "number", "γ at this α", NONE, heading=Heading("γ", 60), unknown=True),
), title="at each given α", most=60)
# fmt: on

EVIDENCE_STUDY: Final = Study("evidence", "how probable the data are under the network and a prior", (EVIDENCE, CURVE))
