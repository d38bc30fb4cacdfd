"""Dataset specs."""

from __future__ import annotations

import random
from pathlib import Path

from .interface import Bases, Case
from .npy_data import other_kind
from .toml_text import strange


class SpecText:
    """The spec beside a model, or one that is named."""

    name = "spec"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        path = folder / "model.pt.toml"
        if rng.random() < 0.15:
            named = folder / "named.toml"
            story = other_kind(rng, named)
            return Case(["diag", "model.pt", "--data", "named.toml", "-o", "out.h5"], {}, "out.h5", story)
        text, story = strange(rng, path.read_text())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        command = rng.choice(["diag", "diag", "check", "inputs", "trace"])
        return Case([command, "model.pt", "-q", "-o", "out.h5"], {}, "out.h5", story)
