"""Sums of estimated diagonals per output channel: one row per channel of each parameter."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

import numpy as np

from curvcli.report.export.rows import about
from curvcli.report.export.table import Batch, Constant, Field, Table
from curvcli.report.hdf5.read import Report
from curvcli.report.records.matrices import named_together
from curvcli.report.records.summaries import ParameterSummary
from curvcli.report.units import CURVATURE


def summed(report: Report) -> list[tuple[str, ParameterSummary]]:
    """Return layers and parameters whose diagonals have such sums."""
    return [(row.name, p) for row in report.layers for p in row.parameters if not isnan(p.channel_relative_stderr)]


def channels_table(report: Report) -> Table:
    """Return the sums with their standard errors.

    Raises:
        ReportError: the report can't be read any more.
    """
    held = summed(report)
    matrix = named_together(parameter.matrix for _, parameter in held)
    fields = (
        Field("layer", "text", "name of the layer"),
        Field("parameter", "text", "name inside the layer"),
        Field("channel", "count", "number of the output channel", "1"),
        Field("sum", "number", f"sum of the channel's entries of the diagonal of the {matrix}", CURVATURE),
        Field("stderr", "number", "standard error of that sum", CURVATURE),
    )
    return Table("channels", fields, _batches(report, held), about(report))


def _batches(report: Report, held: list[tuple[str, ParameterSummary]]) -> Iterator[Batch]:
    for layer, parameter in held:
        sums, errors = (report.array(layer, name, parameter.label) for name in ("channel_sums", "channel_stderr"))
        if sums is not None and errors is not None:
            names = {"layer": Constant(layer), "parameter": Constant(parameter.label)}
            yield Batch(len(sums), {**names, "channel": np.arange(len(sums)), "sum": sums, "stderr": errors})
