"""Puts an exported table in its place: a file that appears whole or not at all, or standard output."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import IO, Final, Literal, get_args

from curvcli.errors import ReportError, UsageError
from curvcli.report.export.csv import write_csv
from curvcli.report.export.json import write_json
from curvcli.report.export.table import Table
from curvcli.report.hdf5.atomic import explained, is_free, publish, temporary
from curvcli.wording import option

_ANOTHER = f"choose another {option('output')}"
Format = Literal["csv", "parquet", "json"]

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
SUFFIXES: Final[dict[str, Format]] = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".json": "json"}
_PARQUET: Final = b"PAR1"
_REFUSED: Final = "refusing to overwrite it: remove it, or "


def write_table(table: Table, path: Path, form: Format) -> None:
    """Write `table` to `path`, which is as before if anything goes wrong.

    Raises:
        UsageError: Parquet, and pyarrow is not installed.
        ReportError: the directory is missing or not writable, the disk is full, or the report can't be read any more.
    """
    with temporary(path) as part:
        with explained(path), part.open("xb") as stream:
            write_stream(table, stream, form)
        publish(part, path)


def write_stream(table: Table, stream: IO[bytes], form: Format) -> None:
    """Write `table` as bytes.

    Raises:
        UsageError: Parquet, and pyarrow is not installed.
        ReportError: the report can't be read any more.
    """
    match form:
        case "csv":
            write_csv(table, codecs.getwriter("utf-8")(stream, "backslashreplace"))
        case "json":
            write_json(table, codecs.getwriter("utf-8")(stream, "backslashreplace"))
        case "parquet":
            require_parquet()
            from curvcli.report.export.parquet import write_parquet

            write_parquet(table, stream)


def require_parquet() -> None:
    """Check that Parquet can be written.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError("Parquet needs pyarrow, which is not installed: pip install 'curvcli[export]'") from None


def check_replaceable(path: Path, form: Format) -> None:
    """Check that what is at `path` may go: nothing, or a file of the same sort.

    Raises:
        ReportError: it is something else, such as a report or a model.
    """
    if is_free(path):
        return
    if SUFFIXES.get(path.suffix.lower()) != form:
        raise ReportError(f"{path}: is not called .{form}; {_REFUSED}{_ANOTHER}")
    with explained(path), path.open("rb") as stream:
        start = stream.read(1024)
    same = start.startswith(_PARQUET) if form == "parquet" else b"\0" not in start and not start.startswith(_PARQUET)
    if start and not same:
        raise ReportError(f"{path}: is not a {_NAMES[form]} file; {_REFUSED}{_ANOTHER}")


_NAMES: Final = {"csv": "CSV", "parquet": "Parquet", "json": "JSON"}
