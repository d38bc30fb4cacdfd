"""Reports with damaged bytes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from .interface import Bases, Case
from .mutations import mutated
from .report_commands import command


class ReportBytes:
    """A report, damaged anywhere."""

    name = "report bytes"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        name = rng.choice(bases.reports)
        data, story = mutated(rng, (bases.folder / name).read_bytes(), most=2)
        (folder / "report.h5").write_bytes(data)
        shutil.copy(bases.folder / name, folder / "other.h5")
        words, output = command(rng)
        return Case(words, {}, output, f"{name}: {story}")
