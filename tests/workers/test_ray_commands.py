"""The command line with Ray's actors: the same report, Ctrl-C that leaves nobody behind, and resuming."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

from curvcli.cli.main import run

pytest.importorskip("ray", reason="Ray is not installed: pip install 'curvcli[ray]'")

MODEL = Path(__file__).parents[2] / "sample_models" / "mlp_tanh.pt"
LINE = (
    "trace {model} --whole-model --layer fc3 --method hutchinson --probes {probes} --limit 24 --batch-size 8 -o {out}"
)


def datasets(path: Path) -> dict[str, bytes]:
    """All arrays of a report, to the bit, but the command that was typed."""
    arrays: dict[str, bytes] = {}

    def take(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and name != "provenance/command":
            values = np.asarray(node[()])
            arrays[name] = str(values.tolist()).encode() if values.dtype.kind == "O" else values.tobytes()

    with h5py.File(path) as file:
        file.visititems(take)
    return arrays


def started(words: list[str], said: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "OMP_NUM_THREADS": "1"}
    with said.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "curvcli", *words], stdout=subprocess.DEVNULL, stderr=stream, env=environment
        )


def test_a_stopped_run_leaves_nobody_behind_and_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of its longest work, with the state at hand; the report is that of one process."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    alone, several, said = tmp_path / "alone.h5", tmp_path / "several.h5", tmp_path / "said"
    line = LINE.format(model=MODEL, probes=500, out=alone)
    assert run([*shlex.split(line), "-q", "--threads", "1", "--format", "json"]) in (0, 4)
    words = shlex.split(LINE.format(model=MODEL, probes=500, out=several))
    words += shlex.split("--engine ray --workers 2 --threads 1")

    first = started(words, said)
    while first.poll() is None and "traces of 2 blocks" not in said.read_text():
        time.sleep(0.02)
    others = psutil.Process(first.pid).children(recursive=True)
    assert any("ray::" in " ".join(one.cmdline()) for one in others if one.is_running())
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130, said.read_text()
    assert "run the same command again to resume" in said.read_text()
    assert psutil.wait_procs(others, timeout=60)[1] == []

    second = started(words, said)
    assert second.wait(120) in (0, 4), said.read_text()
    assert datasets(several) == datasets(alone)
