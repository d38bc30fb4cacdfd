"""The record of a study of sharpness with known numbers, as its figure is drawn from."""

from __future__ import annotations

import numpy as np

from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.sharpness import FLATNESS, MEASURES

ALONG, LARGEST = np.array([1.0, 2.0, 4.0, np.nan, 3.0]), np.array([5.0, 9.0, 6.0, 7.0, 8.0])


def sharpness_of(*, batches: bool = True, kernels: int = 2, by: float = 1.0) -> StudyRecord:
    """Five mini-batches, one of which has no curvature, and some kernels."""
    arrays = tuple(
        StudyArray(name=name, values=by * values, axes=("minibatch",), long_name=name, unit="1")
        for name, values in (("minibatch_curvature", ALONG), ("minibatch_eigenvalue", LARGEST))
    )
    rows = tuple(
        study_row(
            FLATNESS, f"net/conv{i}", relative_flatness=by * (i + 1.0), relative_flatness_stderr=0.25 * i, status="done"
        )
        for i in range(kernels)
    )
    measures = (study_row(MEASURES, "largest_eigenvalue", value=6.5 * by, status="done"),)
    tables = {MEASURES.group: measures} | ({FLATNESS.group: rows} if kernels else {})
    return StudyRecord(name="sharpness", tables=tables, arrays=arrays if batches else ())
