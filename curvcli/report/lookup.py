"""One value of a report by its path: ``conv4_3/trace``, ``conv4_3/kernel/diagonal_max``, ``provenance/seed``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from math import isnan, prod
from typing import Any, Final

import numpy as np

from curvcli.errors import UsageError
from curvcli.report import columns
from curvcli.report.computed import came_out
from curvcli.report.documents import check_document, column_value, layer_document, nullified, parameter_document
from curvcli.report.hdf5.read import Quantity as ArrayName
from curvcli.report.hdf5.read import Report
from curvcli.report.missing import missing_field, not_computed
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord
from curvcli.report.records.split import SplitPartSummary
from curvcli.report.records.status import OUTCOME_CODES
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.report.studies.registry import TABLES
from curvcli.report.study_values import array_values, table_values
from curvcli.report.table import COMMANDS, Quantity
from curvcli.text import nearest, printable
from curvcli.wording import option, shell_option

_MOST: Final = 1_000_000  # entries of a vector; more are a table, not a value
_ARRAYS: Final[tuple[ArrayName, ...]] = ("gradient", "diagonal", "diagonal_stderr")
_RECORDS: Final[Mapping[Quantity, Any]] = {
    "trace": TraceRecord,
    "eigen": EigenRecord,
    "density": DensityRecord,
    "hessian": BlockRecord,
}
_RECORD_COMMANDS: Final = {group: COMMANDS[group] for group in _RECORDS}
_HIDDEN: Final = frozenset({"vectors", "parameters"})
_PER_SAMPLE: Final = ("rows", "value", "laplacian", "laplacian_stderr", "hessian")
_BY_INPUT: Final = ("gradient", "diagonal", "diagonal_stderr")

Choose = Callable[[Sequence[str], str], Sequence[int]]
Fields = Mapping[str, Callable[[], Any]]


def lookup(report: Report, path: str, choose: Choose) -> Any:
    """Return one value: a number, text, a flag, or lists of them.

    Args:
        report: to look in.
        path: ``FIELD`` or ``provenance/FIELD`` of the report; ``LAYER/FIELD``, ``LAYER/PARAMETER/FIELD`` or
            ``LAYER/QUANTITY/FIELD``, where the layer's name may hold slashes or be a pattern that one layer matches;
            ``inputs/FUNCTION/FIELD``; ``checks/OUTCOME`` for a count, ``checks/NAME/SUBJECT/FIELD``; TABLE/ROW/FIELD
            of a study's table, ``studies/STUDY/ARRAY``. A layer whose name is a word such as ``inputs`` is found below
            ``layers/``.
        choose: from names and a pattern to the positions that match; raises a UsageError where none does.

    Raises:
        UsageError: there is no such value, or it was not computed, or is too large to be one.
        ReportError: an array can't be read any more.
    """
    words = path.split("/")
    places: dict[str, Callable[[Report, list[str]], Fields]] = {
        "provenance": _provenance,
        "inputs": _inputs,
        "checks": _checks,
        "studies": array_values,
        **dict.fromkeys(TABLES, table_values),
    }
    if words[0] == "layers" and len(words) > 1:
        return _in_layer(report, words[1:], choose)
    if len(words) > 1 and words[0] in places:
        return _value(report, path, places[words[0]](report, words), "/".join(words[1:]))
    top = _top(report)
    if path in top:
        return _value(report, path, top, path)
    if len(words) == 1:
        names = [*top, *(f"{row.name}/trace" for row in report.layers)]
        raise UsageError(f"{report.path}: no value '{printable(path)}'. {printable(_nearest(path, names))}")
    return _in_layer(report, words, choose)


def as_text(value: Any) -> str:
    """Return a value as a script wants it: bare, at full precision; lists and tables as JSON."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case str():
            return value
    return as_json(value)


def as_json(value: Any) -> str:
    """Return a value as JSON, with null for NaN and infinity."""
    return json.dumps(nullified(value), allow_nan=False, ensure_ascii=False)


def _value(report: Report, path: str, readers: Fields, name: str, *, came_out: bool = False) -> Any:
    """Return a field's value; NaN is one where that `came_out` of a computation.

    Raises:
        UsageError: there is no such field, or nothing in it.
    """
    if name not in readers:
        place = path.removesuffix(name)
        nearest = _nearest(name, list(readers), place)
        raise UsageError(f"{report.path}: no value '{printable(path)}'. {printable(nearest)}")
    value = readers[name]()
    if value is None or (isinstance(value, float) and isnan(value) and not came_out):
        raise UsageError(f"{report.path}: {printable(path)}: {_missing(path, name)}.")
    if isinstance(value, np.ndarray):
        _check_size(report, path, value.size)
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _missing(path: str, name: str) -> str:
    """Return that a field was not computed, and which command does."""
    owner, _, field = name.rpartition("/")
    if path.partition("/")[0] in TABLES:
        return f"{printable(name)} was not computed"
    if path.startswith("inputs/"):
        return missing_field(printable(field), COMMANDS["inputs"])
    if owner in _RECORD_COMMANDS:
        return missing_field(printable(field), _RECORD_COMMANDS[owner])
    column = (columns.PARAMETERS if owner else columns.LAYERS).find(field)
    return missing_field(printable(field), COMMANDS["diagonal"]) if column is None else not_computed(column)


def _check_size(report: Report, path: str, size: int) -> None:
    if size > _MOST:
        raise UsageError(
            f"{report.path}: {printable(path)} has {size} entries, too many for one value; "
            f"read them with h5py, or with `curvcli export {shell_option('table', 'entries')}`."
        )


def _nearest(name: str, names: Sequence[str], place: str = "") -> str:
    if near := nearest(name, names):
        return f"Nearest: {', '.join(f'{place}{word}' for word in near)}."
    return f"There are {', '.join(names[:12])}{' …' if len(names) > 12 else ''}." if names else "There is none."


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _top(report: Report) -> dict[str, Callable[[], Any]]:
    values = {
        "loss": report.provenance.loss_value if report.provenance.loss else None,
        "status": report.status,
        "samples": report.provenance.samples,
        "format_version": report.format_version,
        "producer": report.producer,
        "layers": [row.name for row in report.layers],
        "inputs": [row.name for row in report.inputs],
        "checks": [check_document(check) for check in report.checks],
        "studies": [study.name for study in report.studies],
        "provenance": asdict(report.provenance),
    }
    return {name: _constant(value) for name, value in values.items()}


def _provenance(report: Report, words: list[str]) -> Fields:
    values = asdict(report.provenance)
    versions = {f"versions/{name}": version for name, version in values["versions"].items()}
    return {name: _constant(value) for name, value in (values | versions).items()}


def _checks(report: Report, words: list[str]) -> Fields:
    if not report.checks:  # a count of 0 would pass for success
        raise UsageError(
            f"{report.path}: the report holds no checks; `curvcli check {shell_option('output')}` writes them."
        )
    readers: dict[str, Callable[[], Any]] = {
        outcome: _constant(sum(check.outcome == outcome for check in report.checks)) for outcome in OUTCOME_CODES
    }
    for check in report.checks:
        for field, value in check_document(check).items():
            readers[f"{check.name}/{check.subject}/{field}"] = _constant(value)
    return readers


def _inputs(report: Report, words: list[str]) -> Fields:
    """Return every field of the function that the path names, or of all where it names none."""
    if not report.inputs:
        raise UsageError(
            f"{report.path}: the report holds no derivatives by the inputs; `curvcli inputs` computes them."
        )
    readers: dict[str, Callable[[], Any]] = {}
    path = "/".join(words[1:])
    rows = [row for row in report.inputs if path.startswith(f"{row.name}/")] or report.inputs
    for row in rows:
        readers |= {f"{row.name}/{name}": read for name, read in _function(report, row)}
    return readers


def _function(report: Report, row: InputsSummary) -> Iterator[tuple[str, Callable[[], Any]]]:
    for field in fields(InputsSummary):
        value = getattr(row, field.name)
        missing = (field.name.startswith("residual") and not row.residual_column) or (
            field.name == "order" and not value
        )
        yield (
            field.name,
            _constant(None if missing else [asdict(axes) for axes in value] if field.name == "inputs" else value),
        )
    for name in _PER_SAMPLE:
        yield name, _of_function(report, row.name, name)
    yield "residual", _of_function(report, row.name, "residual")
    for name in _BY_INPUT:
        for axes in row.inputs:
            yield f"{name}/{axes.name}", _of_function(report, row.name, name, axes.name)
    if row.order:
        for coordinate in [coordinate for axes in row.inputs for coordinate in axes.coordinates()]:
            yield f"derivatives/{coordinate}", _of_function(report, row.name, "derivatives", coordinate)


def _of_function(report: Report, function: str, name: str, key: str = "") -> Callable[[], Any]:
    """Return a reader of one of a function's arrays; of a mapping of them, of the one called `key`."""

    def read() -> Any:
        values = getattr(report.inputs_record(function), name)
        if name == "residual":
            return None if values is None else values.values
        return (values or {}).get(key) if key else values

    return read


def _in_layer(report: Report, words: list[str], choose: Choose) -> Any:
    """Return a value of a layer: the longest name that the path begins with, or else the longest pattern.

    Raises:
        UsageError: no layer, or more than one; or no such value of it.
    """
    rows = {row.name: row for row in report.layers}
    path = "/".join(words)
    splits = [("/".join(words[:k]), "/".join(words[k:])) for k in range(len(words) - 1, 0, -1)]
    exact = [(rows[name], field) for name, field in splits if name in rows]
    for row, field in exact:
        if field in (readers := _fields(report, row)):
            return _value(report, path, readers, field, came_out=_came_out(report, row, field))
    if exact:
        row, field = exact[-1]
        return _value(report, path, _fields(report, row), field)
    if path in rows or not splits:
        raise UsageError(_no_field(report, path))
    return _by_pattern(report, path, splits, choose)


def _no_field(report: Report, layer: str) -> str:
    """Say that a path ends with a layer, and what there is of it; or which layers there are."""
    rows = [row for row in report.layers if row.name == layer]
    if not rows:
        names = _nearest(layer, [row.name or "(root)" for row in report.layers])
        return f"{report.path}: no layer '{printable(layer)}', and no field of it is named. {printable(names)}"
    of_layer = ", ".join(name for name in _fields(report, rows[0]) if "/" not in name)
    more = ", ".join(f"{printable(parameter.label)}/…" for parameter in rows[0].parameters[:5])
    fields = f"{of_layer}{', ' if more else ''}{more}, {', '.join(f'{name}/…' for name in _RECORDS)}"
    return f"{report.path}: {printable(layer) or 'the root'} is a layer; name a field of it: {fields}."


def _by_pattern(report: Report, path: str, splits: Sequence[tuple[str, str]], choose: Choose) -> Any:
    names = [row.name for row in report.layers]
    refused: list[UsageError] = []
    matches: list[tuple[list[LayerSummary], str]] = []
    for pattern, field in splits:
        try:
            matches.append(([report.layers[i] for i in choose(names, pattern)], field))
        except UsageError as error:
            refused.append(error)
    for rows, field in matches:
        layers_with_field = [row for row in rows if field in _fields(report, row)]
        if len(rows) == 1 and layers_with_field:
            came_out = _came_out(report, rows[0], field)
            return _value(report, path, _fields(report, rows[0]), field, came_out=came_out)
    if not matches:
        # Of the messages that of the shortest pattern is about the layer; longer ones hold parameters and fields.
        raise UsageError(f"{report.path}: {printable(path)}: {refused[-1]}") from None
    rows, field = matches[-1]
    if len(rows) > 1:
        shown = ", ".join(printable(row.name) for row in rows[:5]) + (" …" if len(rows) > 5 else "")
        raise UsageError(
            f"{report.path}: {printable(path)} matches {len(rows)} layers, and {option('get')} takes one: {shown}."
        )
    return _value(report, path, _fields(report, rows[0]), field)


def _came_out(report: Report, row: LayerSummary, field: str) -> bool:
    """Whether a NaN was computed: of a parameter, of a record such as ``eigen``, or of the layer."""
    for parameter in row.parameters:
        if field.startswith(f"{parameter.label}/"):
            return came_out(report, row, field.removeprefix(f"{parameter.label}/"), parameter)
    return row.status == "nonfinite" if "/" in field else came_out(report, row, field)


def _fields(report: Report, row: LayerSummary) -> Fields:
    """Return all that there is of a layer, by path below it; arrays are read when their value is requested."""
    document = layer_document(row)
    del document["split"], document["parameters"]
    document |= {column.name: column_value(column, row) for column in columns.LAYERS.columns if column.value is None}
    readers: dict[str, Callable[[], Any]] = {name: _constant(value) for name, value in document.items()}
    readers["parameters"] = _constant([parameter.label for parameter in row.parameters])
    for parameter in row.parameters:
        for name, value in parameter_document(parameter).items():
            readers[f"{parameter.label}/{name}"] = _constant(value)
        for quantity in _ARRAYS:
            readers[f"{parameter.label}/{quantity}"] = _entries(report, row.name, quantity, parameter)
    for group, kind in _RECORDS.items():
        for field in fields(kind):
            if field.name not in _HIDDEN:
                readers[f"{group}/{field.name}"] = _of_record(report, row.name, kind, field.name)
    for part in row.split:
        for field in fields(SplitPartSummary):
            readers[f"split/{part.by}/{field.name}"] = _constant(getattr(part, field.name))
    return readers


def _entries(report: Report, layer: str, quantity: ArrayName, row: ParameterSummary) -> Callable[[], Any]:
    """Return a reader of an array that leaves a large one unread."""

    def read() -> Any:
        path = f"{layer}/{row.label}/{quantity}"
        _check_size(report, path, prod(row.shape))
        entries = report.array(layer, quantity, row.label)
        if entries is None and quantity == "diagonal_stderr" and row.exact:
            raise UsageError(f"{report.path}: {printable(path)}: the diagonal is exact and has no standard error.")
        return entries

    return read


def _of_record(report: Report, layer: str, kind: Any, name: str) -> Callable[[], Any]:
    def read() -> Any:
        record = report.record(layer, kind)
        return None if record is None else getattr(record, name)

    return read
