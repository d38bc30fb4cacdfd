"""What is recorded of a block's evidence: its row, the rows of given precisions, and its curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan, sqrt
from typing import Final

import numpy as np

from curvcli.analysis.quantities.base import worst
from curvcli.analysis.studies.evidence_blocks import Step
from curvcli.analysis.targets import Target
from curvcli.curvature.evidence import Ending, Laplace, Precisions, Terms
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyArray, StudyRow
from curvcli.report.studies.evidence import CURVE, EVIDENCE, NAT, PRECISION
from curvcli.report.studies.interface import study_row
from curvcli.report.units import NONE
from curvcli.wording import shell_option

# Points of the curves that are drawn, and how far they go to both sides, as a factor.
_POINTS: Final = 97
_SPAN: Final = 1e3
# An evidence that the Lanczos steps leave open by less than this, or by less than its standard error, has converged.
_OPEN: Final = 0.01
# What rounding moves eigenvalues by spoils the evidence from this share of the prior's precision on.
_SPOILT: Final = 0.1
# A decrement that the Lanczos steps leave open by more than this share is told with both bounds.
_VAGUE: Final = 0.05
_ENDINGS: Final[dict[Ending, str]] = {
    "zero": "the evidence grows as α goes to 0: the curvature by these parameters is zero",
    "infinite": "the evidence grows as α goes to infinity: the parameters are all zero",
    "perfect fit": "the residuals are all zero: the evidence grows without end as σ goes to 0",
    "rounding": "the best α is lost in the rounding of eigenvalues",
}


@dataclass(frozen=True, eq=False)
class BlockEvidence:
    """What is known of one block.

    Attributes:
        target: the block.
        method: how its eigenvalues were computed.
        reason: why so.
        matrix: whose they are.
        laplace: its evidence as a function of the precisions.
        precisions: that were given or searched.
        terms: the evidence at them.
        ending: of the search.
        rounding: by how much rounding may move an eigenvalue of the misfit's curvature, or the square of what it may
            move the singular values of its columns by; NaN where unknown.
        negative: how many eigenvalues are below zero by more than that; 0 for none.
        noise: whether β is a noise's precision.
        step: the Newton step; None where there is none.
    """

    target: Target
    method: str
    reason: str
    matrix: str
    laplace: Laplace
    precisions: Precisions
    terms: Terms
    ending: Ending
    rounding: float
    negative: float
    noise: bool
    step: Step | None

    @property
    def _rounding_share(self) -> float:
        """How far rounding may move an eigenvalue of the size of α, relative to it."""
        moved = self.terms.beta * self.rounding / self.terms.alpha if self.terms.alpha > 0 else 0.0
        return sqrt(moved) if self.method == "gram" else moved

    @property
    def rounding_bound(self) -> float:
        """How far that may move the evidence."""
        spectrum, share = self.laplace.spectrum, self._rounding_share
        if self.method != "gram":
            moved = spectrum.nodes.shape[1] if spectrum.exact else self.target.block.size
            return max(moved - self.terms.effective.value, 0.0) * share / 2
        if not self.terms.alpha > 0:
            return 0.0
        # It moves all singular values alike: s²/α by 2 share s/√α and by its square.
        with np.errstate(all="ignore"):
            roots = np.sqrt(self.terms.beta * spectrum.nodes) / sqrt(self.terms.alpha)
            return float(((2 * share * roots + share**2) / (1 + roots**2)).sum()) / 2

    @property
    def _lost(self) -> bool:
        """Whether rounding has hidden the evidence."""
        if self.ending == "rounding" or self._rounding_share > _SPOILT:
            return True
        none = isnan(self.terms.evidence) and isfinite(self.laplace.misfit)
        return none and self.laplace.spectrum.finite and not self.negative and not self.ending

    @property
    def status(self) -> Status:
        """How it ended."""
        if not isfinite(self.terms.evidence):
            return "imprecise" if self._lost else "nonfinite"
        open_by = self.terms.volume.half_width > max(self.terms.volume.stderr, _OPEN)
        return worst("imprecise" if self._lost else "done", "not_converged" if open_by else "done")

    @property
    def exact(self) -> bool:
        """Whether the evidence is no estimate."""
        return self.laplace.spectrum.exact and self.status == "done"

    def why(self) -> Iterator[str]:
        """What there is to know, part by part."""
        spectrum, terms = self.laplace.spectrum, self.terms
        yield self.reason
        if not spectrum.finite:
            yield "a product is no number"
        elif self.negative and isnan(terms.evidence):
            yield (
                f"eigenvalues go down to {spectrum.least:.4g}: there is no normal approximation for α up to "
                f"{-spectrum.least:.4g}, and the evidence grows without end towards it, so that no α is best; "
                f"{shell_option('matrix', 'gauss_newton')} has none below zero"
            )
        elif self.ending in _ENDINGS:
            yield _ENDINGS[self.ending]
        elif isnan(terms.evidence):
            yield f"α is no larger than what rounding puts eigenvalues below zero by, {-spectrum.least:.2g}"
        if self.status == "not_converged":
            yield (
                f"the Lanczos steps leave it open by {terms.volume.half_width:.2g}: a larger "
                f"{shell_option('steps')} helps"
            )
        if self._rounding_share > _SPOILT:
            yield (
                f"rounding moves eigenvalues of the size of α by up to {self._rounding_share:.2g} α: use "
                f"{shell_option('dtype', 'float64')}"
            )
        if not spectrum.exact and not spectrum.bounds:
            yield "the curvature may have eigenvalues below those that were seen"
        if self.step is not None and self.step.between is not None:
            low, high = self.step.between
            if high - low > _VAGUE * high:
                yield f"it is between {low:.3g} and {high:.3g} posterior standard deviations off the maximum"


def evidence_row(block: BlockEvidence) -> StudyRow:
    """The row of a block."""
    terms, step, spectrum = block.terms, block.step, block.laplace.spectrum
    sigma = terms.beta**-0.5 if block.noise and terms.beta > 0 else nan
    estimated = not spectrum.exact
    decrement = step.decrement if step is not None else nan
    return study_row(
        EVIDENCE,
        block.target.name,
        entries=block.target.block.size,
        prior_precision=terms.alpha,
        prior_stderr=terms.alpha_stderr,
        noise=sigma,
        noise_stderr=sigma * terms.beta_stderr / terms.beta / 2 if block.noise and terms.beta > 0 else nan,
        log_evidence=terms.evidence,
        evidence_stderr=terms.volume.error,
        evidence_truncation=terms.volume.half_width if estimated else nan,
        evidence_rounding=block.rounding_bound,
        log_likelihood=terms.log_likelihood,
        log_occam=terms.penalty + terms.volume.value,
        prior_penalty=terms.penalty,
        volume_ratio=terms.volume.value,
        effective_parameters=terms.effective.value,
        effective_stderr=terms.effective.error,
        fixed_point=terms.imbalance,
        parameters_norm=sqrt(block.laplace.square),
        posterior_gradient=step.slope if step is not None else nan,
        newton_decrement=decrement,
        newton_gain=decrement**2 / 2,
        newton_length=step.length if step is not None else nan,
        negative_eigenvalues=block.negative or nan,
        lowest_eigenvalue=spectrum.least if block.negative else nan,
        evidence_probes=spectrum.rows if estimated else 0,
        degrees=spectrum.degrees,
        matrix=block.matrix,
        precisions=", ".join(_precisions_of(block)),
        method=block.method,
        exact=block.exact,
        status=block.status,
        reason="; ".join(block.why()),
    )


def curve_rows(block: BlockEvidence) -> Iterator[StudyRow]:
    """A row per precision, where several were given."""
    for alpha in block.precisions.alphas if len(block.precisions.alphas) > 1 else ():
        terms = _at(block, alpha)
        yield study_row(
            CURVE,
            f"{block.target.name}@{_spelled(alpha)}",
            curve_block=block.target.name,
            curve_definition=", ".join([block.matrix, *_precisions_of(block)[1:]]),
            curve_prior=alpha,
            curve_noise=terms.beta**-0.5 if block.noise and terms.beta > 0 else nan,
            curve_evidence=terms.evidence,
            curve_stderr=terms.volume.error,
            curve_truncation=nan if block.laplace.spectrum.exact else terms.volume.half_width,
            curve_likelihood=terms.log_likelihood,
            curve_occam=terms.penalty + terms.volume.value,
            curve_effective=terms.effective.value,
        )


def _precisions_of(block: BlockEvidence) -> list[str]:
    """Which α and σ were searched, and which were given."""
    chosen = block.precisions
    alpha = "that of weight decay" if chosen.ratio is not None else "searched"
    if chosen.alphas:
        alpha = ("the best of " if len(chosen.alphas) > 1 else "") + ", ".join(map(_spelled, chosen.alphas))
    sigma = "searched" if chosen.beta is None else f"{chosen.beta**-0.5:g}"
    return [f"α {alpha}", *([f"σ {sigma}"] if block.noise else [])]


def _spelled(alpha: float) -> str:
    """As short as tells it from all other numbers."""
    short = f"{alpha:g}"
    return short if float(short) == alpha else repr(alpha)


def _at(block: BlockEvidence, alpha: float) -> Terms:
    """The evidence at an α; NaN where there is none."""
    laplace = block.laplace
    if not laplace.spectrum.finite or not isfinite(laplace.misfit):
        return laplace.nowhere(alpha)
    if block.negative and block.precisions.beta is None:
        return laplace.nowhere(alpha)
    return block.precisions.at(laplace, alpha)[0]


def arrays_of(blocks: Sequence[BlockEvidence]) -> tuple[StudyArray, ...]:
    """The evidence and its parts along α, a row per block."""
    if not blocks:
        return ()
    alphas = np.array([_grid(block) for block in blocks])
    terms = [[_at(block, float(a)) for a in row] for block, row in zip(blocks, alphas, strict=True)]

    def array(name: str, values: object, long_name: str, unit: str) -> StudyArray:
        numbers = np.asarray(values, dtype=np.float64)
        return StudyArray(name=name, values=numbers, axes=("uncertain_block", "point"), long_name=long_name, unit=unit)

    return (
        array("prior_precision", alphas, "α", PRECISION),
        array("log_evidence", [[one.evidence for one in row] for row in terms], "log evidence at each α", NAT),
        array("evidence_stderr", [[one.volume.error for one in row] for row in terms], "its standard error", NAT),
        array("log_likelihood", [[one.log_likelihood for one in row] for row in terms], "log-likelihood", NAT),
        array(
            "log_occam",
            [[one.penalty + one.volume.value for one in row] for row in terms],
            "log evidence − log-likelihood",
            NAT,
        ),
        array("effective_parameters", [[one.effective.value for one in row] for row in terms], "γ at each α", NONE),
    )


def _grid(block: BlockEvidence) -> list[float]:
    """Precisions around those that were given or searched."""
    several = [a for a in (*block.precisions.alphas, block.terms.alpha) if isfinite(a) and a > 0] or [1.0]
    low, high = (max(min(a, 1e290), 1e-290) for a in (min(several) / _SPAN, max(several) * _SPAN))
    return [float(a) for a in np.geomspace(low, high, _POINTS)]
