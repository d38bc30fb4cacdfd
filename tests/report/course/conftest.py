"""Reports of one training run, written and opened again; nothing is computed for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.layers import LayerRecord, Provenance

MakeReport = Callable[..., Report]


@pytest.fixture
def written(tmp_path: Path, provenance: Provenance) -> MakeReport:
    """``written("step_5.h5", layers, loss_value=2)``: a report of these layers; keywords change the provenance."""

    def write(name: str, layers: Sequence[LayerRecord], *, status: str = "complete", **changes: object) -> Report:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        # Each is of another model.
        changes = {"model_sha256": f"{name:>064}"} | changes
        inputs = changes.pop("inputs", ())
        write_report(path, layers, replace(provenance, **changes), status=status, inputs=inputs)  # type: ignore[arg-type]
        return read_report(path)

    return write


@pytest.fixture
def step(written: MakeReport, make_bare, make_whole, make_quantity) -> MakeReport:  # type: ignore[no-untyped-def]
    """``step(5, trace=2.0)``: two layers with exact traces of 1 and 2, and the whole model with an estimated one."""

    def make(number: int, trace: float = 4.0, *, whole: bool = True, name: str = "", **changes: object) -> Report:
        exact = {"exact": True, "stderr": 0.0, "method": "gauss_newton"}
        layers = [
            make_bare("a", 0, trace=make_quantity("trace", value=1.0, **exact), eigen=make_quantity("eigen")),
            make_bare("b", 1, trace=make_quantity("trace", value=2.0, **exact)),
        ]
        if whole:
            layers.append(make_whole(trace=make_quantity("trace", value=trace), eigen=make_quantity("eigen")))
        return written(name or f"step_{number}.h5", layers, **changes)

    return make
