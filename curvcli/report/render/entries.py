"""The numbers themselves, sample by sample, of functions differentiated by the inputs at a few points only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from curvcli.report.hdf5.read import Report
from curvcli.report.numbers import FULL, MISSING, number
from curvcli.report.records.inputs import Array, InputsRecord
from curvcli.report.render.section import Section, Shown
from curvcli.text import printable

_MOST_LINES: Final = 24
_MOST_HESSIAN_COLUMNS: Final = 6
_WHOLE: Final = "a wider window or a pipe shows all"  # no other format shows arrays


def entry_sections(report: Report) -> Iterator[Section]:
    """Yield what a person wants to read of single points: value, Laplacian, each entry, each order.

    Functions with more than 24 entries over all their samples are left out, and their arrays are not read.

    Raises:
        ReportError: the report can't be read any more.
    """
    for row in report.inputs:
        if 0 < row.samples * row.coordinates <= _MOST_LINES:
            record = report.inputs_record(row.name)
            name = printable(record.name)
            yield Section(
                f"{name}, sample by sample", tuple(_sample_columns(record)), range(record.samples), (), _WHOLE
            )
            if columns := tuple(_entry_columns(record)):
                yield Section(f"{name}, entry by entry", (*_places(record), *columns), _entries(record), (), _WHOLE)
            if record.derivatives:
                yield Section(f"{name}, order by order", tuple(_order_columns(record)), _orders(record), (), _WHOLE)


def _sample_columns(record: InputsRecord) -> Iterator[Shown]:
    """Yield the columns over the samples; a row is a sample's position."""
    residual = None if record.residual is None else record.residual.values
    yield Shown("sample", lambda sample: str(record.rows[sample]), True, 0)
    for heading, values, folds in (
        ("value", record.value, 0),
        ("Laplacian", record.laplacian, 0),
        ("± stderr", record.laplacian_stderr, 1),
        ("residual", residual, 1),
    ):
        if values is not None:
            yield Shown(heading, _at(values), True, folds)


def _places(record: InputsRecord) -> tuple[Shown, Shown]:
    """Return the columns that say where an entry is; a row is (sample's position, entry's, coordinate)."""
    return (
        Shown("sample", lambda entry: str(record.rows[entry[0]]), True, 0),
        Shown("coordinate", lambda entry: printable(entry[2]), False, 0),
    )


def _entry_columns(record: InputsRecord) -> Iterator[Shown]:
    """Yield the columns over samples and coordinates that there is anything of."""
    for heading, arrays, folds in (
        ("gradient", record.gradient, 0),
        ("diagonal", record.diagonal, 0),
        ("± stderr", record.diagonal_stderr, 1),
    ):
        if arrays is not None:
            joined = np.concatenate([arrays[axes.name].reshape(record.samples, -1) for axes in record.inputs], axis=1)
            yield Shown(heading, _entry(joined), True, folds)
    if record.hessian is not None and record.coordinates <= _MOST_HESSIAN_COLUMNS:
        for position, coordinate in enumerate(_coordinates(record)):
            yield Shown(f"Hessian {printable(coordinate)}", _entry(record.hessian[:, :, position]), True, 2)


def _order_columns(record: InputsRecord) -> Iterator[Shown]:
    """Yield the columns over samples and coordinates; a row is (sample's position, coordinate's, its derivatives)."""
    names = list(record.derivatives or {})
    yield Shown("sample", lambda line: str(record.rows[line[0]]), True, 0)
    yield Shown("coordinate", lambda line: printable(names[line[1]]), False, 0)
    for order in range(record.order + 1):
        yield Shown(f"order {order}", _derivative(order), True, max(0, order - 2))


def _entries(record: InputsRecord) -> list[tuple[int, int, str]]:
    names = list(enumerate(_coordinates(record)))
    return [(sample, position, name) for sample in range(record.samples) for position, name in names]


def _orders(record: InputsRecord) -> list[tuple[int, int, Array]]:
    arrays = list(enumerate((record.derivatives or {}).values()))
    return [(sample, position, array[sample]) for sample in range(record.samples) for position, array in arrays]


def _coordinates(record: InputsRecord) -> Iterator[str]:
    for axes in record.inputs:
        yield from axes.coordinates()


def _at(values: Array) -> Callable[[Any], str]:
    return lambda sample: _full(values[sample])


def _entry(values: Array) -> Callable[[Any], str]:
    return lambda entry: _full(values[entry[0], entry[1]])


def _derivative(order: int) -> Callable[[Any], str]:
    return lambda line: _full(line[2][order]) if order < len(line[2]) else MISSING


def _full(value: Any) -> str:
    return number(float(value) + 0.0, FULL)  # + 0.0: a zero's sign is an accident of how it was computed
