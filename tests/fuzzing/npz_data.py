"""Archives of arrays: damaged bytes, headers of nonsense, members that inflate for ever."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np

from .interface import Bases, Case
from .mutations import mutated

HEADERS = (
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (37, 4), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (-37, 4), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000000), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 0), }",
    b"{'descr': '<f8', 'fortran_order': True, 'shape': (10**9,), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (37,), }",
    b"{'descr': [('a', '<f8'), ('b', '<i4')], 'fortran_order': False, 'shape': (37,), }",
    b"{'descr': '<U1000000000', 'fortran_order': False, 'shape': (37,), }",
    b"{'descr': '<U0', 'fortran_order': False, 'shape': (9000000000000000000,), }",
    b"{'descr': '<c16', 'fortran_order': False, 'shape': (37, 4), }",
    b"{'descr': '>f4', 'fortran_order': False, 'shape': (37, 8), }",
    b"{'descr': '<f8', 'fortran_order': 1, 'shape': [37, 4], }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (True, 4), }",
    b"{'descr': '<f8', 'shape': (37, 4), }",
    b"[" * 5000,
    b"(" * 9000 + b")" * 9000,
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (37L, 4L), }",
    b"  {\n\t'a': '",
    b"__import__('os').system('touch hacked')",
    b"",
    b"\xff\xfe\x00",
    b"{'descr': 7, 'fortran_order': False, 'shape': (37, 4), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"1," * 100 + b"), }",
)


def npy(rng: random.Random, body: bytes) -> bytes:
    """An array file whose header is one of those above."""
    header = rng.choice(HEADERS)
    version = rng.choice([b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x07"])
    length = rng.choice([len(header), len(header), len(header), 0, 0xFFFF, len(header) + 1])
    prefix = b"\x93NUMPY" + version + length.to_bytes(2 if version[:1] == b"\x01" else 4, "little")
    return prefix + header + body


def arrays(rng: random.Random) -> dict[str, np.ndarray]:
    """Columns that are arrays, but not those that a model wants."""
    generator = np.random.default_rng(rng.randrange(1 << 30))
    x, y = generator.standard_normal((37, 4)), generator.integers(0, 3, 37)
    strange = {
        "label 1e300": {"y": np.full(37, 1e300)},
        "label -1": {"y": np.full(37, -1)},
        "label of 2**63": {"y": np.full(37, 2**63, dtype=np.uint64)},
        "fractions": {"y": y + 0.5},
        "flags": {"y": y > 0},
        "huge values": {"x": np.clip(x, -1, 1) * 1e308},
        "tiny values": {"x": x * 1e-320},
        "text": {"y": y.astype(str)},
        "complex": {"x": x.astype(complex)},
        "dates": {"y": y.astype("datetime64[s]")},
        "no rows": {"x": x[:0], "y": y[:0]},
        "one row": {"x": x[:1], "y": y[:1]},
        "no columns": {"x": x[:, :0]},
        "scalar": {"x": np.float64(3.0)},
        "other rows": {"y": y[:-1]},
        "infinite": {"x": np.where(x > 1, np.inf, x)},
        "many axes": {"x": x.reshape(37, 1, 1, 4, 1, 1)},
        "float16": {"x": x.astype(np.float16)},
        "int8": {"x": x.astype(np.int8)},
        "one-hot": {"y": np.eye(3)[y]},
    }
    return {"x": x, "y": y} | rng.choice(list(strange.values()))


class NpzData:
    """``data.npz`` of a model."""

    name = "npz"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        path = folder / "data.npz"
        ways = ["bytes", "bytes", "header", "header", "arrays", "bomb", "members", "encrypted"]
        match rng.choice(ways):
            case "bytes":
                data, story = mutated(rng, path.read_bytes())
                path.write_bytes(data)
            case "header":
                story = "header of nonsense"
                body = rng.randbytes(rng.choice([0, 37 * 4 * 8, 37 * 4 * 8, 100]))
                with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
                    archive.writestr("x.npy", npy(rng, body))
                    archive.writestr("y.npy", npy(rng, rng.randbytes(37 * 8)))
            case "arrays":
                story = "other arrays"
                with path.open("wb") as stream:
                    np.savez_compressed(stream, **arrays(rng))
            case "bomb":
                story = "a member that inflates to gigabytes"
                _bomb(path, rows=rng.choice([1 << 20, 1 << 33]), lie=rng.random() < 0.5)
            case "members":
                story = "strange members"
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr(rng.choice(["x", "x.npy", "../x.npy", "y.npy/"]), rng.randbytes(100))
                    archive.writestr("y.npy", b"")
            case _:
                story = "a member that says it is encrypted"
                data = bytearray(path.read_bytes())
                for at in _flags(bytes(data)):
                    data[at] |= 1
                path.write_bytes(bytes(data))
        return Case([rng.choice(["diag", "trace", "check"]), "model.pt", "-q", "-o", "out.h5"], {}, "out.h5", story)


def _bomb(path: Path, *, rows: int, lie: bool) -> None:
    """Write an archive of zeros, 4 MiB of them, whose header and directory may declare more."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x", "y"):
            shape = (rows, 4) if lie else (1 << 17, 4)
            header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
            text = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
            archive.writestr(f"{name}.npy", text + bytes(1 << 22))
    path.write_bytes(buffer.getvalue())


def _flags(data: bytes) -> list[int]:
    """Where the flags of members stand, in the directory and before each."""
    found = [i + 6 for i in range(len(data)) if data.startswith(b"PK\x03\x04", i)]
    return found + [i + 8 for i in range(len(data)) if data.startswith(b"PK\x01\x02", i)]
