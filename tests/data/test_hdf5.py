"""HDF5 files: nothing is read that lies elsewhere or is more than the file says."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from curvcli.errors import DataError

from .reading import X, read


def test_hdf5_follows_no_link_and_reads_no_other_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = X
    (tmp_path / "raw").write_bytes(X.tobytes())
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["external"] = h5py.ExternalLink("secret.h5", "/x")
        file["soft"] = h5py.SoftLink("/group/x")
        file["group/x"] = X
        file["group/out"] = h5py.ExternalLink("secret.h5", "/")
        file.create_dataset("stored", X.shape, "f8", external=[(str(tmp_path / "raw"), 0, X.nbytes)])
        layout = h5py.VirtualLayout((6, 2), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (6, 2))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("declared", (1 << 40,), "f8", chunks=(1024,), compression="gzip")
        file["words"] = np.array([b"a", b"b"])
        file.create_dataset("records", (3,), np.dtype([("a", "f8")]))
    np.testing.assert_array_equal(read("hdf5", tmp_path, ("group/x",), path="d.h5")["group/x"], X)
    for name, said in {
        "external": "is a link to another file, which is not followed",
        "group/out/x": "is a link to another file, which is not followed",
        "soft": "is a soft link, which is not followed; name the dataset itself",
        "stored": "keeps its data in another file",
        "virtual": "is a virtual dataset, made of other files",
        "declared": "is declared far larger than the file",
        "records": "holds neither numbers nor text",
        "group": r"there is no column 'group'.*\nAvailable: ",
        "goup/x": r"Did you mean 'group/x'\?",
    }.items():
        with pytest.raises(DataError, match=said):
            read("hdf5", tmp_path, (name,), path="d.h5")


def test_an_hdf5_chunk_that_inflates_beyond_its_size_is_refused(tmp_path: Path, monkeypatch) -> None:
    import zlib

    monkeypatch.setattr("curvcli.hdf5.available_memory", lambda: 1 << 20)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dataset = file.create_dataset("x", (1024,), "f8", chunks=(1024,), compression="gzip")
        dataset.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 22), 9))
    with pytest.raises(DataError, match="inflates to more than its size"):
        read("hdf5", tmp_path, ("x",), path="d.h5")
