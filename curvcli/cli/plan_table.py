"""A plan as a table: per layer or parameter the method, its cost, and the time measured on one step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from curvcli.analysis.memory_need import Need
from curvcli.analysis.outlook import Outlook
from curvcli.analysis.progress import duration
from curvcli.analysis.quantities.base import PlanRow
from curvcli.cli.text import render_rows
from curvcli.models.memory import peak_memory
from curvcli.wording import in_shell


class Costed(Protocol):
    """Work that has a cost.

    Attributes:
        passes: over single batches, as far as can be told.
        at_most: whether it may end with fewer.
    """

    passes: int
    at_most: bool


def render_plan(
    rows: Sequence[PlanRow],
    work: Sequence[Costed],
    batches: int,
    outlook: Outlook | None,
    output_format: str,
    *,
    times: float = 1.0,
    needs: Sequence[Need] = (),
) -> str:
    """The plan as text in one of the output formats, without a final newline.

    Args:
        rows: what is done for whom.
        work: behind them.
        batches: of the data, at most.
        outlook: what it costs; None if nothing was timed.
        output_format: table, json, csv or markdown.
        times: how many times the passes of the work are made, at most.
        needs: what memory each quantity takes.
    """
    passes = round(times * sum(one.passes for one in work))
    seconds = {} if outlook is None else outlook.seconds
    total = None if outlook is None else outlook.total
    if output_format == "json":
        plain = [{**asdict(row), "seconds": seconds.get(row.work)} for row in rows]
        return json.dumps(
            {
                "schema_version": "1.0",
                "rows": plain,
                "batches": batches,
                "passes": passes,
                "seconds": total,
                "memory_bytes": peak_memory(),
                "memory": [need.record() for need in needs],
                "instead": None if outlook is None else outlook.record(),
            },
            indent=2,
        )
    numbers = ("entries", "passes/batch", "shared by", "seconds")
    names = ["quantity", "layer", "parameter", "kind", "entries", "method", *numbers[1:], "reason"]
    cells: list[tuple[str, ...]] = [
        (
            r.quantity,
            r.layer,
            r.parameter,
            r.kind,
            str(r.entries),
            r.method,
            str(r.passes),
            str(r.shared_by),
            f"{seconds[r.work]:.3g}" if r.work in seconds else "",
            r.reason,
        )
        for r in rows
    ]
    footer = f"{batches} batch{'es' * (batches != 1)}, {passes / max(batches, 1):.0f} backward passes each"
    if outlook is not None:
        bound = "at most" if outlook.at_most else "about"
        footer += f"; {bound} {duration(outlook.total)} by one timed pass"
        if peak_memory():
            footer += f"; {peak_memory() / 2**30:.1f} GiB at most so far"
    if len({row.quantity for row in rows}) == 1:
        names, cells = names[1:], [row[1:] for row in cells]
    dispensable = ("kind", "shared by", "entries", "seconds", "passes/batch")
    return render_rows(
        names,
        cells,
        output_format,
        numbers=numbers,
        footer=[footer, *(in_shell(need.words()) for need in needs)],
        dispensable=dispensable,
        prose="reason",
    )
