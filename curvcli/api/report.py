"""A report as a notebook reads it."""

from __future__ import annotations

import shutil
import weakref
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from curvcli.api.call import StrPath
from curvcli.errors import UsageError
from curvcli.report import read


@dataclass(frozen=True)
class Report(read.Report):
    """A report, opened: its tables at once, its arrays when asked for; see `read_report`.

    `layers` has one row per layer, each with a row per parameter; `layer(name)` reads a layer with all its arrays,
    `array(layer, quantity, label)` a single one, `record(layer, kind)` one quantity.
    """

    def to_pandas(self, table: Literal["layers", "parameters"] = "layers") -> Any:
        """One of the report's tables as a ``pandas.DataFrame``, in model order.

        Args:
            table: ``layers``, indexed by name, with the columns of the report's ``/summary``; or ``parameters``, by
                layer and label. NaN stands for what was not computed.

        Raises:
            UsageError: pandas is not installed, or there is no such table.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise UsageError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        if table == "layers":
            rows = [_cells(row, without=("parameters", "split")) for row in self.layers]
            return pandas.DataFrame(rows).rename(columns={"name": "layer"}).set_index("layer")
        if table == "parameters":
            rows = [{"layer": row.name, **_cells(p)} for row in self.layers for p in row.parameters]
            return pandas.DataFrame(rows).set_index(["layer", "label"])
        raise UsageError(f"to_pandas: no table {table!r}: there are layers and parameters.")


def _cells(row: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row's fields, its own before those that it inherits."""
    names = sorted((field.name for field in fields(row)), key=lambda name: name not in type(row).__annotations__)
    return {name: getattr(row, name) for name in names if name not in without}


def read_report(path: StrPath) -> Report:
    """Open a report that a command or a function has written; imports no framework.

    Args:
        path: the HDF5 file.

    Raises:
        ReportError: there is no such file; it is not HDF5, not a report, truncated, or of a newer major version.

    Example:
        >>> import curvcli
        >>> found = curvcli.diagonal("sample_models/mlp_tanh.pt", layer="fc3", limit=64)
        >>> report = curvcli.read_report(found.report.path)
        >>> [(row.name, row.method, row.exact) for row in report.layers]
        [('fc3', 'gauss_newton', True)]
        >>> report.array("fc3", "diagonal", "weight").shape
        (10, 32)
        >>> report.provenance.samples
        64
    """
    opened = read.read_report(Path(path))
    return Report(**{field.name: getattr(opened, field.name) for field in fields(opened)})


def read_temporary(path: Path) -> Report:
    """Open a report whose folder goes when nobody holds the report any more."""
    report = read_report(path)
    weakref.finalize(report, shutil.rmtree, path.parent, ignore_errors=True)
    return report
