"""What has a cluster's files open is ended with it, and nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from curvcli.engine.workers.guardian import end_all

HOLDER = "import sys; file = open(sys.argv[1], 'w'); print('open', flush=True); sys.stdin.read()"


def holding(path: Path) -> subprocess.Popen[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_processes_are_known_by_their_open_files(tmp_path: Path) -> None:
    """A folder whose name only begins alike is another's, and the driver lives on."""
    own, other = tmp_path / "cluster", tmp_path / "cluster2"
    victim, bystander = holding(own / "logs" / "agent.log"), holding(other / "agent.log")
    driver = holding(own / "logs" / "driver.log")
    try:
        end_all(own, driver.pid)
        assert victim.wait(30) < 0
        assert bystander.poll() is None
        assert driver.poll() is None
        assert not own.exists()
        assert other.exists()
    finally:
        for process in (victim, bystander, driver):
            process.communicate()
