"""Reports that are sound HDF5 and hold what no report does."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from .hostile_hdf5 import HOSTILITIES
from .interface import Bases, Case
from .report_commands import command


class ReportObjects:
    """A report in which some objects were replaced through HDF5's own library."""

    name = "report objects"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        name = rng.choice(bases.reports)
        for copy in ("report.h5", "other.h5"):
            shutil.copy(bases.folder / name, folder / copy)
        told = []
        for _ in range(rng.choice([1, 1, 2])):
            hostility = rng.choice(HOSTILITIES)
            told.append(f"{hostility.__name__} {hostility(rng, folder / 'report.h5')}")
        words, output = command(rng)
        return Case(words, {}, output, f"{name}: {'; '.join(told)}")
