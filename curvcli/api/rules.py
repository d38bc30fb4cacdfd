"""``curvcli assert`` as a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curvcli.analysis.judging import Assertion, AssertOptions
from curvcli.analysis.options.record import filled
from curvcli.api.arguments import Patterns, StrPath, read_arguments
from curvcli.api.report import Report
from curvcli.api.results import Results, report_of
from curvcli.api.turn import IN_PYTHON
from curvcli.report.rules.judge import Assessment

Thresholds = Mapping[str, float] | Patterns


def check_rules(
    report: Report | Results[Any] | StrPath,
    *,
    max: Thresholds = (),
    min: Thresholds = (),
    finite: bool = False,
    converged: bool = False,
    exact: bool = False,
    layer: Patterns = (),
    exclude: Patterns = (),
    sigma: float = AssertOptions.sigma,
) -> Assessment:
    """Hold a report against rules, as ``curvcli assert`` does; a broken rule is no exception.

    Args:
        report: results, a report, or its path.
        max: what must not be exceeded, ``{"top_eigenvalue": 50, "conv*:trace": 10, "loss": 2}``: quantities of the
            report's summary, for layers that match the pattern before the colon. Or text as in the command.
        min: what must not be fallen below.
        finite: every result of every layer, and the loss, is a finite number.
        converged: every eigenvalue and estimate has met its tolerance.
        exact: nothing is an estimate.
        layer: only these layers, by patterns as elsewhere.
        exclude: leave these out.
        sigma: break a threshold only if the figure is beyond it by this many standard errors.

    Returns:
        ``judgements``, one per rule and layer, each with ``rule``, ``value``, ``threshold``, ``holds`` and ``note``;
        and ``verdict``: ``broken``, ``incomplete`` (all hold, but the report is partial), or ``holds``.

    Raises:
        UsageError: there is no rule, or one is for what the report does not hold.
        ReportError: it is no report.

    Example:
        >>> import curvcli
        >>> traces = curvcli.trace("sample_models/mlp_tanh.pt", limit=64)
        >>> assessment = curvcli.check_rules(traces, max={"trace": 30}, finite=True)
        >>> assessment.verdict, [one.layer for one in assessment.judgements if not one.holds]
        ('broken', ['fc1'])
    """
    with IN_PYTHON:
        arguments = dict(locals()) | {"max": _texts(max), "min": _texts(min)}
        assertion = Assertion.read(filled(AssertOptions, read_arguments((AssertOptions,), arguments)))
        return assertion.judge(report_of("report", report))


def _texts(thresholds: Thresholds) -> Patterns:
    """Thresholds as the command has them."""
    if isinstance(thresholds, Mapping):
        return tuple(f"{name}={number}" for name, number in thresholds.items())
    return thresholds
