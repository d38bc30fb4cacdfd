"""The computed eigenvalues of a layer as figures, the ends of the spectrum by name where they were searched for."""

from __future__ import annotations

from math import isfinite
from typing import Final

from curvcli.report.compare.figure import Figure
from curvcli.report.records.ends import LARGEST, SMALLEST, ends
from curvcli.report.records.quantities import EigenRecord

_NAMES: Final = {LARGEST: "top_eigenvalue", SMALLEST: "smallest_eigenvalue"}


def eigenvalues(record: EigenRecord, size: int, rounding: float) -> dict[str, Figure]:
    """Return a figure per eigenvalue: the ends of the spectrum, and by rank those that are none.

    Args:
        record: of the eigenpairs.
        size: entries of the block.
        rounding: bound for that of the eigenvalues alone; that of products is in their residuals.
    """
    count = len(record.values)
    searched = ends(record.which, record.values.tolist(), size)

    def figure(place: int, stream: str) -> Figure:
        done, residual = bool(record.converged[place]), float(record.residuals[place])
        return Figure(
            value=float(record.values[place]),
            bound=rounding + (residual if isfinite(residual) else 0.0),
            doubt="" if done else "not converged",
            note="" if done else "not converged",
            stream=stream,
            matrix=record.matrix,
        )

    named = {end: place for end, place in ((LARGEST, 0), (SMALLEST, count - 1)) if end in searched}
    # The i-th largest is the same whatever their number; otherwise a rank means something among as many only.
    stream = LARGEST if record.which == LARGEST else f"{count} {record.which}"
    by_rank = {f"eigenvalue_{i + 1}": figure(i, stream) for i in range(count) if i not in named.values()}
    return by_rank | {_NAMES[end]: figure(place, end) for end, place in named.items()}
