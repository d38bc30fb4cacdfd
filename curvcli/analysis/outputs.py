"""Where a request's report goes, and what it may replace there."""

from __future__ import annotations

import os
from pathlib import Path

from curvcli.analysis.options.request import Request
from curvcli.errors import CurvcliError, UsageError
from curvcli.report.hdf5.origin import Origin, refuse_to_replace
from curvcli.spec.lookup import find_dataset_spec
from curvcli.wording import option

_STDOUT = Path("-")


def report_path(request: Request) -> Path:
    """Where the report goes; checked before any work is done, unless the run is only planned.

    Raises:
        UsageError: it would go to standard output, or where another output goes.
        ReportError: the report of another command, model or dataset spec is there, or something that is not a report.
    """
    model, options = request.model.model, request.output
    path = options.output or default_output(model, request.command)
    if path == _STDOUT:
        raise UsageError(
            f"{option('output', '-')}: a report is an HDF5 file and can't go to standard output: name a file; what is "
            "printed besides goes there already."
        )
    if any(os.path.realpath(one) == os.path.realpath(path) for own in request.own.values() for one in own.outputs):
        raise UsageError(f"{path}: two files would go there: choose another {option('output')}.")
    if not options.dry_run:
        refuse_to_replace(path, Origin(request.command, model, _spec_of(request)), force=options.force)
    return path


def default_output(model: Path, command: str) -> Path:
    """``a/b.pt`` → ``a/b.pt.diag.h5``."""
    real = Path(os.path.realpath(model))  # links that lead back to themselves are found when the model is opened
    return (real if model.name in {"", ".."} else model).parent / f"{real.name}.{command}.h5"


def _spec_of(request: Request) -> Path | None:
    """The file that holds the dataset spec; None where there is none, which is an error when it is opened."""
    try:
        return find_dataset_spec(request.model.model, request.data.data, Path.cwd()).path
    except CurvcliError:
        return None
