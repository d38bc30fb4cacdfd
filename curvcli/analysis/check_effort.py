"""How much of a slow model ``curvcli check`` looks at: by one timed pass, so that it ends within minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from curvcli.analysis.progress import duration
from curvcli.curvature.diagonal.planner import Plan
from curvcli.curvature.tasks import Data
from curvcli.models.base import Layer
from curvcli.wording import shell_option

# Passes per batch that a layer's exact diagonal may cost.
BUDGET: Final = 2000
# Seconds for the differences of all layers, and for the diagonals of all layers.
SECONDS: Final = 60.0
# Passes over the data that the differences of a layer take: a product, and gradients on both sides at a step or two.
_DIFFERENCES = 7
# A product takes two; made once more in float32.
_PRODUCT = 3
# A pass is timed up to so many times, or for so many seconds.
_TIMES, _TIMED = 5, 1.0
# Layers that are looked at however slow they are.
_LEAST = 3


@dataclass(frozen=True)
class Effort:
    """What is checked.

    Attributes:
        differences: the layers whose derivatives are held against finite differences.
        diagonals: the parameters whose diagonals are held against products.
        why_no_differences: of the other layers, as a person reads it.
        seconds: that each parameter's diagonal would take, by name.
    """

    differences: frozenset[str]
    diagonals: frozenset[str]
    why_no_differences: str
    seconds: Mapping[str, float]

    def why_no_diagonal(self, parameter: str, passes: int) -> str:
        """Why a parameter's diagonal is not checked."""
        takes = duration(self.seconds[parameter])
        return f"its diagonal takes about {takes}; {shell_option('budget', passes)} checks it however long that takes"


def seconds_per_pass(objective: Data, names: Sequence[str], clock: Callable[[], float] = time.perf_counter) -> float:
    """The shortest of a few backward passes over the data: other work on the machine may slow one."""
    elapsed: list[float] = []
    while len(elapsed) < 2 or (len(elapsed) < _TIMES and sum(elapsed) < _TIMED):
        spent = 0.0
        for batch in objective.batches(names):
            start = clock()
            batch.gradient(names)
            spent += clock() - start
        elapsed.append(spent)
    return min(elapsed)


def everything(layers: Sequence[Layer]) -> Effort:
    """Leave nothing out."""
    parameters = frozenset(p.name for layer in layers for p in layer.parameters)
    return Effort(frozenset(layer.name for layer in layers), parameters, "", {})


def within_reason(layers: Sequence[Layer], plans: Mapping[str, Plan], seconds: float) -> Effort:
    """Leave out what takes long: layers at even distances, and as many diagonals as there is time for.

    Args:
        layers: to be checked.
        plans: of their diagonals, by the layer's name.
        seconds: of a pass over the data.
    """
    each = _DIFFERENCES * seconds
    count = min(len(layers), max(_LEAST, int(SECONDS / each))) if each else len(layers)
    places = {round(i * (len(layers) - 1) / max(count - 1, 1)) for i in range(count)}
    why = f"differences for all {len(layers)} layers take about {duration(each * len(layers))}: {len(places)} are tried"
    costs = sorted(
        (_PRODUCT * seconds * work.passes_per_batch, work.parameters)
        for plan in plans.values()
        for work in plan.work
        if work.method != "coordinate"
    )
    diagonals: set[str] = set()
    spent = 0.0
    for cost, parameters in costs:
        spent += cost
        if spent <= SECONDS:
            diagonals.update(parameters)
    return Effort(
        frozenset(layers[place].name for place in places),
        frozenset(diagonals),
        f"{why}; {shell_option('layer')} chooses others",
        {name: cost for cost, parameters in costs for name in parameters},
    )
