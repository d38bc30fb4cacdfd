"""A plan as a table: per layer the method, its cost, and the time measured on one pass."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from curvcli.cli.console import duration
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


def render_plan(table: PlanTable, output_format: str, *, width: int | None = None) -> str:
    """The plan as text in one of the output formats, without a final newline."""
    if output_format == "json":
        return json.dumps({"schema_version": "1.0", **asdict(table)}, indent=2)
    names = ("layer", "parameter", "kind", "entries", "method", "passes/batch", "shared by", "seconds", "reason")
    cells = [
        (r.layer, r.parameter, r.kind, str(r.entries), r.method, str(r.passes), str(r.shared_by), _time(r), r.reason)
        for r in table.rows
    ]
    if output_format == "csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(cells)
        return stream.getvalue().rstrip("\n")
    if output_format == "markdown":
        lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
        lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells]
        return "\n".join(lines)
    stream = io.StringIO()
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names[:-1]:
        right = name in ("entries", "passes/batch", "shared by", "seconds")
        grid.add_column(name, justify="right" if right else "left", no_wrap=True)
    grid.add_column(names[-1])
    for row in cells:
        grid.add_row(*row)
    # As wide as it needs to be: a plan is read in a pager or a log, and cut cells hide the reasons.
    Console(file=stream, width=max(width or 0, 180), no_color=True).print(grid)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    total = f"{table.batches} batches, {table.passes_per_batch} backward passes each"
    if table.seconds is not None:
        total += f"; about {duration(table.seconds)} by one timed pass of each piece of work"
    if table.memory_bytes and table.seconds is not None:
        total += f"; {table.memory_bytes / 2**30:.1f} GiB at most so far"
    return "\n".join([*lines, total])


def _time(row: PlanRow) -> str:
    return "" if row.seconds is None else f"{row.seconds:.3g}"
