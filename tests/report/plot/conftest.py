"""Reports with known numbers, ready to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.plot.style import styled
from curvcli.report.plot.view import Side, View
from curvcli.report.records.layers import LayerRecord, Provenance
from curvcli.report.records.studies import StudyRecord

MakeView = Callable[..., View]


@pytest.fixture
def make_view(tmp_path: Path, provenance: Provenance) -> MakeView:
    """``make_view(layers, base=other_layers)``: these layers, written, opened again and all chosen; studies too."""

    def side(name: str, layers: Sequence[LayerRecord], studies: Sequence[StudyRecord]) -> Side:
        write_report(tmp_path / name, layers, provenance, studies=studies)
        report = read_report(tmp_path / name)
        return Side(report, name, report.layers)

    def make(
        layers: Sequence[LayerRecord],
        base: Sequence[LayerRecord] | None = None,
        studies: Sequence[StudyRecord] = (),
        base_studies: Sequence[StudyRecord] = (),
        **changes: object,
    ) -> View:
        new, old = side("new.h5", layers, studies), None if base is None else side("base.h5", base, base_studies)
        return View(new, old, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with styled():
        yield
