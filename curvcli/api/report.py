"""A report as a notebook reads it."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from curvcli.api.arguments import StrPath, path_of
from curvcli.errors import UsageError
from curvcli.report.hdf5 import read
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.summaries import LayerSummary, ParameterSummary


@dataclass(frozen=True)
class Report(read.Report):
    """A report, opened: its tables at once, its arrays when they are looked up; see `read_report`.

    `layers` has one row per layer, each with a row per parameter; `layer(name)` reads a layer with all its arrays,
    `array(layer, quantity, label)` a single one, `record(layer, kind)` one quantity.
    """

    def to_pandas(self, table: Literal["layers", "parameters", "inputs", "checks"] = "layers") -> Any:
        """One of the report's tables as a ``pandas.DataFrame``, in model order.

        Args:
            table: ``layers``, indexed by name, with the columns of the report's ``/summary``; ``parameters``, by layer
                and label; ``inputs``, by function; or ``checks``, by check and subject. NaN stands for what was not
                computed; a table of which the report has nothing is empty.

        Raises:
            UsageError: pandas is not installed, or there is no such table.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise UsageError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        if table == "layers":
            columns = _columns(LayerSummary, without=("parameters", "split"))
            frame = pandas.DataFrame(_cells(self.layers, columns), columns=columns)
            return frame.rename(columns={"name": "layer"}).set_index("layer")
        if table == "parameters":
            columns = _columns(ParameterSummary)
            rows = [parameter for row in self.layers for parameter in row.parameters]
            return pandas.DataFrame(_cells(rows, columns), columns=columns).set_index(["layer", "label"])
        if table == "inputs":
            columns = _columns(InputsSummary)
            frame = pandas.DataFrame(_cells(self.inputs, columns), columns=columns)
            frame["inputs"] = [tuple(axes.name for axes in row.inputs) for row in self.inputs]
            return frame.rename(columns={"name": "function"}).set_index("function")
        if table == "checks":
            columns = _columns(CheckRecord)
            frame = pandas.DataFrame(_cells(self.checks, columns), columns=columns)
            return frame.rename(columns={"name": "check"}).set_index(["check", "subject"])
        raise UsageError(f"to_pandas: no table {table!r}: there are layers, parameters, inputs and checks.")

    def __repr__(self) -> str:
        counts = {"layers": len(self.layers), "functions of the inputs": len(self.inputs), "checks": len(self.checks)}
        has = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "empty"
        return f"<curvcli.Report {self.path}: {has}, {self.status}, by {self.producer}>"


def _columns(kind: type[Any], without: tuple[str, ...] = ()) -> list[str]:
    """The fields of a kind of row, its own before those that it inherits."""
    names = sorted((field.name for field in fields(kind)), key=lambda name: name not in kind.__annotations__)
    return [name for name in names if name not in without]


def _cells(rows: Iterable[Any], columns: list[str]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, column) for column in columns) for row in rows]


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
