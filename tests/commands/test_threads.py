"""Threads: as many as requested, else as the user has set, else as the process may use; recorded, and put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

import curvcli
from curvcli.cli.main import run
from curvcli.models.processors import affinity, available_processors, cpu_quota
from curvcli.models.torch.threads import _waiting_briefly
from curvcli.report.hdf5.read import read_report

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """On one thread within."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def group(folder: Path, limit: str) -> None:
    """A control group of version 2."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(limit)


@pytest.mark.parametrize(
    ("limit", "quota"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("50000 100000\n", 0.5),
        ("0 0\n", None),
        ("-1 100000\n", None),
        ("nan 100000\n", None),
        ("1e400 1\n", None),
        ("1e308 1e-300\n", None),
        ("1e-300 1e308\n", None),
        ("", None),
        ("a b c\n", None),
        ("\x00" * 50, None),
    ],
)
def test_a_containers_quota(limit: str, quota: float | None, tmp_path: Path) -> None:
    """Version 2, at the root, as a container sees its own group; what is no limit is none."""
    group(tmp_path, limit)
    assert cpu_quota(tmp_path, tmp_path / "no such file") == quota


def test_the_smallest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    """A service's group may have a limit, and so may the slice that it is in."""
    membership = tmp_path / "cgroup"
    membership.write_text("0::/system.slice/job.service\n")
    group(tmp_path / "system.slice" / "job.service", "400000 100000")
    assert cpu_quota(tmp_path, membership) == 4
    group(tmp_path / "system.slice", "300000 100000")
    assert cpu_quota(tmp_path, membership) == 3
    membership.write_bytes(b"0::/../../etc\n\xff\n:::\n")
    assert cpu_quota(tmp_path, membership) is None


def test_a_quota_of_version_1(tmp_path: Path) -> None:
    """-1 is none."""
    membership = tmp_path / "cgroup"
    membership.write_text("4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    folder = tmp_path / "cpu,cpuacct" / "docker" / "abc"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    for text, quota in (("-1\n", None), ("250000\n", 2.5)):
        (folder / "cpu.cfs_quota_us").write_text(text)
        assert cpu_quota(tmp_path, membership) == quota


@pytest.mark.parametrize(("quota", "processors"), [(None, 8), (2.5, 3), (0.1, 1), (64.0, 8)])
def test_processors_by_mask_and_quota(quota: float | None, processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a processor is rounded up: it can be kept busy for that part of the time."""
    monkeypatch.setattr("curvcli.models.processors.affinity", lambda: 8)
    monkeypatch.setattr("curvcli.models.processors.cpu_quota", lambda: quota)
    assert available_processors() == processors


def test_the_number_requested_is_in_the_report(work: Path) -> None:
    """By the option; without it, what the process has is left as it is."""
    command = ["diag", str(work / "model.pt"), "-q", "-o", str(work / "r.h5")]
    assert run([*command, "--threads", "3"]) == 0
    assert (read_report(work / "r.h5").provenance.threads, torch.get_num_threads()) == (3, 3)
    torch.set_num_threads(2)
    assert run(command) == 0
    assert read_report(work / "r.h5").provenance.threads == 2


@pytest.mark.parametrize("number", ["0", "-1", "1025", "2.5", "many", "9" * 50])
def test_other_numbers_are_refused(number: str, work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """On the command line and in Python."""
    assert run(["diag", str(work / "model.pt"), "--threads", number]) == 2
    assert "--threads" in capfd.readouterr().err
    with pytest.raises(curvcli.UsageError, match="threads: must be"):
        curvcli.diagonal(work / "model.pt", threads=number)  # type: ignore[arg-type]


def blas_threads() -> list[int]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_a_call_in_python_puts_back_what_it_changed(work: Path) -> None:
    """Torch's threads and those of NumPy's products, after a call, an error, and a model opened for other threads."""
    torch.set_num_threads(2)
    before = blas_threads()
    report = curvcli.run(work / "model.pt", diag={}, threads=3)
    assert (report.provenance.threads, torch.get_num_threads(), blas_threads()) == (3, 2, before)
    with pytest.raises(curvcli.UsageError, match="No layer"):
        curvcli.diagonal(work / "model.pt", layer="nothing", threads=3)
    assert (torch.get_num_threads(), blas_threads()) == (2, before)
    model = curvcli.open_model(work / "model.pt", threads=3)
    assert (model.threads, torch.get_num_threads()) == (3, 2)
    assert curvcli.run(model, diag={}).provenance.threads == 3
    assert curvcli.run(model, diag={}, threads=1).provenance.threads == 1
    assert torch.get_num_threads() == 2


def test_how_threads_wait_is_the_users_where_he_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set while the library is loaded, and gone after it; never over what is set."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    with _waiting_briefly():
        assert os.environ["GOMP_SPINCOUNT"] == "1000"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with _waiting_briefly():
        assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    with _waiting_briefly():
        assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_the_affinity_mask_counts() -> None:
    """As the system has it."""
    assert affinity() == len(os.sched_getaffinity(0))
