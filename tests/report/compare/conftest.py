"""Reports with known numbers and known errors, written and opened again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.layers import LayerRecord, Provenance

Written = Callable[..., Report]


@pytest.fixture
def written(tmp_path: Path, provenance: Provenance) -> Written:
    """``written("old.h5", layers, seed=1)``: a report of these layers; keywords change the provenance."""

    def write(name: str, layers: Sequence[LayerRecord], *, status: str = "complete", **changes: object) -> Report:
        write_report(tmp_path / name, layers, replace(provenance, **changes), status=status)  # type: ignore[arg-type]
        return read_report(tmp_path / name)

    return write
