"""A table as Parquet, by pyarrow: long names and units with each column, the report's origin with the schema."""

from __future__ import annotations

import json
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curvcli.report.documents import nullified
from curvcli.report.export.table import SCHEMA_VERSION, Constant, Field, Table, Values

_TYPES: Final = {
    "text": pa.string(),
    "count": pa.int64(),
    "number": pa.float64(),
    "number32": pa.float32(),
    "flag": pa.bool_(),
    "words": pa.list_(pa.string()),
    "counts": pa.list_(pa.int64()),
    "numbers": pa.list_(pa.float64()),
}


def write_parquet(table: Table, stream: IO[bytes]) -> None:
    """Write `table`, a row group per batch; null is what is missing, NaN what was computed and is none.

    The schema's metadata have, under ``curvcli``, a JSON object with ``schema_version``, ``table`` and ``report``; each
    column's have ``long_name`` and ``units``.
    """
    about = {"schema_version": SCHEMA_VERSION, "table": table.name, "report": dict(table.about)}
    metadata = {"curvcli": json.dumps(nullified(about), allow_nan=False)}
    schema = pa.schema([_field(field) for field in table.fields], metadata=metadata)
    with pq.ParquetWriter(stream, schema) as writer:
        for batch in table.batches:
            arrays = [_array(batch.columns[field.name], batch.size, _TYPES[field.kind]) for field in table.fields]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _field(field: Field) -> Any:
    metadata = {"long_name": field.long_name} | ({"units": field.units} if field.units else {})
    return pa.field(field.name, _TYPES[field.kind], metadata=metadata)


def _array(values: Values, size: int, kind: Any) -> Any:
    if isinstance(values, Constant):
        return pa.nulls(size, kind) if values.value is None else pa.repeat(pa.scalar(values.value, kind), size)
    if isinstance(values, np.ndarray):
        return pa.array(values, from_pandas=False).cast(kind)
    return pa.array(list(values), kind, from_pandas=False)
