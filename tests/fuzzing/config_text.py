"""Config files, of ``run`` and of ``--config``."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

from .interface import Bases, Case
from .npy_data import other_kind
from .toml_text import strange

RUN = """model = "model.pt"
output = "out.h5"
layer = ["one", "two"]
batch_size = 16
seed = 3
quiet = true
[diag]
method = "auto"
probes = 64
[trace]
probes = 8
[eigs]
k = 2
tolerance = 1e-3
"""
COMMAND = """[eigs]
k = 2
tolerance = 1e-3
which = "largest"
vectors = true
layer = "one"
memory-limit = "4GiB"
seed = 1
quiet = true
output = "out.h5"
"""


class ConfigText:
    """A config that something is wrong with."""

    name = "config"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        path = folder / "config.toml"
        if rng.random() < 0.5:
            words, text = ["run", "config.toml"], RUN
        else:
            words, text = ["eigs", "model.pt", "--config", "config.toml", "-o", "out.h5"], COMMAND
        if rng.random() < 0.1:
            return Case(words, {}, "out.h5", other_kind(rng, path))
        changed, story = strange(rng, text)
        path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
        return Case(words, {}, "out.h5", story, _outputs(path.read_bytes()))


def _outputs(data: bytes) -> tuple[str, ...]:
    """Where a config asks for the report and the log."""
    try:
        config = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        return ()
    named = tuple(value for key in ("output", "log-file", "log_file") if isinstance(value := config.get(key), str))
    return named if "output" in config else (*named, "model.pt.run.h5")  # where a run's goes that names none
