"""Records of studies with known numbers, as their figures are drawn from."""

from __future__ import annotations

import numpy as np
from drawn_activations import activations_of
from drawn_evidence import evidence_of
from drawn_sensitivity import sensitivity_of
from drawn_sharpness import sharpness_of

from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.coupling import LAYERS, PAIRS, pair_name
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.slice import DIRECTIONS


def slice_of(names: tuple[str, ...] = ("top",), scale: float = 1.0, lost: int = 0) -> StudyRecord:
    """The loss 1 + Σ t² · scale, of which the quadratic model has half; its last points are no numbers."""
    steps = np.linspace(-0.5, 1.5, 9) if names[0] == "towards" else np.linspace(-1, 1, 9)
    grid = np.meshgrid(*[steps] * len(names), indexing="ij")
    bowl = sum(axis**2 for axis in grid) * scale
    loss = 1 + bowl
    loss.ravel()[loss.size - lost :] = np.nan
    axes = tuple(f"step_{i + 1}" for i in range(len(names)))
    arrays = [
        StudyArray(name=f"coordinate_{i + 1}", values=steps, axes=(axis,), long_name="coordinate", unit="1")
        for i, axis in enumerate(axes)
    ]
    for name, values in (("loss", loss), ("quadratic", 1 + bowl / 2)):
        arrays.append(StudyArray(name=name, values=values, axes=axes, long_name=name, unit="loss"))
    rows = [
        study_row(
            DIRECTIONS, name, about="a direction", slope=0.25, curvature=scale,
            barrier=0.5 if name == "towards" else np.nan, barrier_at=0.5,
        )
        for name in names
    ]  # fmt: skip
    return StudyRecord(name="slice", tables={DIRECTIONS.group: tuple(rows)}, arrays=tuple(arrays))


def coupling_of(values: np.ndarray, errors: np.ndarray) -> StudyRecord:
    """Layers with these couplings."""
    names = [f"scope/layer{i}" for i in range(len(values))]
    arrays = [
        StudyArray(name=name, values=array, axes=("layer", "other_layer"), long_name=name, unit="1")
        for name, array in (("coupling", values), ("coupling_stderr", errors))
    ]
    rows = tuple(
        study_row(LAYERS, name, outside=0.25 * i, outside_stderr=0.01, partner=names[0]) for i, name in enumerate(names)
    )
    pairs = tuple(
        study_row(PAIRS, pair_name(names[i], names[j]), coupling=float(values[i, j]))
        for i in range(len(names))
        for j in range(i + 1, len(names))
    )
    return StudyRecord(name="coupling", tables={LAYERS.group: rows, PAIRS.group: pairs}, arrays=tuple(arrays))


THREE = np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 1.5], [0.25, 1.5, 1.0]])


def every_study() -> tuple[StudyRecord, ...]:
    """One of each that is drawn."""
    drawn = (slice_of(), coupling_of(THREE, np.full((3, 3), 0.01)), sensitivity_of(), sharpness_of())
    return *drawn, activations_of(), evidence_of()
