"""``curvcli compare`` as a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curvcli.analysis.comparing import CompareOptions, compared
from curvcli.analysis.options.record import filled
from curvcli.api.arguments import Patterns, StrPath, read_arguments
from curvcli.api.report import Report
from curvcli.api.results import Results, report_of
from curvcli.api.turn import IN_PYTHON
from curvcli.report.compare.comparison import Comparison


def compare(
    base: Report | Results[Any] | StrPath,
    new: Report | Results[Any] | StrPath,
    *,
    layer: Patterns = (),
    exclude: Patterns = (),
    quantity: Patterns = (),
    rtol: float | str | Mapping[str, float] | None = None,
    atol: float | str | Mapping[str, float] | None = None,
    sigma: float = CompareOptions.sigma,
    allow_mismatch: bool = False,
    worse: bool = False,
) -> Comparison:
    """What changed between two reports, beyond tolerances and error bars, as ``curvcli compare`` tells.

    Args:
        base: the report to compare with: results, a report, or its path.
        new: the report that is compared.
        layer: only these layers, by patterns as elsewhere.
        exclude: leave these out.
        quantity: only these of the report's summary, or globs (``diagonal_*``).
        rtol: change allowed relative to the larger magnitude, for all quantities or by name, ``{"trace": 0.2}``; the
            name ``""`` stands for all others. Default: 0.1.
        atol: change allowed besides, in the quantity's own unit. Default: 0, but 0.01 for shares.
        sigma: a change also has to exceed this many standard errors of the difference; 0 for none.
        allow_mismatch: compare what is common though loss, data or layers differ.
        worse: judge only in the direction that is worse: larger losses, traces and eigenvalues, and what is lower below
            zero; what has no worse direction is not judged.

    Returns:
        ``changes``, one per layer and quantity, each with ``old``, ``new``, ``change``, ``tolerance``, ``noise`` and
        ``outcome``; and ``verdict``: ``changed``, ``undecided`` (without error bars, nobody can tell), or ``same``;
        with `worse`, ``worse`` or ``not worse``.

    Raises:
        UsageError: the two can't be compared, or have nothing of what the arguments name.
        ReportError: one is no report.

    Example:
        >>> import curvcli
        >>> few = curvcli.trace("sample_models/mlp_tanh.pt", layer="fc3", limit=64)
        >>> more = curvcli.trace("sample_models/mlp_tanh.pt", layer="fc3", limit=64, batch_size=16)
        >>> comparison = curvcli.compare(few, more, quantity="trace")
        >>> comparison.verdict, [change.quantity for change in comparison.changes]
        ('same', ['trace'])
    """
    with IN_PYTHON:
        options = filled(CompareOptions, read_arguments((CompareOptions,), locals()))
        return compared(report_of("base", base), report_of("new", new), options)
