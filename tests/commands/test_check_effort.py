"""How much of a slow model is checked: within about two minutes, and what is left out says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from curvcli.analysis.check_effort import seconds_per_pass, within_reason
from curvcli.cli.main import run
from curvcli.curvature.diagonal.planner import Plan, plan_diagonal
from curvcli.models.base import Layer, Parameter, Site
from curvcli.report.hdf5.read import read_report

pytestmark = pytest.mark.filterwarnings("ignore")


def model(units: list[int]) -> tuple[list[Layer], dict[str, Plan]]:
    """Dense layers, each with so many units before something smooth."""
    layers, plans = [], {}
    for number, count in enumerate(units):
        p = Parameter(f"l{number}.w", "w", (count, 50), ("out", "in"))
        site = Site(p.name, reached=True, z=p.name, units=count, positions=1, blocker="tanh")
        layers.append(Layer(f"l{number}", "Linear", (p,)))
        plans[f"l{number}"] = plan_diagonal((p,), {p.name: site}, 10)
    return layers, plans


def test_a_quick_model_is_checked_whole() -> None:
    """Every layer, every diagonal."""
    layers, plans = model([5, 20, 40])
    effort = within_reason(layers, plans, 1e-3)
    assert effort.differences == {"l0", "l1", "l2"}
    assert effort.diagonals == {"l0.w", "l1.w", "l2.w"}


def test_of_a_slow_model_layers_at_even_distances_and_the_cheapest_diagonals() -> None:
    """Differences of at least three layers, the first and the last among them; diagonals for a minute."""
    layers, plans = model([40, 5, 20, 5, 40])
    effort = within_reason(layers, plans, 1.1)
    assert effort.diagonals == {"l1.w", "l3.w"}
    effort = within_reason(layers, plans, 30.0)
    assert effort.differences == {"l0", "l2", "l4"}
    assert effort.diagonals == set()
    assert "5 layers take about 17 min 30 s: 3 are tried" in effort.why_no_differences
    assert effort.why_no_diagonal(
        "l2.w", 23
    ) == "its diagonal takes about 34 min 30 s; --budget 23 checks it however " + ("long that takes")


def test_what_is_left_out_is_said_and_a_budget_leaves_nothing_out(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both in the report; neither is a failure."""
    monkeypatch.setattr("curvcli.analysis.numerical_checks.seconds_per_pass", lambda objective, names: 20.0)
    command = ["check", str(work / "model.pt"), "--force", "-o", str(work / "c.h5")]
    assert run(command) == 0
    outcomes = {(row.name, row.subject): row.outcome for row in read_report(work / "c.h5").checks}
    assert outcomes["diagonal", "one.weight"] == "skipped"
    assert outcomes["gradient", "one"] == "passed"
    assert run([*command, "--budget", "100"]) == 0
    outcomes = {(row.name, row.subject): row.outcome for row in read_report(work / "c.h5").checks}
    assert outcomes["diagonal", "one.weight"] == "passed"


def test_the_shortest_pass_counts() -> None:
    """One that other work has slowed does not."""

    class Batch:
        def gradient(self, names: object) -> None:
            pass

    class Objective:
        def batches(self, names: object) -> list[Batch]:
            return [Batch(), Batch()]

    times = iter([0.0, 5.0, 5.0, 6.0, 6.0, 6.5, 6.5, 6.75, *([7.0] * 20)])
    assert seconds_per_pass(Objective(), ["w"], lambda: next(times)) == 0.75  # type: ignore[arg-type]


def test_nothing_is_left_out_of_a_model_without_layers() -> None:
    """There is nothing to leave out."""
    effort = within_reason([], {}, 1.0)
    assert (effort.differences, effort.diagonals) == (frozenset(), frozenset())
