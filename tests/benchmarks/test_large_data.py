"""Data far larger than what a run may take go through it: a limit, and samples until the error is small enough."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch import nn

ROWS, WIDTH, EVERY = 200_000, 4096, 40
SPEC = """version = 1
[source]
{source}
[inputs.input]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
[sampling]
batch_size = 32
"""
# Anonymous memory alone: pages of mapped files are the system's to drop.
RUN = """
import sys, threading, time
from curvcli.cli.main import run
peak, ended = [0], threading.Event()
def watch():
    while not ended.is_set():
        with open("/proc/self/status") as status:
            peak[0] = max(peak[0], int(status.read().split("RssAnon:")[1].split()[0]) * 1024)
        time.sleep(0.005)
thread = threading.Thread(target=watch)
thread.start()
code = run(sys.argv[1:])
ended.set()
thread.join()
print("peak", peak[0], file=sys.stderr)
sys.exit(code)
"""


def npy(folder: Path, x: Callable[[int, int], np.ndarray], y: np.ndarray) -> str:
    """A sparse file of 3.3 GB, of which one row in forty is written."""
    mapped = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (ROWS, WIDTH))
    for row in range(0, ROWS, EVERY):
        mapped[row] = x(row, row + 1)[0]
    np.save(folder / "y.npy", y)
    return 'format = "npy"\npaths = { x = "x.npy", y = "y.npy" }'


def hdf5(folder: Path, x: Callable[[int, int], np.ndarray], y: np.ndarray) -> str:
    """Two files in compressed chunks."""
    for part in range(2):
        begin = part * ROWS // 2
        with h5py.File(folder / f"part-{part}.h5", "w") as file:
            file["y"] = y[begin : begin + ROWS // 2]
            made = file.create_dataset("x", (ROWS // 2, WIDTH), "f4", chunks=(EVERY, WIDTH), compression="gzip")
            for row in range(0, ROWS // 2, EVERY * 25):
                made[row : row + EVERY * 25] = x(begin + row, begin + row + EVERY * 25)
    return 'format = "hdf5"\npath = "part-*.h5"'


def parquet(folder: Path, x: Callable[[int, int], np.ndarray], y: np.ndarray) -> str:
    """Two hundred row groups."""
    schema = pa.schema([("x", pa.list_(pa.float32(), WIDTH)), ("y", pa.int64())])
    with pyarrow.parquet.ParquetWriter(folder / "d.parquet", schema) as writer:
        for row in range(0, ROWS, 1000):
            flat = pa.array(x(row, row + 1000).ravel(), pa.float32())
            lists = pa.FixedSizeListArray.from_arrays(flat, WIDTH)
            writer.write_table(pa.table([lists, pa.array(y[row : row + 1000])], schema=schema))
    return 'format = "parquet"\npath = "d.parquet"'


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
@pytest.mark.parametrize("write", [npy, hdf5, parquet])
def test_data_larger_than_memory_go_through(
    write: Callable[[Path, Callable[[int, int], np.ndarray], np.ndarray], str], tmp_path: Path
) -> None:
    """3.3 GB, sorted by class, in less than 1 GB of this process's own memory, framework and all."""
    y = np.sort(np.random.default_rng(0).choice(3, ROWS, p=[0.9, 0.07, 0.03]))

    def x(begin: int, end: int) -> np.ndarray:
        rows = np.zeros((end - begin, WIDTH), np.float32)
        for row in range(begin + -begin % EVERY, end, EVERY):
            rows[row - begin] = np.random.default_rng(row).standard_normal(WIDTH)
        return rows

    (tmp_path / "model.pt.toml").write_text(SPEC.format(source=write(tmp_path, x, y)))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 3))
    torch.jit.save(torch.jit.trace(net, torch.zeros(2, WIDTH)), tmp_path / "model.pt")
    for words in (("--limit", "2000", "--stratify"), ("--data-rtol", "0.03")):
        line = [sys.executable, "-c", RUN, "trace", "model.pt", "-l", "2", *words, "--no-verify", "--format", "json"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False)
        assert done.returncode == 0, done.stderr
        peak = int(done.stderr.split()[-1])
        assert peak < 1e9 < ROWS * WIDTH * 4 / 3, f"{peak / 1e6:.0f} MB"
        provenance = json.loads(done.stdout)["provenance"]
        assert provenance["available"] == ROWS
        assert provenance["samples"] < ROWS / 10
    assert 0 < provenance["data_error"] <= 0.03
