"""Opens a model with its data as commands do, without a command."""

from __future__ import annotations

from pathlib import Path

from curvcli.analysis.options.shared import DataOptions, Dtype, ModelOptions
from curvcli.analysis.session import Session, open_session
from curvcli.cli.console import Voice


def session_of(
    path: Path,
    data: Path | None = None,
    *,
    limit: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    dtype: Dtype = "float64",
) -> Session:
    """A model on the CPU; ``data`` is the path of its dataset spec if that is not in or beside it."""
    options = DataOptions(data, limit, batch_size, seed)
    return open_session(ModelOptions(path, "cpu", dtype=dtype), options, Voice(-1))
