"""A report as a notebook reads it."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from curvcli.api.arguments import StrPath, path_of
from curvcli.errors import UsageError
from curvcli.report import columns
from curvcli.report.hdf5 import read
from curvcli.report.table import Column, Table


@dataclass(frozen=True)
class Report(read.Report):
    """A report, opened: its tables at once, its arrays when they are looked up; see `read_report`.

    `layers` has one row per layer, each with a row per parameter; `layer(name)` reads a layer with all its arrays,
    `array(layer, quantity, label)` a single one, `record(layer, kind)` one quantity.
    """

    def to_pandas(self, table: Literal["layers", "parameters", "inputs", "checks"] = "layers") -> Any:
        """One of the report's tables as a ``pandas.DataFrame``, in model order.

        Args:
            table: ``layers``, indexed by name; ``parameters``, by layer and label; ``inputs``, by function; or
                ``checks``, by check and subject. The columns are those of ``curvcli export``: counts, numbers, flags
                and texts; tuples where a row has several (``shape``, ``axes``, ``eigenvalues``, ``inputs``). NaN stands
                for what was not computed; a table of which the report has nothing is empty.

        Raises:
            UsageError: pandas is not installed, or there is no such table.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise UsageError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        tables: dict[str, tuple[Table, Sequence[Any], dict[str, str]]] = {
            "layers": (columns.LAYERS, self.layers, {"layer": "layer"}),
            "parameters": (
                columns.PARAMETERS,
                [parameter for row in self.layers for parameter in row.parameters],
                {"layer": "layer", "parameter": "label"},
            ),
            "inputs": (columns.INPUTS, self.inputs, {"function": "function"}),
            "checks": (columns.CHECKS, self.checks, {"check": "check", "subject": "subject"}),
        }
        if table not in tables:
            raise UsageError(f"to_pandas: no table {table!r}: there are layers, parameters, inputs and checks.")
        described, rows, index = tables[table]
        held = described.inside("export")
        cells = [tuple(_cell(column, row) for column in held) for row in rows]
        frame = pandas.DataFrame(cells, columns=[column.name for column in held])
        # Counts that are not there are no numbers that a sum could take for some.
        missable = [column.name for column in held if column.kind == "count" and column.of == "hessian"]
        return frame.astype(dict.fromkeys(missable, "Int64")).rename(columns=index).set_index(list(index.values()))

    def __repr__(self) -> str:
        counts = {"layers": len(self.layers), "functions of the inputs": len(self.inputs), "checks": len(self.checks)}
        counts |= {"studies": len(self.studies)}
        has = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "empty"
        return f"<curvcli.Report {self.path}: {has}, {self.status}, by {self.producer}>"


def _cell(column: Column, row: Any) -> Any:
    value = column.of_row(row)
    return tuple(axes.name for axes in value) if column.kind == "inputs" else value


def read_report(path: StrPath) -> Report:
    """Open a report that a command or a function has written; imports no framework.

    Args:
        path: the HDF5 file.

    Raises:
        ReportError: there is no such file; it is not HDF5, not a report, truncated, or of a newer major version.

    Example:
        >>> import curvcli
        >>> diagonals = curvcli.diagonal("sample_models/mlp_tanh.pt", layer="fc3", limit=64)
        >>> report = curvcli.read_report(diagonals.report.path)
        >>> [(row.name, row.method, row.exact) for row in report.layers]
        [('fc3', 'gauss_newton', True)]
        >>> report.array("fc3", "diagonal", "weight").shape
        (10, 32)
        >>> report.provenance.samples
        64
    """
    opened = read.read_report(path_of("path", path, "the path of a report"))
    values = {field.name: getattr(opened, field.name) for field in fields(opened)}
    # Arrays are read later, when the working directory may be another one.
    return Report(**values | {"path": opened.path.absolute()})


def read_temporary(path: Path) -> Report:
    """Open a report whose folder goes when nobody holds the report any more."""
    report = read_report(path)
    weakref.finalize(report, shutil.rmtree, path.parent, ignore_errors=True)
    return report
