"""Tables of text: damaged, with strange cells, without line breaks."""

from __future__ import annotations

import random
from pathlib import Path

from .interface import Bases, Case
from .mutations import STRANGE_TEXTS, mutated
from .npy_data import other_kind

SPEC = """version = 1
[source]
format = "csv"
path = "data.csv"
[inputs.x]
columns = ["a", "b", "c", "d"]
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
"""
CELLS = (
    "1e300",
    "-1",
    "nan",
    "inf",
    "1_000",
    "0x10",
    "9" * 30,
    "9" * 5000,
    "1" * 200_000,
    "",
    '"',
    '"open',
    "1,5",
    "\0",
    "１２",  # full-width digits
    "1e999999999",
)


class CsvData:
    """A table with a header."""

    name = "csv"
    framework = "torch"

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        (folder / "model.pt.toml").write_text(SPEC)
        path = folder / "data.csv"
        rows = [["a", "b", "c", "d", "y"]]
        rows += [[*(f"{rng.gauss(0, 1):.6g}" for _ in range(4)), str(rng.randrange(3))] for _ in range(20)]
        story = rng.choice(["bytes", "cells", "cells", "names", "one line", "bytes and cells", "other kind"])
        if "cells" in story:
            for _ in range(rng.randint(1, 3)):
                row = rng.choice(rows[1:])
                row[rng.randrange(5)] = rng.choice(CELLS + STRANGE_TEXTS)
        if story == "names":
            rows[0][rng.randrange(5)] = rng.choice((*STRANGE_TEXTS, "a", "y" * 1_000_000))
        data = "\n".join(rng.choice([",", ",", ",", ";"]).join(row) for row in rows).encode("utf-8", "surrogatepass")
        if story == "one line":
            data = b"1," * (1 << 24)
        if "bytes" in story:
            data, damage = mutated(rng, data)
            story += f": {damage}"
        if story == "other kind":
            story = other_kind(rng, path)
        else:
            path.write_bytes(data)
        return Case([rng.choice(["diag", "check"]), "model.pt", "-q", "-o", "out.h5"], {}, "out.h5", story)
