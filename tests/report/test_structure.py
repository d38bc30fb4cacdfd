"""What a report may be made of: whatever leads out of the file, or is larger than it, is refused before it is read."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from covering import covering
from once import once

from curvcli.errors import ReportError
from curvcli.memory import available_memory
from curvcli.report.export.entries import entries_table
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.storage import opened
from curvcli.report.hdf5.write import write_report
from curvcli.report.render.sparklines import Scale, histograms

SECRET = 4711.0


@pytest.fixture
def path(tmp_path: Path, layers: Any, provenance: Any) -> Path:
    """A report, beside another that holds a secret."""

    def other(path: Path) -> None:
        write_report(path, layers, provenance)
        with h5py.File(path, "a") as file:
            for name in ("summary/trace", "layers/conv1/gradient/kernel"):
                file[name][...] = SECRET

    once("structure", tmp_path / "r.h5", lambda path: write_report(path, layers, provenance))
    once("structure, other", tmp_path / "other.h5", other)
    (tmp_path / "secret.bin").write_bytes(np.full(100, SECRET).tobytes())
    return tmp_path / "r.h5"


def external_link(file: h5py.File, name: str) -> None:
    file[name] = h5py.ExternalLink("other.h5", f"/{name}")


def soft_link(file: h5py.File, name: str) -> None:
    file[name] = h5py.SoftLink("/summary/diagonal_max")


def soft_loop(file: h5py.File, name: str) -> None:
    file[name] = h5py.SoftLink(f"/{name}")


def second_name(file: h5py.File, name: str) -> None:
    file[name] = file["summary"]


def loop(file: h5py.File, name: str) -> None:
    file[name] = file["/"]


def named_datatype(file: h5py.File, name: str) -> None:
    file[name] = np.dtype("<f8")


def external_storage(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (4,), "<f8", external=[("secret.bin", 0, 32)])


def virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((4,), "<f8")
    layout[:] = h5py.VirtualSource("other.h5", "summary/trace", (4,))
    file.create_virtual_dataset(name, layout)


def references(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (4,), h5py.ref_dtype)


def regions(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (4,), h5py.regionref_dtype)


def empty(file: h5py.File, name: str) -> None:
    file[name] = h5py.Empty("<f8")


def declared(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (1 << 40,), "<f8", chunks=(1 << 17,), compression="gzip")


def large_chunk(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (1 << 28,), "<f8", chunks=(1 << 28,), compression="gzip")


def plug_in(file: h5py.File, name: str) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((4,))
    layout.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F64LE, space, layout)


def deep(file: h5py.File, name: str) -> None:
    file.create_group("/".join(["g"] * 30))


def inflating(file: h5py.File, name: str) -> None:
    """A chunk of 32 bytes whose stream is far longer than it should be."""
    dataset = file.create_dataset(name, (4,), "<f8", chunks=(4,), compression="gzip")
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(8 << 20)))


REFUSED: dict[str, tuple[Callable[[h5py.File, str], None], str]] = {
    "external link": (external_link, "is a link to another file"),
    "soft link": (soft_link, "is a soft link"),
    "soft link to itself": (soft_loop, "is a soft link"),
    "second name": (second_name, "is a second name"),
    "link to what is above": (loop, "is a second name"),
    "named datatype": (named_datatype, "is a named datatype"),
    "external storage": (external_storage, "keeps its data in another file"),
    "virtual dataset": (virtual, "is a virtual dataset"),
    "references": (references, "holds neither numbers nor text"),
    "region references": (regions, "holds neither numbers nor text"),
    "empty": (empty, "holds nothing at all"),
    "declared": (declared, "is declared far larger than the file"),
    "large chunk": (large_chunk, "far larger than the file"),
    "plug-in": (plug_in, "compressed by something other than gzip"),
    "deep groups": (deep, "more than 16 deep"),
    "inflating chunk": (inflating, "inflates to more than its size"),
}
READERS: dict[str, Callable[[Path], Any]] = {
    "tables": read_report,
    "digest": content_digest,
    "part": lambda path: opened(path).__enter__(),
}


PLACES = ("layers/conv1/gradient/kernel", "summary/trace", "layers/conv2")


@pytest.mark.parametrize(
    ("case", "reader", "place"),
    covering(REFUSED, READERS, PLACES, given=lambda _, reader, place: reader == "tables" or place == PLACES[0]),
)
def test_what_no_report_has_is_refused_by_every_reader(case: str, reader: str, place: str, path: Path) -> None:
    """One line says where in the file it is, and what; wherever it is, also where a reader would not look."""
    make, expected = REFUSED[case]
    with h5py.File(path, "a") as file:
        del file[place]
        make(file, place)
    with pytest.raises(ReportError) as error:
        READERS[reader](path)
    assert expected in str(error.value)
    assert str(error.value).startswith(f"{path}: /")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", REFUSED)
def test_a_report_that_changes_after_its_tables_were_read_is_looked_at_again(case: str, path: Path) -> None:
    """Arrays are read later than tables, and the file may be another by then."""
    report = read_report(path)
    with h5py.File(path, "a") as file:
        del file["layers/conv1/gradient/kernel"]
        REFUSED[case][0](file, "layers/conv1/gradient/kernel")
    with pytest.raises(ReportError, match="which no report has"):
        report.layer("conv1")
    with pytest.raises(ReportError, match="which no report has"):
        entries_table(report)
    with pytest.raises(ReportError, match="which no report has"):
        histograms(report, report.layers[1], Scale(-3, 3, 8), most=100)


def test_entries_that_are_one_long_text_are_not_multiplied(path: Path) -> None:
    """A text of a megabyte that stands for a million entries is found out before memory is full."""
    rows = 4
    with h5py.File(path, "a") as file:
        del file["summary/method"]
        dataset = file.create_dataset("summary/method", (rows,), h5py.string_dtype())
        dataset[0] = "x" * 1_000_000
        file.flush()
        offset = dataset.id.get_offset()
    with path.open("r+b") as stream:
        stream.seek(offset)
        first = stream.read(16)
        stream.seek(offset)
        stream.write(first * rows)
    with pytest.raises(ReportError, match="damaged"):
        read_report(path)


def test_an_array_larger_than_the_free_memory_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = read_report(path)
    monkeypatch.setattr("curvcli.files.available_memory", lambda: 10)
    monkeypatch.setattr("curvcli.files._ALWAYS_HAD", 0)
    with pytest.raises(ReportError, match=r"/layers/conv1/gradient/.*: takes 0 KiB of memory, and 0 KiB are free"):
        report.layer("conv1")
    assert available_memory() > 10


@pytest.mark.parametrize("place", ["summary", "summary/trace", "parameters", "provenance", "provenance/seconds"])
def test_another_kind_of_object_is_damage(place: str, path: Path) -> None:
    """A group where a dataset belongs, and the reverse."""
    with h5py.File(path, "a") as file:
        was_group = isinstance(file[place], h5py.Group)
        del file[place]
        if was_group:
            file[place] = np.zeros(4)
        else:
            file.create_group(place)
    with pytest.raises(ReportError, match="damaged"):
        read_report(path)


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        ("/", "format_version", "1.2.3.nonsense" * 10),
        ("/", "format_version", 7),
        ("/", "status", np.zeros(3)),
        ("/", "producer", 1.5),
        ("provenance", "samples", "many"),
        ("provenance", "seed", np.arange(3)),
        ("provenance", "model_path", 3),
        ("provenance", "loss_value", "low"),
        ("provenance", "deterministic", 7),
    ],
)
def test_an_attribute_of_another_type_is_damage(owner: str, name: str, value: Any, path: Path) -> None:
    with h5py.File(path, "a") as file:
        file[owner].attrs[name] = value
    with pytest.raises(ReportError, match="damaged"):
        read_report(path)


@pytest.mark.parametrize("shape", ["-3 4", "99999999 99999999 99999999", "3", "x"])
def test_a_shape_that_does_not_fit_is_damage(shape: str, path: Path) -> None:
    """Of the parameters, on which exports step through an array."""
    with h5py.File(path, "a") as file:
        file["parameters/shape"][0] = shape
    with pytest.raises(ReportError, match="damaged"):
        entries_table(read_report(path))


def test_two_layers_of_one_name_are_damage(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["summary/layer"][0] = "conv1"
    with pytest.raises(ReportError, match="damaged"):
        read_report(path)


@pytest.mark.timeout(20)
def test_a_named_pipe_is_no_report(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "r.h5")
    with pytest.raises(ReportError, match="is a named pipe"):
        read_report(tmp_path / "r.h5")
