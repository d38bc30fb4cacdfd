"""All studies, by their commands' names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from curvcli.analysis.options.activations import ActivationsOptions
from curvcli.analysis.options.coupling import CouplingOptions
from curvcli.analysis.options.evidence import EvidenceOptions
from curvcli.analysis.options.record import Options
from curvcli.analysis.options.sensitivity import SensitivityOptions
from curvcli.analysis.options.sharpness import SharpnessOptions
from curvcli.analysis.options.slice import SliceOptions
from curvcli.analysis.quantities.base import RunPlan
from curvcli.analysis.studies.activations import ActivationsStudy
from curvcli.analysis.studies.base import Study
from curvcli.analysis.studies.coupling import CouplingStudy
from curvcli.analysis.studies.evidence import EvidenceStudy
from curvcli.analysis.studies.sensitivity import SensitivityStudy
from curvcli.analysis.studies.sharpness import SharpnessStudy
from curvcli.analysis.studies.slice import SliceStudy


@dataclass(frozen=True)
class Entry:
    """A study.

    Attributes:
        options: the class of its options.
        plan: plans it for a run by such options.
    """

    options: type[Options]
    plan: Callable[[RunPlan, Any], Study]


STUDIES: Final[dict[str, Entry]] = {
    "sharpness": Entry(SharpnessOptions, SharpnessStudy),
    "slice": Entry(SliceOptions, SliceStudy),
    "coupling": Entry(CouplingOptions, CouplingStudy),
    "sensitivity": Entry(SensitivityOptions, SensitivityStudy),
    "activations": Entry(ActivationsOptions, ActivationsStudy),
    "evidence": Entry(EvidenceOptions, EvidenceStudy),
}
