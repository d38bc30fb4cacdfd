"""A table as CSV (RFC 4180): UTF-8, CRLF, one header line; floats read back to the same bits.

Text that a spreadsheet would take for a formula has an apostrophe in front; numbers never have.
"""

from __future__ import annotations

import csv
from typing import Any, Protocol

from curvcli.report.export.table import Field, Table, listed
from curvcli.report.render.csv import neutral


class Sink(Protocol):
    """Where text goes."""

    def write(self, text: str, /) -> object:
        """Write some text."""


def write_csv(table: Table, sink: Sink) -> None:
    """Write `table`; what is missing or NaN is empty, a list is separated by blanks."""
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow([field.name for field in table.fields])
    for batch in table.batches:
        columns = [_cells(field, listed(batch.columns[field.name], batch.size)) for field in table.fields]
        writer.writerows(zip(*columns, strict=True))


def _cells(field: Field, values: list[Any]) -> list[Any]:
    """Return what `csv` writes as it should: it has None as empty and floats by `repr`."""
    match field.kind:
        case "flag":
            return [None if value is None else str(value).lower() for value in values]
        case "text":
            return [neutral(value) if isinstance(value, str) else value for value in values]
        case "words":
            return [None if value is None else neutral(" ".join(map(str, value))) for value in values]
        case "counts" | "numbers":
            return [None if value is None else " ".join(map(str, value)) for value in values]
    return values
