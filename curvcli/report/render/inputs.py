"""What the table and the Markdown show of derivatives by the inputs: one line per function."""

from __future__ import annotations

from math import isnan

from curvcli.report import columns
from curvcli.report.hdf5.read import Report
from curvcli.report.render.cells import shown
from curvcli.report.render.section import Section


def inputs_section(report: Report) -> Section:
    """Return the functions, with the columns for what the report holds of at least one."""
    rows = report.inputs
    laplacian = [row for row in rows if not isnan(row.laplacian_mean)]
    present = {
        "gradient": any(not isnan(row.gradient_norm_mean) for row in rows),
        "laplacian": bool(laplacian),
        "estimated laplacian": any(row.laplacian_stderr_mean != 0.0 for row in laplacian),
        "diagonal": any(not isnan(row.diagonal_min) for row in rows),
        "derivatives": any(row.order for row in rows),
        "residual": any(row.residual_column for row in rows),
        "second": any(row.method for row in rows),
    }
    held = frozenset(word for word, there in present.items() if there)
    return Section("derivatives by the inputs", shown(columns.INPUTS, held), rows)
