"""A signal is acted on within seconds, in the middle of a call that takes a minute too; and what was kept is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# One call of the framework, which no Python handler can interrupt: it sleeps in C and holds no lock, as they do.
LONG_CALL = """
import ctypes, os, signal, sys
from curvcli.cli.main import run
from curvcli.models.torch.batch import TorchBatch
calls, last = 0, int(sys.argv[1])
entries = TorchBatch.hessian_diagonal_entries
def long_call(self, *arguments):
    global calls
    calls += 1
    if calls == last:
        print("in the call", flush=True)
        libc = ctypes.CDLL(None)
        for _ in range(30):
            left = libc.sleep(60)
    return entries(self, *arguments)
TorchBatch.hessian_diagonal_entries = long_call
words = sys.argv[2:]
sys.argv = ["curvcli", *words]
sys.exit(run(words, own_process=True))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_in_the_middle_of_a_long_call(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """The first layer is in the partial report; the process ends long before the call does."""
    model, report = ROOT / "sample_models" / "mlp_tanh.pt", tmp_path / "r.h5"
    words = ["diag", str(model), "--layer", "norm", "--layer", "fc3", "--method", "coordinate", "--limit", "8"]
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_CALL, "3", *words, "-o", str(report)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in the call\n"
    sent = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=50)
    assert time.monotonic() - sent < 30  # of a call of half an hour: how long a busy machine takes is not tested
    assert process.returncode == code, said
    assert "run the same command again to resume" in " ".join(said.split())
