"""Which order reports are put in, and which step each is of."""

from __future__ import annotations

import random

import pytest

from curvcli.errors import UsageError
from curvcli.report.course.order import labels, natural, ordered


def named(report, *names, times=(), models=()):
    reports = []
    for place, name in enumerate(names):
        made = report(name, [])
        run = made.provenance
        created = times[place] if times else "2026-01-01T00:00:00Z"
        model = models[place] if models else run.model_path
        object.__setattr__(run, "created_utc", created)
        object.__setattr__(run, "model_path", model)
        reports.append(made)
    return reports


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["step_9.h5", "step_10.h5", "step_100.h5"], (9, 10, 100)),
        (["epoch=1-step=20.h5", "epoch=2-step=5.h5"], (5, 20)),
        (["epoch1_lr0.1.h5", "epoch3_lr0.01.h5"], (1, 3)),
        (["run/100/report.h5", "run/20/report.h5"], (20, 100)),
        (["v2.10.h5", "v2.9.h5"], (9, 10)),
        (["Steps-7.trace.h5", "steps_3.eigs.h5"], (3, 7)),
    ],
)
def test_the_step_is_the_number_that_is_called_so_or_the_only_one_that_differs(written, names, steps):
    reports = named(written, *names)
    random.Random(0).shuffle(reports)
    found = ordered(reports)
    assert (found.steps, found.order, found.numbered) == (steps, "step", True)


def test_the_models_names_tell_the_step_where_the_reports_do_not(written):
    reports = named(written, "a.h5", "b.h5", "c.h5", models=["ckpt/30.pt", "ckpt/4.pt", "ckpt/200.pt"])
    found = ordered(reports)
    assert found.steps == (4, 30, 200)
    assert found.labels == ("b.h5", "a.h5", "c.h5")
    assert "models" in found.how


def test_without_steps_the_time_decides_and_without_times_the_name(written):
    times = ["2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"]
    found = ordered(named(written, "first.h5", "best.h5", times=times))
    assert (found.labels, found.order, found.steps) == (("best.h5", "first.h5"), "time", (1, 2))
    assert ordered(named(written, "first.h5", "best.h5")).order == "name"


def test_equal_steps_are_ordered_by_time(written):
    times = ["2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"]
    found = ordered(named(written, "step_1.a.h5", "step_1.b.h5", "step_0.c.h5", times=[*times, times[0]]))
    assert found.labels == ("step_0.c.h5", "step_1.b.h5", "step_1.a.h5")


def test_an_order_may_be_chosen(written):
    times = ["2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"]
    reports = named(written, "step_1.h5", "step_2.h5", times=times)
    assert ordered(reports, "time").labels == ("step_2.h5", "step_1.h5")
    assert not ordered(reports, "time").numbered  # steps that run backwards are no axis
    assert ordered(reports, "name").labels == ("step_1.h5", "step_2.h5")
    with pytest.raises(UsageError, match=r"no number that tells the step: first\.h5, best\.h5"):
        ordered(named(written, "first.h5", "best.h5"), "step")


def test_names_sort_as_a_person_sorts_them():
    names = [f"layer{i}/x" for i in range(12)] + ["layer", "layers"]
    shuffled = random.Random(1).sample(names, len(names))
    assert sorted(shuffled, key=natural) == ["layer", *(f"layer{i}/x" for i in range(12)), "layers"]
    natural("1" * 10_000)  # no number is too long


def test_labels_leave_out_the_folders_that_all_share():
    assert labels(["run/a/1.h5", "run/b/1.h5"]) == ("a/1.h5", "b/1.h5")
    assert labels(["a.h5", "b/c.h5"]) == ("a.h5", "b/c.h5")
    assert labels(["/x/a.h5", "b/c.h5"]) == ("/x/a.h5", "b/c.h5")
