"""Single arrays, mapped into memory: damaged, of nonsense, or declared far beyond the file."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np

from .interface import Bases, Case
from .mutations import mutated
from .npz_data import arrays, npy

SPEC = """version = 1
[source]
format = "npy"
path = "columns"
[inputs.x]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
"""


class NpyData:
    """A folder of columns."""

    name = "npy"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        columns = folder / "columns"
        columns.mkdir()
        (folder / "model.pt.toml").write_text(SPEC)
        with np.load(bases.folder / "data.npz") as archive:
            for name in ("x", "y"):
                np.save(columns / f"{name}.npy", archive[name])
        path = columns / f"{rng.choice('xy')}.npy"
        story = rng.choice(["bytes", "bytes", "header", "header", "arrays", "hole", "other kind"])
        match story:
            case "bytes":
                data, story = mutated(rng, path.read_bytes())
                path.write_bytes(data)
            case "header":
                path.write_bytes(npy(rng, rng.randbytes(rng.choice([0, 37 * 4 * 8, 100]))))
            case "arrays":
                for name, array in arrays(rng).items():
                    np.save(columns / f"{name}.npy", array)
            case "hole":
                header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % (1 << 42)
                with path.open("wb") as stream:
                    stream.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
                    stream.truncate((1 << 42) + 1000)
            case _:
                path.unlink()
                story = other_kind(rng, path)
        return Case([rng.choice(["diag", "check"]), "model.pt", "-q", "-o", "out.h5"], {}, "out.h5", story)


def other_kind(rng: random.Random, path: Path) -> str:
    """Put what is no regular file at `path`; returns what."""
    kind = rng.choice(["pipe", "device", "folder", "loop", "dangling"])
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case _:
            path.symlink_to("nothing there")
    return kind
