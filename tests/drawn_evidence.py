"""A record of evidences with known numbers, as its figure is drawn from."""

from __future__ import annotations

import numpy as np

from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.evidence import CURVE, EVIDENCE
from curvcli.report.studies.interface import study_row


def evidence_of(blocks: int = 2, stderr: float = 1.0, given: bool = False, lost: bool = False) -> StudyRecord:
    """Parabolas −100 − (log10 α − i)² with likelihoods of −10; of the first block none where it is lost."""
    names = [f"net/layer{i}" for i in range(blocks)]
    alphas = np.array([np.logspace(i - 3, i + 3, 25) for i in range(blocks)])
    evidence = -100 - (np.log10(alphas) - np.arange(blocks)[:, None]) ** 2
    if lost:
        evidence[0] = np.nan
    arrays = {
        "prior_precision": alphas,
        "log_evidence": evidence,
        "evidence_stderr": np.full_like(alphas, stderr),
        "log_likelihood": np.full_like(alphas, -10.0),
        "log_occam": evidence + 10,
    }
    rows = tuple(
        study_row(
            EVIDENCE,
            name,
            entries=20,
            prior_precision=10.0**i,
            log_evidence=np.nan if lost and not i else -100.0,
            effective_parameters=4.0,
            evidence_stderr=stderr,
            status="done",
        )
        for i, name in enumerate(names)
    )
    curve = tuple(
        study_row(CURVE, f"{name}@{alpha:g}", curve_block=name, curve_prior=alpha, curve_evidence=-101.0)
        for name in names
        for alpha in (0.1, 10.0)
    )
    return StudyRecord(
        name="evidence",
        tables={EVIDENCE.group: rows, CURVE.group: curve if given else ()},
        arrays=tuple(
            StudyArray(name=name, values=values, axes=("uncertain_block", "point"), long_name=name, unit="nat")
            for name, values in arrays.items()
        ),
    )
