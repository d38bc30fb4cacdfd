"""What is said before long work: exact costs, estimates with the error to be expected, and what else there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sessions import session_of
from torch import nn

from curvcli.analysis.options.quantities import DiagonalOptions, EigenOptions
from curvcli.analysis.options.record import Options
from curvcli.analysis.options.shared import Selection
from curvcli.analysis.outlook import Estimate, Outlook, outlook
from curvcli.analysis.plan import chosen_targets
from curvcli.analysis.quantities.base import RunPlan
from curvcli.analysis.quantities.registry import QUANTITIES
from curvcli.analysis.session import Session
from curvcli.curvature.diagonal.exact import ExactDiagonal
from curvcli.engine.serial import SerialEngine
from curvcli.errors import NotFiniteError
from curvcli.models.base import Array
from curvcli.wording import in_python, in_shell

from .conftest import SPEC

pytestmark = pytest.mark.filterwarnings("ignore")
ROOMY = 1 << 30


class Clock:
    """Every look at it is a second later than the one before, or more."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def looked(session: Session, options: Options, name: str, tick: float, *, whole: bool = False) -> Outlook:
    run = RunPlan(session, chosen_targets(session, Selection(whole_model=whole)), ROOMY, verify=False)
    quantity = QUANTITIES[name].plan(run, options)
    own = options if isinstance(options, DiagonalOptions) else None
    return outlook(name, run, quantity.plan(), own, timed=False, clock=Clock(tick))


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A dense net of 40 and 80 tanh units: only products see how the first depend on each other."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((37, 6)), y=rng.integers(0, 3, 37))
    (tmp_path / "wide.pt.toml").write_text(SPEC.replace("inputs.x", "inputs.input"))
    net = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 80), nn.Tanh(), nn.Linear(80, 3))
    torch.jit.save(torch.jit.script(net), tmp_path / "wide.pt")
    return tmp_path / "wide.pt"


@pytest.fixture
def session(work: Path) -> Session:
    return session_of(work / "model.pt")


def test_short_work_is_not_timed_nor_told(session: Session) -> None:
    """A forward pass that takes a moment says enough."""
    short = looked(session, DiagonalOptions(), "diag", 1e-4)
    assert not short.long
    assert (short.product, short.estimates, short.others) == (None, (), {})


def test_costs_are_counted_passes_at_the_measured_rate(session: Session) -> None:
    """Columns are a backward pass each, products two; of a later layer they go through what is behind it alone."""
    told = looked(session, DiagonalOptions(method="coordinate"), "diag", 10.0)
    batches, entries = 3, {"one.weight": 24, "one.bias": 6, "two.weight": 18, "two.bias": 3}
    for name, count in entries.items():
        behind = 1.0 if name.startswith("one") else 0.5
        passes = count + 1  # the first derivative
        assert told.seconds[f"coordinate:{name}"] == pytest.approx(10 * batches * passes * 2 * behind)
    assert told.long
    assert told.total == pytest.approx(sum(told.seconds.values()))
    columns = looked(session_of(session.path), DiagonalOptions(), "diag", 10.0).seconds[
        "gauss_newton:two.weight,two.bias"
    ]
    assert columns == pytest.approx(10 * batches * (3 + 2) * 0.5)


def test_the_line_names_commands_in_the_readers_words() -> None:
    """As typed, or as called; what is not known is left out."""
    estimates = (Estimate(64, 61.0, 0.213), Estimate(512, 480.0, None))
    told = Outlook("diag", {"a": 43200.0}, False, " (coordinate for 14 layers)", estimates, 0, 1.25)
    assert in_shell(told.line()) == (
        "exact: about 12 h 0 min (coordinate for 14 layers); estimates: --budget 64 1 min 1 s to about 20 %, "
        "--budget 512 --probes 512 8 min 0 s; curvcli trace --whole-model --probes 16 about 20 s; "
        "curvcli eigs --whole-model about 38 s"
    )
    assert "trace(…, whole_model=True, probes=16) about 20 s" in in_python(told.line())
    assert "budget=512 probes=512 8 min" in in_python(told.line())
    few = Outlook("eigs", {"a": 300.0}, True, "", (), 3, 2.0)
    assert in_shell(few.line()) == "eigs: at most 5 min 0 s"
    assert told.record()["estimates"][0] == {"budget": 64, "probes": 64, "seconds": 61.0, "relative_error": 0.213}


def test_other_commands_are_told_their_own_cost_alone(session: Session) -> None:
    """Whoever wants eigenvalues is not offered others."""
    told = looked(session, EigenOptions(k=1), "eigs", 1000.0, whole=True)
    assert told.long
    assert not told.estimates
    assert told.line().startswith("eigs: ")


def test_the_error_foretold_is_the_error_that_comes(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a factor of two, of the layer whose exact diagonal is dearer than probes; exact is what fits."""
    session = session_of(wide, dtype="float32")
    monkeypatch.setattr("curvcli.analysis.outlook._FEW", 16)
    monkeypatch.setattr("curvcli.analysis.outlook._PILOT_SECONDS", float("inf"))
    told = looked(session, DiagonalOptions(), "diag", 100.0)
    estimate = told.estimates[0]
    assert estimate.probes == 16
    assert estimate.error is not None
    assert estimate.seconds < told.total

    exact, estimated = (diagonals(session, DiagonalOptions(budget=budget, probes=16)) for budget in (None, 16))
    errors = [np.linalg.norm(estimated[name] - values) / np.linalg.norm(values) for name, values in exact.items()]
    error = float(max(errors))
    assert estimate.error / 2 < error < 2 * estimate.error


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_costs_are_told_of_a_loss_that_is_no_number(number: float, wide: Path) -> None:
    """What decides how a diagonal is had would be wrong, and the run would refuse it."""
    net = torch.jit.load(wide)
    next(net.parameters()).data[:] = number
    torch.jit.save(net, wide)
    with pytest.raises(NotFiniteError, match="on batch 0 of"):
        looked(session_of(wide), DiagonalOptions(), "diag", 1e-4)


def test_no_error_is_foretold_where_squares_overflow(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of 1e210: their squares are no numbers, and what is printed for programs is JSON in any case."""
    net = torch.jit.load(wide).double()
    for parameter in list(net.parameters())[-2:]:
        parameter.data *= 1e105
    torch.jit.save(net, wide)
    spec = wide.with_name("wide.pt.toml")
    spec.write_text(spec.read_text().replace('"cross_entropy"\nfrom_logits = true', '"mse"'))
    rng = np.random.default_rng(0)
    np.savez(wide.with_name("data.npz"), x=rng.standard_normal((37, 6)), y=rng.standard_normal((37, 3)))
    monkeypatch.setattr("curvcli.analysis.outlook._FEW", 16)
    monkeypatch.setattr("curvcli.analysis.outlook._PILOT_SECONDS", float("inf"))
    session = session_of(wide)
    with np.errstate(over="raise", invalid="raise"):  # a warning would stand beside the line
        told = looked(session, DiagonalOptions(), "diag", 100.0)
    assert [one.error for one in told.estimates] == [None] * len(told.estimates)
    assert told.estimates
    json.dumps(told.record(), allow_nan=False)


def diagonals(session: Session, options: DiagonalOptions) -> dict[str, Array]:
    """Each parameter's, of the data alone."""
    run = RunPlan(session, chosen_targets(session, Selection()), ROOMY, verify=False)
    values: dict[str, Array] = {}
    for work in QUANTITIES["diag"].plan(run, options).work:
        work.run(SerialEngine(session.objective))
        exact = isinstance(work.result, ExactDiagonal)
        values |= work.result.values if exact else {name: one.value for name, one in work.result.items()}
    return values
