"""What a killed run left in ``.parts``: finished layers, states of work, the run's key; damaged, replaced, forged."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np

from .hostile_hdf5 import HOSTILITIES
from .interface import Bases, Case
from .mutations import mutated
from .npy_data import other_kind
from .toml_text import strange


class PartFiles:
    """An interrupted run is started again."""

    name = "parts"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        report = rng.choice(bases.parts)
        shutil.copytree(bases.folder / f"{report}.parts", folder / "out.h5.parts")
        files = sorted(path for path in (folder / "out.h5.parts").iterdir() if path.name != "lock")
        path = rng.choice(files)
        ways = ["kind", "bytes", "forged bytes", "forged objects", "state", "key"]
        way = rng.choice(ways)
        match way, path.suffix:
            case "kind", _:
                path.unlink()
                story = other_kind(rng, path)
            case "forged bytes", ".h5":
                data, story = mutated(rng, path.read_bytes())
                path.write_bytes(data)
                _renamed(path)
            case "forged objects", ".h5":
                hostility = rng.choice(HOSTILITIES[:-1])
                try:
                    story = f"{hostility.__name__} {hostility(rng, path)}"
                except (KeyError, IndexError):
                    story = "as it was"
                _renamed(path)
            case "state", ".npz":
                story = _forge_state(rng, path)
            case "key", ".json":
                text, story = strange(rng, path.read_text())
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
            case _:
                data, story = mutated(rng, path.read_bytes())
                path.write_bytes(data)
        command = report.removesuffix(".h5")
        return Case([command, "model.pt", "-q", "-o", "out.h5"], {}, "out.h5", f"{path.name}: {way}: {story}")


def _renamed(path: Path) -> None:
    """Give a part the name that its bytes call for."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(path.with_name(f"{path.name.partition('-')[0]}-{digest}.h5"))


def _forge_state(rng: random.Random, path: Path) -> str:
    """Write a state of the same run with other arrays."""
    with np.load(path) as archive:
        arrays = dict(archive)
    head = json.loads(str(arrays["head"]))
    names = [name for name in arrays if name != "head"]
    changed = rng.choice([*names, "head"])
    if changed == "head":
        head["names"] = rng.choice([[], [1, 2], "text", None, {"a": 1}, head["names"][::-1], ["x"] * 3])
        arrays["head"] = np.array(json.dumps(head))
    else:
        shape = rng.choice([(), (0,), (1,), (3,), (2, 2), arrays[changed].shape])
        dtype = rng.choice(["<f8", "<i8", "<f4", "S3", "?"])
        arrays[changed] = np.full(shape, rng.choice([0, 1, 255]), dtype)
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
    return f"{changed} of {head.get('names')}"
