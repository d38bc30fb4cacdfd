"""How curved a trained network's loss is, from the saved model alone.

The functions for notebooks and scripts, `init`, `open_model`, `diagonal`, `trace`, `eigenvalues`, `density`, `hessian`,
`inputs`, `split`, `sharpness`, `slice`, `coupling`, `sensitivity`, `activations`, `evidence`, `run`, `check`,
`read_report`, `compare`, `course`, `check_rules` and `plot`, are imported when they are first used: ``import curvcli``
itself imports nothing, least of all a framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curvcli.version import __version__ as __version__

if TYPE_CHECKING:
    from curvcli.api.activations import activations
    from curvcli.api.check import check
    from curvcli.api.compare import compare
    from curvcli.api.compute import diagonal, trace
    from curvcli.api.coupling import coupling
    from curvcli.api.course import Course, course
    from curvcli.api.evidence import evidence
    from curvcli.api.init import GuessedSpec, init
    from curvcli.api.inputs import inputs
    from curvcli.api.model import Model
    from curvcli.api.open_model import open_model
    from curvcli.api.plot import Plots, plot
    from curvcli.api.report import Report, read_report
    from curvcli.api.results import Results
    from curvcli.api.rules import check_rules
    from curvcli.api.run import run
    from curvcli.api.sensitivity import sensitivity
    from curvcli.api.sharpness import sharpness
    from curvcli.api.slice import slice
    from curvcli.api.spectra import density, eigenvalues, hessian
    from curvcli.api.split import split
    from curvcli.api.study import Study
    from curvcli.api.voice import CurvcliWarning
    from curvcli.errors import (
        CurvcliError,
        DataError,
        ModelError,
        NotFiniteError,
        ReportError,
        SpecError,
        UsageError,
    )


__all__ = [
    "Course",
    "CurvcliError",
    "CurvcliWarning",
    "DataError",
    "GuessedSpec",
    "Model",
    "ModelError",
    "NotFiniteError",
    "Plots",
    "Report",
    "ReportError",
    "Results",
    "SpecError",
    "Study",
    "UsageError",
    "activations",
    "check",
    "check_rules",
    "compare",
    "coupling",
    "course",
    "density",
    "diagonal",
    "eigenvalues",
    "evidence",
    "hessian",
    "init",
    "inputs",
    "open_model",
    "plot",
    "read_report",
    "run",
    "sensitivity",
    "sharpness",
    "slice",
    "split",
    "trace",
]

_MODULES = {
    "curvcli.api.activations": ("activations",),
    "curvcli.api.check": ("check",),
    "curvcli.api.compare": ("compare",),
    "curvcli.api.compute": ("diagonal", "trace"),
    "curvcli.api.spectra": ("density", "eigenvalues", "hessian"),
    "curvcli.api.coupling": ("coupling",),
    "curvcli.api.course": ("Course", "course"),
    "curvcli.api.evidence": ("evidence",),
    "curvcli.api.init": ("GuessedSpec", "init"),
    "curvcli.api.inputs": ("inputs",),
    "curvcli.api.model": ("Model",),
    "curvcli.api.open_model": ("open_model",),
    "curvcli.api.plot": ("Plots", "plot"),
    "curvcli.api.report": ("Report", "read_report"),
    "curvcli.api.results": ("Results",),
    "curvcli.api.rules": ("check_rules",),
    "curvcli.api.run": ("run",),
    "curvcli.api.sensitivity": ("sensitivity",),
    "curvcli.api.sharpness": ("sharpness",),
    "curvcli.api.slice": ("slice",),
    "curvcli.api.split": ("split",),
    "curvcli.api.study": ("Study",),
    "curvcli.api.voice": ("CurvcliWarning",),
    "curvcli.errors": (
        "CurvcliError",
        "DataError",
        "ModelError",
        "NotFiniteError",
        "ReportError",
        "SpecError",
        "UsageError",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
