"""Rules as they are written, and reports held against them."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest

from curvcli.errors import UsageError
from curvcli.report.rules.judge import Rules, judge
from curvcli.report.rules.rule import Bound, parse_bound


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("trace=50", Bound("max", "", "trace", 50.0)),
        ("conv*:top_eigenvalue=1e3", Bound("max", "conv*", "top_eigenvalue", 1000.0)),
        ("re:^a:b=c$:eigenvalue_3=-0.5", Bound("max", "re:^a:b=c$", "eigenvalue_3", -0.5)),
        ("block/kernel:0:trace_stderr=2", Bound("max", "block/kernel:0", "trace_stderr", 2.0)),
        ("loss=2", Bound("max", "", "loss", 2.0)),
    ],
)
def test_a_rule_is_read_from_its_end(text, bound):
    """Names of layers may hold colons and equals signs."""
    assert parse_bound("max", text) == bound


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trace", "not a rule"),
        ("50", "not a rule"),
        ("tarce=5", "did you mean trace"),
        ("conv:eigenvalue_0=5", "no quantity 'eigenvalue_0'"),
        ("conv:=5", "no quantity ''"),
        (":trace=5", "pattern is empty"),
        ("trace=lots", "'lots' is not a finite number"),
        ("trace=", "'' is not a finite number"),
        ("trace=nan", "not a finite number"),
        ("trace=inf", "not a finite number"),
        ("conv:loss=5", "belongs to no layer"),
    ],
)
def test_mistakes_in_a_rule_are_named(text, told):
    """With the option and the rule as it was typed."""
    with pytest.raises(UsageError, match=told) as refusal:
        parse_bound("min", text)
    assert f"--min {text}" in str(refusal.value)


@pytest.fixture
def of_trace(written, make_bare, make_quantity):
    """``of_trace(value, …)``: a report of a trace alone, exact unless something else is said."""

    def make(value, **changes):
        settings = {"exact": True, "stderr": 0.0, "method": "gauss_newton"} | changes
        return written("r.h5", [make_bare(trace=make_quantity("trace", value=value, **settings))])

    return make


def verdicts(report, *bounds, **rules):
    found = judge(report, Rules(bounds=[replace(b, layers=b.layers or ("conv",)) for b in bounds], **rules))
    return [judgement.holds for judgement in found.judgements]


@pytest.mark.parametrize(
    ("value", "at_most", "at_least"),
    [(4.0, True, False), (5.0, True, True), (6.0, False, True), (nan, False, False), (inf, False, True)],
)
def test_a_bound_itself_is_allowed_and_nan_never_is(of_trace, value, at_most, at_least):
    """≤ and ≥, whichever side it is on."""
    bounds = parse_bound("max", "trace=5"), parse_bound("min", "trace=5")
    assert verdicts(of_trace(value), *bounds) == [at_most, at_least]


def test_an_estimate_counts_as_it_is_unless_sigma_says_otherwise(of_trace):
    """Few probes must not make a threshold easier to keep; whoever wants to allow for noise says so."""
    report = of_trace(6.0, exact=False, stderr=1.0, method="hutchinson", samples=np.linspace(5, 7, 50))
    bound = parse_bound("max", "trace=5")
    assert verdicts(report, bound) == [False]
    assert verdicts(report, bound, sigma=2.0) == [True]
    (judgement,) = judge(report, Rules(bounds=[replace(bound, layers=("conv",))], sigma=2.0)).judgements
    assert judgement.note.startswith("beyond by 1, within its error of 2.0")
    assert verdicts(report, bound, sigma=0.5) == [False]


def test_few_probes_excuse_nothing(of_trace):
    """The spread of two estimates is as likely to be huge: what compare does not take for an error bar is none."""
    bound = parse_bound("max", "trace=5")
    for samples in (np.array([1.0, 11.0]), np.full(9, 6.0)):
        settings = {"exact": False, "method": "hutchinson", "stderr": float(np.ptp(samples)) / 2}
        report = of_trace(6.0, samples=samples, **settings)
        (judgement,) = judge(report, Rules(bounds=[replace(bound, layers=("conv",))], sigma=4.0)).judgements
        assert (judgement.holds, judgement.error) == (False, 0.0)
        assert "too few for an error bar" in judgement.note
        assert verdicts(report, parse_bound("max", "trace=6"), sigma=4.0) == [True]


@pytest.mark.parametrize(
    ("field", "quantity", "side", "below", "above"),
    [
        ("block", "condition_number", "max", 49.0, 51.0),
        ("density", "support_max", "max", 239.0, 241.0),
        ("density", "support_min", "min", -7.0, -9.0),
        ("density", "weight_at_zero", "min", 0.9, 0.01),
    ],
)
def test_a_bound_on_the_wrong_side_never_keeps_a_threshold(  # noqa: PLR0917
    written, make_bare, make_quantity, field, quantity, side, below, above
):
    """It breaks one that lies beyond it; on the other it says nothing, and that is no success."""
    changes: dict[str, object] = {"exact": False}
    if field == "block":
        nothing = dict.fromkeys(("entries", "eigenvalues", "inertia"))
        changes |= {**nothing, "method": "probes", "condition": 50.0, "condition_is_bound": True}
    report = written("r.h5", [make_bare(**{field: make_quantity(field, **changes)})])
    assert verdicts(report, parse_bound(side, f"{quantity}={below}")) == [False]
    with pytest.raises(UsageError, match=f"{quantity}=.* can't be decided: of conv only an? (lower|upper) bound"):
        verdicts(report, parse_bound(side, f"{quantity}={above}"))
    other = "min" if side == "max" else "max"
    assert verdicts(report, parse_bound(other, f"{quantity}={below}")) == [True]


@pytest.mark.parametrize("rule", ["diagonal_relative_stderr=1", "negative_share=1", "gradient_norm=1e9"])
def test_what_came_of_a_broken_computation_keeps_no_threshold(written, make_layer, rule):
    """A share of NaN entries is no share, and what else there is may be of the same breakdown."""
    diagonal = np.ones((3, 4))
    diagonal[0, 0] = nan
    report = written("r.h5", [make_layer("conv", diagonal=diagonal, status="nonfinite")])
    assert np.isnan([report.layers[0].negative_share, report.layers[0].diagonal_relative_stderr]).all()
    assert verdicts(report, parse_bound("max", "products=1e9")) == [True]
    if rule.startswith("diagonal_rel"):  # not a number, and so not there
        with pytest.raises(UsageError, match="was not computed"):
            verdicts(report, parse_bound("max", rule))
        return
    bound = replace(parse_bound("max", rule), layers=("conv",))
    (judgement,) = judge(report, Rules(bounds=[bound])).judgements
    assert not judgement.holds
    assert judgement.note.startswith("nonfinite") or isnan(judgement.value)


def test_eigenvalues_that_are_no_numbers_are_not_counted(written, make_bare, make_quantity):
    """None of them is zero, and none the largest in magnitude; a threshold on them is broken."""
    block = make_quantity("block", eigenvalues=np.full(16, nan), inertia=(0, 16, 0), condition=inf)
    report = written("r.h5", [make_bare(block=block, status="nonfinite")])
    assert report.layers[0].inertia is None
    assert isnan(report.layers[0].condition_number)
    bounds = [parse_bound("max", f"{name}=1e9") for name in ("negative_eigenvalues", "condition_number")]
    assert verdicts(report, *bounds, parse_bound("min", "zero_eigenvalues=0")) == [False] * 3


def test_the_reason_for_a_method_is_none_for_a_failure(written, make_layer):
    """A diagonal is told to be not finite, not that it was made of products."""
    layer = make_layer("conv", status="nonfinite", reason="sqrt after it is not piecewise linear")
    (judgement, _) = judge(written("r.h5", [layer]), Rules(bounds=[], finite=True, layers=["conv"])).judgements
    assert judgement.note == "nonfinite"


def test_a_threshold_says_when_it_is_of_another_matrix(of_trace):
    """The Gauss–Newton matrix has no negative eigenvalues whatever the Hessian has."""
    bound = replace(parse_bound("max", "trace=5"), layers=("conv",))
    (judgement,) = judge(of_trace(4.0, matrix="gauss_newton"), Rules(bounds=[bound])).judgements
    assert (judgement.holds, judgement.note) == (True, "of the Gauss–Newton matrix")


def test_a_threshold_for_what_is_not_there_is_a_mistake(of_trace):
    """It must not pass."""
    with pytest.raises(UsageError, match="condition_number was not computed for conv"):
        verdicts(of_trace(1.0), parse_bound("max", "condition_number=5"))


def test_the_top_eigenvalue_is_not_there_when_the_smallest_were_asked_for(written, make_bare, make_quantity):
    """The largest of the smallest eigenvalues is below every threshold, and says nothing."""
    for which, top, smallest in (
        ("smallest", False, True),
        ("largest", True, False),
        ("both", True, True),
        ("magnitude", True, False),
    ):
        eigen = make_quantity("eigen", which=which, values=np.array([3.0, 2, 1]), vectors=None)
        report = written("r.h5", [make_bare(eigen=eigen)])
        for quantity, there in (("top_eigenvalue", top), ("smallest_eigenvalue", smallest)):
            bound = parse_bound("max", f"{quantity}=5")
            if there:
                assert verdicts(report, bound) == [True]
            else:
                with pytest.raises(UsageError, match=f"{quantity} was not computed"):
                    verdicts(report, bound)


def test_an_eigenvalue_that_has_not_converged_is_flagged(written, make_bare, make_quantity):
    """The threshold is held against what there is; --converged is the rule against it."""
    eigen = make_quantity("eigen", converged=np.array([False, True, True]), vectors=None)
    report = written("r.h5", [make_bare(eigen=eigen, status="not_converged")])
    found = judge(
        report,
        Rules(
            bounds=[replace(parse_bound("max", "top_eigenvalue=1e9"), layers=("conv",))],
            converged=True,
            layers=["conv"],
        ),
    )
    bound, converged = found.judgements
    assert (bound.holds, bound.note) == (True, "not converged")
    assert (converged.holds, converged.note) == (False, "2 of 3 eigenvalues have converged")


def test_finite_is_about_every_result_and_the_loss(written, make_layer, make_bare, make_quantity):
    """A NaN anywhere, or a layer that failed, or of which nothing is there; a singular block is finite."""
    singular = make_quantity("block", condition=inf)
    layers = [
        make_layer("fine", 0),
        make_layer("nan", 1, diagonal=np.full((3, 4), np.nan), status="nonfinite"),
        make_layer("dear", 2, diagonal=None, method="", status="over_budget", reason="needs 36864 products"),
        make_bare("empty", 3),
        make_bare("singular", 4, block=singular),
    ]
    report = written("r.h5", layers, loss_value=nan)
    names = [layer.name for layer in layers]
    found = {j.layer: j for j in judge(report, Rules(bounds=[], finite=True, layers=names)).judgements}
    assert {name: judgement.holds for name, judgement in found.items()} == {
        "fine": True,
        "nan": False,
        "dear": False,
        "empty": False,
        "singular": True,
        None: False,
    }
    assert "trace is nan" in found["nan"].note
    assert found["dear"].note == "over budget: needs 36864 products"
    assert found["empty"].note == "nothing was computed"
    assert found[None].note == "the loss is nan"


def test_a_trace_that_has_not_met_its_tolerance_has_not_converged(of_trace):
    """Whatever the layer's status."""
    rules = Rules(bounds=[], converged=True, layers=["conv"])
    assert [j.holds for j in judge(of_trace(1.0, converged=False), rules).judgements] == [False]
    assert [j.holds for j in judge(of_trace(1.0), rules).judgements] == [True]


def test_exact_names_what_is_an_estimate(written, make_layer, make_quantity):
    """Of all that was computed of the layer."""
    estimated = make_layer("a", 0, exact=False, method="hutchinson", diagonal_stderr=np.ones((3, 4)))
    layers = [replace(estimated, trace=make_quantity("trace")), make_layer("b", 1)]
    found = judge(written("r.h5", layers), Rules(bounds=[], exact=True, layers=["a", "b"])).judgements
    assert [judgement.holds for judgement in found] == [False, True]
    assert found[0].note == "estimated: kernel by hutchinson, trace by hutchinson"


def test_no_rule_is_a_mistake(of_trace):
    """An empty list of rules is not kept, it is empty."""
    with pytest.raises(UsageError, match="no rule"):
        judge(of_trace(1.0), Rules(bounds=[]))
