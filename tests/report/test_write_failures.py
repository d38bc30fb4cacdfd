"""Writing that fails, or is interrupted: one line, the old report as it was, nothing left behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from curvcli.errors import ReportError, UsageError
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report

FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from curvcli.errors import ReportError
from curvcli.report.records.layers import *
from curvcli.report.hdf5.write import write_report

def layer(i):
    many = tuple(ParameterRecord(label=f"p{k}", name=f"l{i}/p{k}", shape=(40,), axes=("a",), diagonal=np.ones(40))
                 for k in range(200))
    return LayerRecord(name=f"l{i}", kind="k", index=i, parameters=many)

provenance = Provenance(**{name: "" for name in ("model_path model_sha256 dataset_digest spec_text config_json "
    "command_line backend device dtype loss reduction").split()}, seed=0, samples=1, denominator=1.0, loss_value=1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    write_report(Path(sys.argv[1]), map(layer, range(20)), provenance)
except ReportError as error:
    print(error)
"""

INTERRUPTED = """
import random, signal, sys, time
from pathlib import Path
import numpy as np
from curvcli.report.records.layers import *
from curvcli.report.hdf5.write import write_report

def layer(i):
    shape = (300, 200) if i % 4 == 0 else (5, 5)
    weight = ParameterRecord(label="w", name=f"l{i}/w", shape=shape, axes=("a", "b"), diagonal=np.random.rand(*shape))
    return LayerRecord(name=f"l{i}", kind="k", index=i, parameters=(weight,))

layers = [layer(i) for i in range(16)]
provenance = Provenance(**{name: "" for name in ("model_path model_sha256 dataset_digest spec_text config_json "
    "command_line backend device dtype loss reduction").split()}, seed=0, samples=1, denominator=1.0, loss_value=1.0)
path = Path(sys.argv[1])
start = time.perf_counter()
write_report(path, layers, provenance)
whole = time.perf_counter() - start
signal.signal(signal.SIGALRM, signal.default_int_handler)
random.seed(0)
interrupted = 0
for _ in range(40):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.random() * whole)
        write_report(path, layers, provenance)
        time.sleep(whole)
    except KeyboardInterrupt:
        interrupted += 1
print(interrupted)
"""


def test_source_date_epoch_that_is_no_number_is_refused(tmp_path, layers, provenance, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH='yesterday'"):
        write_report(tmp_path / "r.h5", layers, provenance)
    assert list(tmp_path.iterdir()) == []


def test_missing_directory_is_one_line(tmp_path, layers, provenance):
    with pytest.raises(ReportError, match="the directory does not exist") as caught:
        write_report(tmp_path / "no" / "r.h5", layers, provenance)
    assert "\n" not in str(caught.value)


def test_an_error_midway_leaves_the_old_report_and_no_temporary_file(tmp_path, layers, provenance):
    path = tmp_path / "r.h5"
    write_report(path, layers, provenance)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is not after"):
        write_report(path, [layers[1], layers[0]], provenance)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_one_line_and_leaves_the_old_report(tmp_path, layers, provenance):
    path = tmp_path / "r.h5"
    write_report(path, layers, provenance)
    before = path.read_bytes()
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.startswith(f"{path}: the file grew past the size limit")
    assert child.stdout.count("\n") == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="needs timers that send signals")
def test_an_interrupt_at_any_moment_is_a_clean_one(tmp_path):
    path = tmp_path / "r.h5"
    child = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (child.returncode, child.stderr, child.stdout) == (0, "", "40\n")
    assert list(tmp_path.iterdir()) == [path]
    assert len(read_report(path).layers) == 16
