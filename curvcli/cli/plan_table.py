"""A plan as a table: per layer the method, its cost, and the time measured on one pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from curvcli.cli.console import duration
from curvcli.cli.text import render_rows
from curvcli.curvature.diagonal.planner import Plan
from curvcli.engine.serial import seconds_per_step
from curvcli.models.base import Layer, Objective


@dataclass(frozen=True)
class PlanRow:
    """One parameter's plan.

    Attributes:
        layer: its layer's name.
        parameter: its label.
        kind: of the layer.
        entries: how many numbers.
        method: chosen.
        passes: backward passes per batch of the work it is part of.
        shared_by: how many parameters share that work and its cost.
        seconds: of that work over all batches, from one timed pass; None if not timed.
        reason: why this method.
    """

    layer: str
    parameter: str
    kind: str
    entries: int
    method: str
    passes: int
    shared_by: int
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class PlanTable:
    """All rows, and totals over the distinct pieces of work."""

    rows: tuple[PlanRow, ...]
    batches: int
    passes_per_batch: int
    seconds: float | None
    memory_bytes: int


def untimed(plan: Plan, layers: Sequence[Layer], batches: int) -> PlanTable:
    """The plan without time."""
    return _table(plan, layers, batches, {})


def timed(plan: Plan, layers: Sequence[Layer], objective: Objective) -> PlanTable:
    """The plan with the time of every piece of work, from one step of each."""
    batches = objective.batch_count()
    seconds: dict[str, float] = {}
    for piece in plan.work:
        whole = seconds_per_step(piece, objective) * piece.passes_per_batch * batches
        seconds |= dict.fromkeys(piece.parameters, whole)
    return _table(plan, layers, batches, seconds)


def _table(plan: Plan, layers: Sequence[Layer], batches: int, seconds: dict[str, float]) -> PlanTable:
    sharing = {name: len(piece.parameters) for piece in plan.work for name in piece.parameters}
    rows = tuple(
        PlanRow(
            one.name,
            p.label,
            one.kind,
            p.size,
            plan.choices[p.name].method,
            plan.choices[p.name].cost,
            sharing.get(p.name, 1),
            seconds.get(p.name),
            plan.choices[p.name].reason,
        )
        for one in layers
        for p in one.parameters
    )
    total = sum(seconds[piece.parameters[0]] for piece in plan.work) if seconds else None
    return PlanTable(rows, batches, plan.passes_per_batch, total, _peak_memory())


def _peak_memory() -> int:
    """The process's largest size so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def render_plan(table: PlanTable, output_format: str) -> str:
    """The plan as text in one of the output formats, without a final newline."""
    if output_format == "json":
        return json.dumps({"schema_version": "1.0", **asdict(table)}, indent=2)
    names = ("layer", "parameter", "kind", "entries", "method", "passes/batch", "shared by", "seconds", "reason")
    cells = [
        (r.layer, r.parameter, r.kind, str(r.entries), r.method, str(r.passes), str(r.shared_by), _time(r), r.reason)
        for r in table.rows
    ]
    total = f"{table.batches} batches, {table.passes_per_batch} backward passes each"
    if table.seconds is not None:
        total += f"; about {duration(table.seconds)} by one timed pass of each piece of work"
        if table.memory_bytes:
            total += f"; {table.memory_bytes / 2**30:.1f} GiB at most so far"
    return render_rows(
        names, cells, output_format, numbers=("entries", "passes/batch", "shared by", "seconds"), footer=[total]
    )


def _time(row: PlanRow) -> str:
    return "" if row.seconds is None else f"{row.seconds:.3g}"
