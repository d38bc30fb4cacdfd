"""Work whose time does not depend on the processor: it waits, and returns so many bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curvcli.curvature.tasks import ParameterTask, Part, Sums


@dataclass(frozen=True)
class Throttled(ParameterTask):
    """Takes a vector, waits at each batch, and returns another (see ``BatchTask``)."""

    seconds: float = 0.0
    answer: int = 1
    vector: Any = field(default_factory=lambda: np.zeros(1))

    def __call__(self, batch: Any, part: Part) -> Sums:
        time.sleep(self.seconds)
        return {"sums": np.zeros(self.answer)}
