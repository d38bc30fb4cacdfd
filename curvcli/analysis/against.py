"""Compares what two saved models give, each computed in a process of its own: a process holds one framework."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from curvcli.analysis.checklist import Checklist
from curvcli.analysis.options.quantities import CheckOptions
from curvcli.analysis.options.request import Request, words
from curvcli.analysis.options.shared import OutputOptions, Selection
from curvcli.errors import ModelError, UsageError
from curvcli.files import regular_file
from curvcli.report.alignment import difference, paired_layers, partners
from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.records.layers import LayerRecord
from curvcli.spec.lookup import find_dataset_spec
from curvcli.wording import option, shell_option

# Two frameworks' float64 kernels add in different orders; the sample models agree to 1e-12.
AGREEMENT_LIMIT = 1e-8
# Arrays this far below the model's largest entries may be zero up to rounding: softmax does not see its keys' bias.
_NEGLIGIBLE = 1e-6


def other_side(request: Request, options: CheckOptions) -> Request:
    """The run of the model to compare with; without a spec of its own it gets the first one's.

    Raises:
        UsageError: there is no such model, or what is there is neither a folder nor a file.
    """
    path, data = options.against or request.model.model, options.against_data
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        regular_file(path, "a saved model", shown=option("against", str(path)))
    if data is None:
        try:
            find_dataset_spec(path, None, path.parent / "no such folder")
        except UsageError:
            data = request.data.data
    return replace(
        request, model=replace(request.model, model=path), data=replace(request.data, data=data), selection=Selection()
    )


def compare_with(checks: Checklist, first: Request, second: Request) -> None:
    """Add a row for the loss, and for the gradient and the diagonal of every parameter.

    Args:
        checks: to add to.
        first: the diagonals of the model that is checked.
        second: those of the other.
    """
    with tempfile.TemporaryDirectory() as folder:
        reports: list[Report] = []
        for number, side in enumerate((first, second)):
            path = str(side.model.model)
            checks.begin("against", path)
            output = Path(folder) / f"{number}.h5"
            report = checks.attempt("against", path, partial(_computed, side, output))
            if report is None:
                return
            reports.append(report)
        _compare(checks, reports[0], reports[1], second.model.model.name)


def _computed(side: Request, path: Path) -> Report:
    typed = words(replace(side, output=OutputOptions(output=path)))
    done = subprocess.run([sys.executable, "-m", "curvcli", *typed, "-q"], capture_output=True, text=True, check=False)
    if not path.exists() or done.returncode not in (0, 4):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(lines[-1].removeprefix("Error: ") if lines else f"ended with exit code {done.returncode}")
    return read_report(path)


def _compare(checks: Checklist, first: Report, second: Report, other: str) -> None:
    left, right = first.provenance.loss_value, second.provenance.loss_value
    scale = max(abs(left), abs(right))
    checks.judge(
        f"against {other}",
        "loss",
        abs(left - right) / scale if scale else 0.0,
        AGREEMENT_LIMIT,
        good=f"{left:.10g}",
        bad=f"{left:.10g} here, {right:.10g} there: other weights, data or preprocessing?",
    )
    names = paired_layers([row.name for row in first.layers], [row.name for row in second.layers])
    largest = {array: _largest(first, array) for array in ("gradient", "diagonal")}
    for row in first.layers:
        if row.name not in names:
            checks.failed(f"against {other}", row.name, "no layer there has this name")
            continue
        _compare_layer(checks, first.layer(row.name), second.layer(names[row.name]), other, largest)


def _compare_layer(
    checks: Checklist, layer: LayerRecord, other_layer: LayerRecord, other: str, largest: Mapping[str, float]
) -> None:
    name = f"against {other}"
    for p in layer.parameters:
        candidates = partners(p, other_layer.parameters)
        if not candidates:
            checks.failed(name, p.name, "no parameter there has this name and size")
            continue
        for array, scale in largest.items():
            subject = f"{p.name}: {array}"
            left = getattr(p, array)
            rights = [(getattr(b, array), b) for b in candidates if array == "gradient" or (p.exact and b.exact)]
            rights = [(right, b) for right, b in rights if right is not None]
            if left is None or not rights:
                checks.skipped(name, subject, f"not exact within {shell_option('budget')}")
                continue
            differences = [difference(left, p.axes, r, b.axes, least_scale=_NEGLIGIBLE * scale) for r, b in rights]
            error, how = min(differences)
            bad = f"{how}, relative to the largest"
            checks.judge(name, subject, error, AGREEMENT_LIMIT, good=how, bad=bad)


def _largest(report: Report, array: str) -> float:
    """The largest magnitude in any layer."""
    arrays = [getattr(p, array) for row in report.layers for p in report.layer(row.name).parameters]
    return max((float(np.abs(a).max(initial=0.0)) for a in arrays if a is not None), default=0.0)
