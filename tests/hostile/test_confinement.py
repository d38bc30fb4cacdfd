"""The second wall: what a model's code manages to do, the kernel does not let it do to files elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvcli.cli.confinement import landlock_version

from . import torchscripts

needs_landlock = pytest.mark.skipif(landlock_version() < 2, reason="the kernel has no Landlock that can move files")


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run some Python in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def spec_for(folder: Path) -> Path:
    """Data and a spec for the models below."""
    np.savez(folder / "d.npz", x=np.ones((4, 2), np.float32), y=np.ones((4, 1), np.float32))
    (folder / "d.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "d.npz"\n[inputs.x]\ncolumn = "x"\n[target]\ncolumn = "y"\n'
        '[loss]\nname = "mse"\n'
    )
    return folder / "d.toml"


_TRY = """
import sys, tempfile, threading
from pathlib import Path
from curvcli.cli import confinement
report, elsewhere = map(Path, sys.argv[1:3])
if sys.argv[3] == "ours":
    confinement.process_is_ours()
confinement.confine([report])
def attempt(what, act):
    try:
        act()
        print(what, "done")
    except PermissionError:
        print(what, "refused")
parts = report.parent / "parts"
attempt("report", lambda: report.write_text("x"))
attempt("folder", parts.mkdir)
attempt("part", lambda: (parts / "p").write_text("x"))
attempt("moved", lambda: (parts / "p").replace(report))
attempt("temporary", lambda: tempfile.NamedTemporaryFile().close())
attempt("null", lambda: open("/dev/null", "w").close())
attempt("new", lambda: (elsewhere / "new").write_text("x"))
attempt("old", lambda: (elsewhere / "old").write_text("x"))
attempt("cut", lambda: __import__("os").truncate(elsewhere / "old", 0))
attempt("removed", lambda: (elsewhere / "old").unlink())
attempt("moved out", lambda: report.replace(elsewhere / "report"))
thread = threading.Thread(target=attempt, args=("thread", lambda: (elsewhere / "thread").write_text("x")))
thread.start()
thread.join()
attempt("read", (elsewhere / "old").read_text)
"""


@needs_landlock
def test_only_the_reports_folder_and_a_temporary_one_can_be_written(tmp_path: Path) -> None:
    """Creating, changing, cutting, removing and moving are refused elsewhere, in threads too; reading is not."""
    for name in ("out", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere" / "old").write_text("kept")
    done = python(_TRY, tmp_path / "out" / "r.h5", tmp_path / "elsewhere", "ours")
    outcome = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    allowed = {"report", "folder", "part", "moved", "temporary", "null", "read"}
    assert {name for name, how in outcome.items() if how == "done"} == allowed, done.stderr
    assert len(outcome) == 13
    assert (tmp_path / "elsewhere" / "old").read_text() == "kept"


@needs_landlock
def test_the_process_of_whoever_imports_curvcli_is_never_confined(tmp_path: Path) -> None:
    """A notebook goes on writing where it likes."""
    for name in ("out", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere" / "old").write_text("x")
    done = python(_TRY, tmp_path / "out" / "r.h5", tmp_path / "elsewhere", "theirs")
    assert "new done" in done.stdout


_WITHOUT_THE_LIST = """
import sys
import curvcli.models.torch.archive as archive
archive.refused_operators = lambda texts: []
from curvcli.__main__ import main
sys.argv[0] = "curvcli"
main()
"""


@needs_landlock
@pytest.mark.parametrize("name", torchscripts.MODULES)
def test_what_the_list_would_let_through_still_can_not_write(name: str, tmp_path: Path) -> None:
    """With the list of operators switched off, the file is as it was."""
    (tmp_path / "model").mkdir()
    target = tmp_path / "target"
    target.write_bytes(bytes(16))
    model = torchscripts.save(name, str(target), tmp_path / "model")
    target.write_bytes(bytes(16))
    done = python(_WITHOUT_THE_LIST, "diag", model, "--data", spec_for(tmp_path), "-o", tmp_path / "model" / "r.h5")
    assert done.returncode in (0, 3), done.stderr  # torch does not notice that nothing was written
    assert target.read_bytes() == bytes(16)


class Talkative(nn.Module):
    """Prints in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        print("a word from the model")  # noqa: T201 - that is the case
        return self.layer(x)


def test_what_a_model_prints_is_not_among_the_results(tmp_path: Path) -> None:
    """Standard output is the JSON, and nothing else."""
    torch.jit.save(torch.jit.script(Talkative().eval()), tmp_path / "m.pt")
    done = subprocess.run(
        [sys.executable, "-m", "curvcli", "diag", "m.pt", "--data", str(spec_for(tmp_path)), "--format", "json", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["layers"]
    assert "a word from the model" in done.stderr
