"""What a computing function returns: records by name, out of its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Generic, TypeVar

from curvcli.api.arguments import StrPath, path_of
from curvcli.api.report import Report, read_report
from curvcli.errors import ReportError
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord
from curvcli.spec.mistakes import listed
from curvcli.text import did_you_mean

Record_co = TypeVar("Record_co", covariant=True)
Kind = TypeVar("Kind", TraceRecord, EigenRecord, DensityRecord, BlockRecord)


class UnknownNameError(ReportError, KeyError):
    """There are no results of this name; the message has the nearest ones."""


class Results(Mapping[str, Record_co], Generic[Record_co]):
    """Records by name, in model order; each look-up reads its arrays from the report.

    Attributes:
        report: all that was computed, as `read_report` gives it. A report without an ``output`` path lives in a
            temporary folder, as long as this object or the report does.
    """

    def __init__(self, report: Report, readers: Mapping[str, Callable[[], Record_co]]) -> None:
        self.report = report
        self._readers = dict(readers)

    @property
    def loss(self) -> float:
        """L(θ) over the data, weight decay included."""
        return self.report.provenance.loss_value

    @property
    def status(self) -> str:
        """``done``; or, joined by ``+``, how those layers ended that did not end well."""
        bad = dict.fromkeys(row.status for row in self.report.layers if row.status != "done")
        return "+".join(bad) or "done"

    def __getitem__(self, name: str) -> Record_co:
        if name not in self._readers:
            names = list(self._readers)
            advice = did_you_mean(str(name), names, f"there are {listed(names, last='and')}.", most=3)
            raise UnknownNameError(f"no {name!r} among these results: {advice}")
        return self._readers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __repr__(self) -> str:
        count = self.report.provenance.samples
        loss = f"loss {self.loss:.6g} over {count} sample{'' if count == 1 else 's'}"
        return f"<curvcli.Results {self.status}, {loss}: {', '.join(self._readers)}>"


def by_layer(report: Report, kind: type[Kind]) -> Results[Kind]:
    """The records of one quantity by the names of layers."""

    def read(layer: str) -> Kind:
        record = report.record(layer, kind)
        if record is None:
            raise ValueError(f"{report.path}: {layer} has no {kind.__name__}")
        return record

    return Results(report, {row.name: partial(read, row.name) for row in report.layers})


def report_of(argument: str, value: Report | Results[object] | StrPath) -> Report:
    """The report that an argument means: one that is open, that of results, or the one at a path.

    Raises:
        UsageError: it is something else.
        ReportError: what is there is no report.
    """
    if isinstance(value, Results):
        return value.report
    return value if isinstance(value, Report) else read_report(path_of(argument, value, "a report, or its path"))
