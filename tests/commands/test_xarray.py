"""The report of every command opens in xarray, each of its groups with named dimensions."""

from __future__ import annotations

from pathlib import Path

import pytest
from named_axes import assert_named

from .conftest import Curvcli

RUN = """model = "model.pt"
layer = ["*"]
output = "r.h5"
[diag]
[trace]
method = "hutchinson"
[eigs]
vectors = true
[density]
"""


@pytest.mark.parametrize(
    "words",
    [
        "diag model.pt -o r.h5",
        "diag model.pt --method hutchinson -o r.h5",
        "trace model.pt --method xtrace --probes 8 -o r.h5",
        "eigs model.pt --vectors --whole-model -o r.h5",
        "density model.pt --method lanczos -o r.h5",
        "hessian model.pt --layer two -o r.h5",
        "inputs model.pt --limit 5 --full --order 2 -o r.h5",
        "split model.pt --at two --limit 5 -o r.h5",
        "check model.pt --limit 5 -o r.h5",
        "run run.toml",
    ],
)
def test_the_report_of_every_command_opens_group_by_group(words: str, work: Path, curvcli: Curvcli) -> None:
    (work / "run.toml").write_text(RUN)
    done = curvcli(*words.split(), "-q")
    assert done.returncode in {0, 4}, done.stderr
    assert_named(work / "r.h5")
