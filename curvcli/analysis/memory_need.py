"""What memory a run needs at least, as a formula: measured on one sample and on some more, before any work.

need = in use + product + graph per sample · samples per batch + vectors

In use is what the process, or the device, holds with the model opened. Product is what a gradient and a product with
the Hessian take whatever the samples, graph per sample by how much the largest size of both grows with each sample: a
line through two measured sizes. Vectors are those that the algorithm with the most of them holds at once. Graphs that
are kept between products come on top, as far as there is room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Final

import numpy as np

from curvcli.analysis.quantities.base import Quantity
from curvcli.analysis.session import Session, fixed_batch
from curvcli.analysis.targets import Target, parameters_of
from curvcli.curvature.dense import UnitProducts
from curvcli.curvature.density import LanczosQuadrature
from curvcli.curvature.diagonal.weight_probes import HutchinsonDiagonal, XDiag
from curvcli.curvature.eigen import IterativeEigenpairs
from curvcli.curvature.together import Together
from curvcli.curvature.trace.hutchinson import Hutchinson
from curvcli.curvature.trace.registry import REGISTRY
from curvcli.curvature.trace.unit_vectors import UnitVectors
from curvcli.errors import CurvcliError, ModelError, UsageError
from curvcli.files import size_text
from curvcli.models.base import DifferentiatedBatch
from curvcli.models.device_memory import Memory
from curvcli.wording import option

# Growth that stands out from what an allocator does anyway.
_PLAIN: Final = 64 << 20
# Networks from which on every run is measured before; smaller ones by the size of their batches alone.
_LARGE_MODEL, _LARGE_BATCH = 1 << 20, 16 << 20
# Vectors of a step, and their products; sums, parts and result of a diagonal, each in numbers of 8 bytes.
_STEP, _SUMS = 16, 3
_SAMPLED: Final = 0.001
_DOUBLE: Final = 8


@dataclass(frozen=True)
class Graph:
    """What derivatives of a batch take while they are made, in bytes.

    Attributes:
        in_use: before, with the model opened.
        fixed: whatever the samples.
        per_sample: for each of them.
    """

    in_use: int
    fixed: int
    per_sample: int


@dataclass(frozen=True)
class Need:
    """What a quantity needs, in bytes.

    Attributes:
        quantity: its name.
        in_use: with the model opened, before any work.
        parameters: of the model, of these.
        product: the gradient by all layers, or a product with the Hessian, without what grows with the samples.
        per_sample: what does, for each.
        batch: samples per batch.
        vectors: that are held at once.
        vector: one of the largest layer's, or of the whole model.
        allowed: in all: what the system, the device or the limit leaves.
        limited: whether that is the limit that was requested.
        fixed: whether the model takes no other number of samples at a time.
    """

    quantity: str
    in_use: int
    parameters: int
    product: int
    per_sample: int
    batch: int
    vectors: int
    vector: int
    allowed: int
    limited: bool
    fixed: bool

    @property
    def total(self) -> int:
        """All of it."""
        return self.in_use + self.product + self.per_sample * self.batch + self.vectors

    @property
    def missing(self) -> int:
        """What it is too much by; 0 where it fits."""
        return max(self.total - self.allowed, 0)

    @property
    def fitting(self) -> int:
        """Samples per batch that fit; 0 where none do, and at most those that there are."""
        left = self.allowed - self.in_use - self.product - self.vectors
        return max(min(left // max(self.per_sample, 1), self.batch), 0)

    @property
    def formula(self) -> str:
        """The sum with its parts."""
        several = f"{self.vectors / max(self.vector, 1):.0f} × " if self.vector else ""
        vectors = size_text(self.vector if several else self.vectors)
        return (
            f"in use {size_text(self.in_use)} (parameters {size_text(self.parameters)}) + product "
            f"{size_text(self.product)} + graph {size_text(self.per_sample)} per sample × {self.batch} + vectors "
            f"{several}{vectors} = {size_text(self.total)}"
        )

    @property
    def advice(self) -> str:
        """What would make it fit."""
        if self.fitting and not self.fixed:
            return f"{option('batch_size', self.fitting)} fits"
        more = "a machine with more memory"
        if self.limited:
            more = option("memory_limit", f"{(self.total >> 20) + 1}MiB")
        if self.in_use >= self.allowed:
            return f"use {more}: the opened model and the framework alone take {size_text(self.in_use)}"
        fewer = f"fewer {option('probes')}, or fewer layers with {option('layer')}" if self.vectors else "fewer layers"
        return f"choose {fewer}, or {more}"

    def words(self) -> str:
        """A line about it."""
        room = "allowed" if self.limited else "free and in use"
        line = f"memory, {self.quantity}: {self.formula}; {room} {size_text(self.allowed)}"
        return f"{line}: {size_text(self.missing)} too much; {self.advice}" if self.missing else line

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        return {**asdict(self), "total": self.total, "missing": self.missing, "fitting": self.fitting}


def needs(
    session: Session, graph: Graph, targets: Sequence[Target], quantities: Sequence[Quantity], requested: int | None
) -> tuple[Need, ...]:
    """What each quantity needs; what every run needs where there is none.

    Args:
        session: opened.
        graph: measured.
        targets: what the run is about.
        quantities: planned.
        requested: limit of the memory; None for what there is.
    """
    objective = session.objective
    allowed = objective.memory.in_use() + objective.memory.free() if requested is None else requested
    itemsize = np.dtype(session.dtype).itemsize
    sizes = {p.name: p.size for p in parameters_of(tuple(targets))}
    largest = max((target.block.size for target in targets), default=0)

    def held(quantity: Quantity) -> int:
        return max((_held(work.algorithm, itemsize, sizes, largest) for work in quantity.work), default=0)

    return tuple(
        Need(
            name,
            graph.in_use,
            itemsize * sum(layer.size for layer in session.model.layers),
            graph.fixed,
            graph.per_sample,
            min(objective.batch_size, len(session.samples)),
            vectors,
            itemsize * largest,
            allowed,
            requested is not None,
            fixed_batch(session.model) is not None or objective.scalar,
        )
        for name, vectors in ([(one.name, held(one)) for one in quantities] or [("the run", 0)])
    )


def refuse_too_large(every: Sequence[Need]) -> None:
    """Refuse a run that can't fit.

    Raises:
        UsageError: it needs more than the limit that was requested.
        ModelError: it needs more than there is.
    """
    need = max(every, key=lambda one: one.missing, default=None)
    if need is None or not need.missing:
        return
    of = f"{need.quantity} needs {size_text(need.total)} of memory, {size_text(need.missing)} more than"
    if need.limited:
        raise UsageError(
            f"{of} {option('memory_limit', size_text(need.allowed))} allows: {need.formula}.\nAdvice: {need.advice}."
        )
    raise ModelError(f"{of} there is ({size_text(need.allowed)}): {need.formula}.\nAdvice: {need.advice}.")


def worth_measuring(session: Session, requested: int | None) -> bool:
    """Whether a run may come near to what there is: others are not held up."""
    size = sum(layer.size for layer in session.model.layers)
    numbers = sum(prod(shape) for shape in session.samples.input_shapes.values())
    batch = _DOUBLE * numbers * session.objective.batch_size
    return requested is not None or size >= _LARGE_MODEL or batch >= _LARGE_BATCH


def measured(session: Session, targets: Sequence[Target]) -> Graph | None:
    """What the derivatives of a batch take, by the largest size while they are made of one sample, and of more.

    Where samples can't be told apart it is that of the first batch. None where they can't be made, which the run itself
    will say better.
    """
    memory = session.objective.memory
    memory.release()
    in_use = memory.in_use()
    try:
        fixed, per_sample = _line(session, targets, memory)
    except CurvcliError:
        return None
    return Graph(in_use, fixed, per_sample)


def _line(session: Session, targets: Sequence[Target], memory: Memory) -> tuple[int, int]:
    """What is fixed, and what grows with each sample."""
    objective, parameters = session.objective, parameters_of(tuple(targets))
    whole = min(objective.batch_size, len(session.samples))
    names = [p.name for p in parameters]
    space = objective.space(parameters)
    if not names:
        return 0, 0

    every = [p.name for layer in session.model.layers for p in layer.parameters]

    def opened(samples: int, by: Sequence[str]) -> DifferentiatedBatch:
        if samples == whole:
            return next(iter(objective.batches(by)))
        return next(iter(objective.minibatches(np.arange(samples, dtype=np.int64)[None], by)))

    def grown(samples: int) -> int:
        with _watched(memory) as peak:
            # Before any work two passes by all layers are compared.
            opened(samples, every).gradient(every)
            batch = opened(samples, names)
            batch.gradient(names)
            batch.hessian_products(names, space.signs(0, "memory", range(1)))
            del batch
        memory.release()
        return peak()

    if whole == 1 or objective.scalar or fixed_batch(session.model) is not None:
        return 0, -(-grown(whole) // whole)
    try:
        grown(1)  # what is made once, and stays
        first = grown(1)
    except CurvcliError:  # a file that takes no single sample
        return 0, -(-grown(whole) // whole)
    samples, size = 1, first
    while samples < whole and size - first < _PLAIN and _within(memory, size, first, samples):
        samples = min(4 * samples, whole)
        size = max(grown(samples), first)
    per_sample = max(size - first, 0) // max(samples - 1, 1)
    return max(first - per_sample, 0), per_sample


def _within(memory: Memory, size: int, first: int, samples: int) -> bool:
    """Whether four times as many samples can be tried without taking half of what is free."""
    return size + 4 * max(size - first, 1 << 20) < memory.free() // 2 or (samples == 1 and size < memory.free() // 8)


@contextmanager
def _watched(memory: Memory) -> Iterator[Callable[[], int]]:
    """While entered, watch how much more is in use; what is yielded says the most."""
    before, peak = memory.in_use(), memory.peak()
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            most[0] = max(most[0], memory.in_use() - before)
            time.sleep(_SAMPLED)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        ended.set()
        thread.join()
        # A new peak is the system's own word, which no moment between two looks escapes.
        reached = memory.peak()
        most[0] = max(most[0], memory.in_use() - before, reached - before if reached > peak else 0)


def _held(algorithm: Any, itemsize: int, sizes: Mapping[str, int], largest: int) -> int:
    """Bytes of the vectors that an algorithm holds at once, besides one product."""
    match algorithm:
        case Together():
            return sum(_held(one, itemsize, sizes, largest) for one in algorithm.algorithms)
        case UnitVectors() | UnitProducts():
            return 4 * _DOUBLE * algorithm.block.size**2
        case Hutchinson():
            return _STEP * itemsize * algorithm.block.size
        case XDiag():
            return _SUMS * algorithm.probes * _DOUBLE * algorithm.parameter.size
        case HutchinsonDiagonal():
            return (_STEP * itemsize + _SUMS * _DOUBLE) * algorithm.parameter.size
        case IterativeEigenpairs():
            return (algorithm.k + _STEP) * 2 * _DOUBLE * algorithm.block.size
        case LanczosQuadrature():
            return algorithm.length * _DOUBLE * algorithm.block.size
    method = getattr(algorithm, "method", "")
    if method in REGISTRY and hasattr(algorithm, "rule"):
        entry, block = REGISTRY[method], algorithm.block
        return int((entry.held * algorithm.rule.probes * itemsize + entry.widened * _DOUBLE) * block.size)
    own = sum(sizes.get(name, 0) for name in getattr(algorithm, "parameters", ()) if isinstance(name, str))
    return _SUMS * _DOUBLE * (own or largest)
