"""``/studies/<name>``: a group per study, with a group per table, and its arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import h5py
import numpy.typing as npt

from curvcli.report.hdf5.arrays import write_array
from curvcli.report.hdf5.attributes import COUNT, FLAG, TEXT, read_attributes, write_attributes
from curvcli.report.hdf5.reading import dataset_at, group_at, read_numbers
from curvcli.report.hdf5.scales import Scales
from curvcli.report.hdf5.schema import STUDIES as GROUP
from curvcli.report.hdf5.schema import escape, storable, unescape
from curvcli.report.hdf5.storage import Output
from curvcli.report.hdf5.tabular import read_table, write_table
from curvcli.report.records.studies import StudyArray, StudyRecord, StudyRow, StudySummary
from curvcli.report.records.validation import check_distinct
from curvcli.report.studies.registry import STUDIES
from curvcli.report.table import Column

_ATTRIBUTES: Final = {"status": TEXT, "exact": FLAG, "reason": TEXT, "passes": COUNT}
_ARRAYS: Final = "arrays"


def write_studies(output: Output, records: Iterable[StudyRecord]) -> None:
    """Write the studies, holding one at a time; nothing at all for none.

    Args:
        output: a new file.
        records: in any order.

    Raises:
        ValueError: two are of one name, or no study is called so.
        OSError: the disk is full.
    """
    for record in records:
        study = STUDIES.get(record.name)
        if study is None or record.tables.keys() - {table.group for table in study.tables}:
            raise ValueError(f"no study {record.name!r} with tables {', '.join(record.tables)}")
        group = output.file.require_group(GROUP).create_group(record.name)
        group.attrs["long_name"] = study.title
        write_attributes(group, record, _ATTRIBUTES)
        for table in study.tables:
            if table.group in record.tables:
                write_table(group, table, record.tables[table.group], _no_matrix)
        if record.arrays:
            _write_arrays(group.create_group(_ARRAYS), record.arrays)
        output.check()


def read_studies(file: h5py.File) -> tuple[StudySummary, ...]:
    """Read the tables of all studies that this version knows, in the order of the registry."""
    if GROUP not in file:
        return ()
    studies = group_at(file, GROUP)
    return tuple(StudySummary(**_fields(studies, name)) for name in STUDIES if name in studies)


def read_study(file: h5py.File, name: str) -> StudyRecord:
    """Read one study with all its arrays.

    Raises:
        KeyError: it is not in the file.
        ReportError: an array does not fit into the free memory.
    """
    studies = group_at(file, GROUP)
    group = group_at(studies, name)
    below = group_at(group, _ARRAYS) if _ARRAYS in group else {}
    arrays = [_read_array(below, link) for link in below if "position" in below[link].attrs]
    return StudyRecord(**_fields(studies, name), arrays=tuple(array for _, array in sorted(arrays, key=lambda a: a[0])))


def read_study_array(file: h5py.File, study: str, name: str) -> npt.NDArray[Any]:
    """Read one array of a study.

    Raises:
        KeyError: there is no such study or array.
        ReportError: it does not fit into the free memory.
    """
    return read_numbers(dataset_at(group_at(file, GROUP), f"{study}/{_ARRAYS}/{escape(name)}"))


def study_arrays(file: h5py.File, study: str) -> list[str]:
    """Return the names of a study's arrays."""
    group = group_at(group_at(file, GROUP), study)
    below = group_at(group, _ARRAYS) if _ARRAYS in group else {}
    links = [link for link in below if "position" in below[link].attrs]
    return [unescape(link) for link in sorted(links, key=lambda link: int(below[link].attrs["position"]))]


def _fields(studies: h5py.Group, name: str) -> dict[str, Any]:
    group = group_at(studies, name)
    tables: dict[str, tuple[StudyRow, ...]] = {}
    for table in STUDIES[name].tables:
        if table.group in group:
            rows = [StudyRow(row.pop("name"), row) for row in read_table(group, table)]
            check_distinct(f"rows of {table.group}", [row.name for row in rows])
            tables[table.group] = tuple(rows)
    return {"name": name, "tables": tables, **read_attributes(group, _ATTRIBUTES)}


def _write_arrays(group: h5py.Group, arrays: Iterable[StudyArray]) -> None:
    arrays = tuple(arrays)
    scales = Scales(group, [array.name for array in arrays])
    for position, array in enumerate(arrays):
        described = {"long_name": storable(array.long_name), "units": storable(array.unit)}
        dataset = write_array(group, escape(array.name), array.values, array.axes, described, scales=scales)
        dataset.attrs["axes"] = " ".join(array.axes)
        dataset.attrs["position"] = position  # HDF5 sorts by name


def _read_array(group: Any, link: str) -> tuple[int, StudyArray]:
    dataset = dataset_at(group, link)
    described = {name: str(dataset.attrs[name]) for name in ("long_name", "units", "axes")}
    array = StudyArray(
        name=unescape(link),
        values=cast("Any", read_numbers(dataset)),
        axes=tuple(described["axes"].split()),
        long_name=described["long_name"],
        unit=described["units"],
    )
    return int(dataset.attrs["position"]), array


def _no_matrix(column: Column) -> Iterable[str]:
    return ()
