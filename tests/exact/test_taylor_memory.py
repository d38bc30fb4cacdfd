"""Taylor coefficients within a memory limit: what they take is counted, and fewer coordinates go through together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sessions import session_of
from torch import nn

from curvcli.curvature.pointwise.inputs import InputPlan, InputTask
from curvcli.models.pointwise import SampleFunction
from curvcli.models.taylor.held import bytes_held, most_alive
from curvcli.report.hdf5.read import read_report

from .conftest import ROOT, SAMPLES

pytestmark = pytest.mark.filterwarnings("ignore")
MODELS = ROOT / "sample_models"


def test_what_is_held_at_the_same_time_is_counted() -> None:
    """A diamond, by hand: x; x and a; x, a and b; a, b and their sum, without x."""
    operations = [(["a"], []), (["b"], ["x"]), (["c", "constant"], ["a", "b"])]
    assert most_alive(["x"], operations, {"x": 5, "a": 7, "b": 3, "c": 2}) == 5 + 7 + 3
    assert most_alive(["x"], operations, {"x": 5, "a": 7, "b": 3, "c": 6}) == 7 + 3 + 6
    assert most_alive(["x"], [], {"x": 5}) == 5
    # Of order 4 the first three coefficients are held.
    assert bytes_held(15, 7, 4, 8) - bytes_held(0, 7, 4, 8) == 3 * 15 * 8


@pytest.mark.parametrize("model", ["poisson_tanh.pt", "poisson_tanh"])
def test_fewer_coordinates_go_through_together(model: str) -> None:
    """Halved until they fit; one where nothing does."""
    objective = session_of(MODELS / model, limit=4, batch_size=4).objective
    function, inputs = SampleFunction("u", "u"), ("point",)
    batch = next(iter(objective.input_batches(function, inputs)))
    plan = InputPlan("taylor", coordinates=(1, 0), order=3, orders=True)
    needed = batch.series().held(2)
    assert needed >= 8 * 4 * 2
    assert batch.series().held(3) > needed

    def together(room: int | None) -> int:
        return InputTask(function, inputs, replace(plan, room=room), 4).cut(batch).segments[1].at_once

    assert [together(room) for room in (None, 2 * needed, 2 * needed - 1, 0)] == [2, 2, 1, 1]


def test_a_limit_that_cannot_be_met_is_told(
    compute: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And costs no digit: one coordinate at a time, the same numbers as without a limit."""
    net = nn.Sequential(nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0))
    torch.jit.trace(net, torch.zeros(2, 20)).save(str(tmp_path / "model.pt"))
    data = {"input": np.random.default_rng(3).standard_normal((SAMPLES, 20))}
    records = []
    for limit in ((), ("--memory-limit", "1MiB")):
        code, report = compute(
            "inputs", tmp_path / "model.pt", data, None, 'name = "output"', "--method", "taylor", *limit
        )
        assert code == 0
        records.append(read_report(report).inputs_record("loss"))
        assert ("--memory-limit '1 MiB' can't be met" in capsys.readouterr().err) == bool(limit)
    (whole,), (cut,) = (record.diagonal.values() for record in records)
    assert np.abs(cut - whole).max() <= 1e-12 * np.abs(whole).max()
    assert records[1].method == "taylor"


def test_whole_hessians_fit_or_are_refused(
    compute: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit counts, not only what the machine has."""
    data = {"point": np.zeros((3, 2))}
    code, _ = compute("inputs", MODELS / "poisson_tanh.pt", data, None, 'name = "output"', "--full")
    assert code == 0
    options = ("--full", "--memory-limit", "1MiB")
    code, _ = compute("inputs", MODELS / "poisson_tanh.pt", data, None, 'name = "output"', *options)
    assert code == 2
    assert "2 × 2 entries for each of 3 samples" in (said := capsys.readouterr().err)
    assert "more than --memory-limit leaves (0 KiB)" in said
