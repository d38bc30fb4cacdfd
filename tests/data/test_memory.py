"""Memory while reading is bounded by the batch: a file larger than what is free goes through, in every format."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest

from curvcli.data.registry import TABLES
from curvcli.data.samples import open_samples
from curvcli.spec.dataset import parse_dataset_spec

from . import tables
from .tables import FORMATS, Written

SPEC = """version = 1
[source]
format = "{format}"
path = "{path}"
{options}
[inputs.x]
{x}
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
[sampling]
batch_size = 16
"""
# Anonymous memory alone: pages of mapped files are the system's to drop.
MEASURE = """
import json, sys, threading, time
from pathlib import Path
from curvcli.data.registry import TABLES
from curvcli.data.samples import open_samples
from curvcli.spec.dataset import load_dataset_spec
def held():
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024
import curvcli.data.samples
curvcli.data.samples._KEPT = 1 << 20
warm = open_samples(load_dataset_spec(Path(sys.argv[1]), TABLES))
next(warm.batches())
del warm
before, peak, done = held(), [0], threading.Event()
def watch():
    while not done.is_set():
        peak[0] = max(peak[0], held())
        time.sleep(0.001)
thread = threading.Thread(target=watch)
thread.start()
digest = open_samples(load_dataset_spec(Path(sys.argv[2]), TABLES)).digest
done.set()
thread.join()
print(json.dumps([peak[0] - before, digest]))
"""


def store(way: Written, folder: Path, rows: int) -> tuple[Path, int]:
    """Write a table of incompressible numbers; returns its spec, and the bytes that it has in memory."""
    generator = np.random.default_rng(0)
    rng = random.Random(3)
    x = generator.integers(-(2**62), 2**62, (rows, 16) if way.format != "csv" else (rows,))
    columns = {"x": x, "y": generator.integers(0, 9, rows)}
    if way.format == "csv":
        columns = {"y": columns["y"], **{f"x{i}": x + i for i in range(16)}}
    names = ", ".join(f'"x{i}"' for i in range(16))
    if way.name == "feather":
        pa.feather.write_feather(tables.arrow_table(columns, rng), folder / "d.feather", "lz4", chunksize=10_000)
    elif way.format == "hdf5":
        with h5py.File(folder / "d.h5", "w") as file:
            for name, values in columns.items():
                file.create_dataset(name, data=values, chunks=(50, *values.shape[1:]), compression="gzip")
    else:
        way.write(folder / f"d{way.suffix}", columns, rng)
    options = "\n".join(f'{key} = "{value}"' for key, value in way.options.items())
    column = f"columns = [{names}]" if way.format == "csv" else 'column = "x"'
    spec = folder / "spec.toml"
    spec.write_text(SPEC.format(format=way.format, path=f"d{way.suffix}", options=options, x=column))
    return spec, 16 * 8 * rows


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
@pytest.mark.parametrize("way", FORMATS, ids=lambda way: way.name)
def test_memory_does_not_grow_with_the_data(way: Written, tmp_path: Path) -> None:
    """The digest reads everything; the process takes a small part of that besides a few blocks."""
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    small, _ = store(way, tmp_path / "small", 50)
    large, size = store(way, tmp_path / "large", 300_000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(large)], capture_output=True, text=True, check=True
    )
    grown, _ = json.loads(done.stdout)
    # 2.4 MB of targets and as much for their check, 9.6 MB of rows' numbers while a subset is drawn, blocks of 2 MiB.
    assert size > 36e6
    assert grown < 24e6, f"{grown / 1e6:.0f} MB of {size / 1e6:.0f}"


@pytest.mark.parametrize("way", FORMATS, ids=lambda way: way.name)
def test_a_file_larger_than_the_free_memory_is_read(
    way: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No reader asks for more than blocks, targets and rows' numbers."""
    spec, size = store(way, tmp_path, 3000)
    expected = open_samples(parse_dataset_spec(spec.read_text(), TABLES, path=spec)).digest
    free = size // 2
    for name in ("files", "data.samples"):
        monkeypatch.setattr(f"curvcli.{name}.available_memory", lambda: free)
    monkeypatch.setattr("curvcli.data.forward.BLOCK_BYTES", 1 << 14)
    assert open_samples(parse_dataset_spec(spec.read_text(), TABLES, path=spec)).digest == expected
