"""A table as JSON: what it is and where it comes from, its columns, and one object per row."""

from __future__ import annotations

import json
from typing import Final

from curvcli.report.documents import nullified
from curvcli.report.export.csv import Sink
from curvcli.report.export.table import SCHEMA_VERSION, Table, listed

FORMAT: Final = "curvcli-export"


def write_json(table: Table, sink: Sink) -> None:
    """Write `table`, a row per line; NaN, infinity and what is missing are null."""
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "table": table.name,
        "report": dict(table.about),
        "columns": [
            {"name": field.name, "type": field.kind, "long_name": field.long_name, "units": field.units or None}
            for field in table.fields
        ],
    }
    start = json.dumps(nullified(document), indent=2, allow_nan=False)
    sink.write(start.removesuffix("\n}") + ',\n  "rows": [')
    separator = "\n"
    names = [field.name for field in table.fields]
    for batch in table.batches:
        columns = [listed(batch.columns[name], batch.size) for name in names]
        for values in zip(*columns, strict=True):
            row = nullified(dict(zip(names, values, strict=True)))
            sink.write(f"{separator}    {json.dumps(row, allow_nan=False)}")
            separator = ",\n"
    sink.write("\n  ]\n}\n")
