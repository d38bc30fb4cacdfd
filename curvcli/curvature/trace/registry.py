"""The trace estimators there are: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from curvcli.curvature.operator import Block
from curvcli.curvature.together import Together
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, TraceEstimator
from curvcli.curvature.trace.hutchinson import Hutchinson
from curvcli.curvature.trace.hutchpp import HutchPlusPlus
from curvcli.curvature.trace.unit_vectors import UnitVectors
from curvcli.curvature.trace.xnystrace import XNysTrace
from curvcli.curvature.trace.xtrace import XTrace


@dataclass(frozen=True)
class Entry:
    """One estimator.

    Attributes:
        make: from one block and a rule; None for Hutchinson's, which takes many blocks at once.
        held: vectors of the block that it holds at once, per product allowed.
        widened: float64 numbers per entry of the block that it needs for a while, however many products.
        semidefinite: whether it is for matrices without negative eigenvalues alone.
    """

    make: Callable[[Block, Rule], TraceEstimator] | None
    held: float
    widened: int = 0
    semidefinite: bool = False


REGISTRY: Mapping[str, Entry] = {
    "xtrace": Entry(XTrace, 1.5, widened=33),
    "hutch++": Entry(HutchPlusPlus, 3.0),
    "hutchinson": Entry(None, 0.0),
    "xnystrace": Entry(XNysTrace, 2.0, semidefinite=True),
}
ESTIMATORS = tuple(REGISTRY)
# Up to so many entries nothing is gained by stopping at a tolerance.
_SMALL = 128


def estimators(
    blocks: Sequence[Block], whole: Block | None, method: str, rule: Rule, memory: int, *, itemsize: int = 8
) -> list[TraceEstimator]:
    """One estimator per block, or one for all of them.

    Args:
        blocks: whose traces are wanted.
        whole: a block of all their parameters, where more than one is wanted by Hutchinson's estimator.
        method: requested.
        rule: how far to go.
        memory: bytes for the vectors of all of them; a block whose basis does not fit in what the blocks before it
            leave goes to Hutchinson's estimator.
        itemsize: bytes of an entry of a vector.

    Raises:
        ValueError: there is no such estimator.
    """
    if method not in REGISTRY:
        raise ValueError(f"there is no estimator {method!r}")
    entry = REGISTRY[method]
    chosen: list[TraceEstimator] = []
    probed: list[Block] = []
    for block in blocks:
        if block.size <= (rule.probes if rule.rtol is None else max(_SMALL, rule.probes // 4)):
            chosen.append(UnitVectors(block, rule))
            continue
        needed = int(entry.held * rule.probes * block.size * itemsize)
        # Blocks take turns at what they need for a while.
        if entry.make is None or needed + 8 * entry.widened * block.size > memory:
            probed.append(block)
            continue
        memory -= needed
        chosen.append(entry.make(block, rule))
    if len(probed) == 1 or whole is None:
        chosen += [Hutchinson(block, (block,), rule) for block in probed]
    elif probed:
        chosen.append(Hutchinson(whole, tuple(probed), rule))
    return chosen


def traces(estimators: Sequence[TraceEstimator]) -> Together[dict[str, TraceEstimate]]:
    """Estimators at work together: each pass over the data serves all of them."""
    return Together(tuple(estimators))
