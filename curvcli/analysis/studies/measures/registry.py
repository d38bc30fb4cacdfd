"""All measures, in the order of the report: a new one is a file and a line here."""

from __future__ import annotations

from typing import Final

from curvcli.analysis.studies.measures.base import Measure
from curvcli.analysis.studies.measures.dimension import EffectiveDimension
from curvcli.analysis.studies.measures.eigenvalues import LargestEigenvalue, Preconditioned
from curvcli.analysis.studies.measures.flatness import RelativeFlatness
from curvcli.analysis.studies.measures.gradient import Ascent, GradientCurvature
from curvcli.analysis.studies.measures.minibatches import BatchSharpness, NoiseScale
from curvcli.analysis.studies.measures.probes import EffectiveRank, OutsideGaussNewton

REGISTRY: Final[dict[str, type[Measure]]] = {
    one.name: one
    for one in (
        LargestEigenvalue,
        Preconditioned,
        GradientCurvature,
        Ascent,
        BatchSharpness,
        NoiseScale,
        RelativeFlatness,
        EffectiveRank,
        OutsideGaussNewton,
        EffectiveDimension,
    )
}
