"""What counts as a change, and what can be compared at all."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from curvcli.errors import UsageError
from curvcli.report.compare.change import Change, Tolerances
from curvcli.report.compare.comparison import compare


def found(comparison, layer, quantity) -> Change:
    (change,) = (c for c in comparison.changes if (c.layer, c.quantity) == (layer, quantity))
    return change


@pytest.fixture
def pair(written, make_bare, make_quantity):
    """``pair("trace", {…}, {…})``: two reports of one layer with one quantity, changed in each."""

    def make(field: str, old: dict[str, object], new: dict[str, object], **provenance: object):
        layers = [make_bare(**{field: make_quantity(field, **changes)}) for changes in (old, new)]
        return (written("old.h5", [layers[0]]), written("new.h5", [layers[1]], **provenance))

    return make


EXACT = {"exact": True, "stderr": 0.0, "samples": np.zeros(0), "method": "gauss_newton"}
PROBES = np.linspace(-1, 1, 40)


def test_a_change_exceeds_tolerance_and_error_bars(pair):
    """Within the tolerance it is the same, beyond it only what the standard errors can't explain has changed."""
    for value, stderr, outcome in (
        (110.0, 1.0, "same"),
        (130.0, 20.0, "within error"),
        (130.0, 1.0, "changed"),
        (70.0, 1.0, "changed"),
    ):
        old, new = pair(
            "trace",
            {"samples": 100 + PROBES, "value": 100.0, "stderr": 1.0},
            {"samples": value + PROBES, "value": value, "stderr": stderr},
            seed=1,
        )
        comparison = compare(old, new, Tolerances())
        assert found(comparison, "conv", "trace").outcome == outcome
        assert comparison.failed == (outcome == "changed")


@pytest.mark.parametrize(
    ("tolerances", "changed"),
    [
        (Tolerances(rtol=0.19), True),
        (Tolerances(rtol=0.21), False),
        (Tolerances(rtol=0.0, atol=1.9), True),
        (Tolerances(rtol=0.0, atol=2.1), False),
        (Tolerances(rtol=0.1, atol=1.1), False),
        (Tolerances(rtols={"trace": 0.3}), False),
        (Tolerances(atols={"trace": 2.0}), False),
        (Tolerances(rtols={"loss": 0.3}), True),
    ],
)
def test_the_tolerance_is_atol_plus_rtol_times_the_larger_of_the_two(pair, tolerances, changed):
    """8 → 10: a change of 2, of 20 % of the larger."""
    old, new = pair("trace", EXACT | {"value": -8.0}, EXACT | {"value": -10.0})
    assert compare(old, new, tolerances).failed == changed


@pytest.mark.parametrize(
    ("old", "new", "outcome", "note"),
    [
        (nan, nan, "undecided", "not a number in both"),
        (1.0, nan, "changed", "no longer a number"),
        (nan, 1.0, "undecided", "was not a number"),
        (inf, inf, "same", ""),
        (1.0, inf, "changed", "infinite"),
        (inf, 1.0, "changed", "infinite"),
    ],
)
def test_what_is_not_finite(pair, old, new, outcome, note):
    """A number that is lost is a failure, one that never was is none; the loss changes, lest nothing be judged."""
    reports = pair("trace", EXACT | {"value": old}, EXACT | {"value": new}, loss_value=7.0)
    change = found(compare(*reports, Tolerances()), "conv", "trace")
    assert change.outcome == outcome
    assert note in change.note


def test_a_diagonal_that_is_no_longer_finite_has_changed(written, make_layer):
    """Its figures stay in the comparison instead of dropping out as if they had not been computed."""
    old = written("old.h5", [make_layer("conv")])
    new = written("new.h5", [make_layer("conv", diagonal=np.full((3, 4), np.nan), status="nonfinite")])
    comparison = compare(old, new, Tolerances())
    lost = {c.quantity for c in comparison.changes if c.note == "no longer a number"}
    assert {"trace", "diagonal_min", "diagonal_max", "diagonal_mean"} <= lost
    assert comparison.failed


@pytest.mark.parametrize("probes", [1, 7])
def test_too_few_probes_are_no_error_bar(pair, probes):
    """Beyond the tolerance it can't be judged, and judging nothing is no success."""
    few = {"stderr": 0.1 if probes > 1 else nan}
    reports = pair(
        "trace",
        few | {"value": 1.0, "samples": np.full(probes, 1.0)},
        few | {"value": 5.0, "samples": np.full(probes, 5.0)},
    )
    for quantities in (["trace"], ["loss", "trace"], None):
        with pytest.raises(UsageError, match=f"nothing can be judged: {probes} probes are too few"):
            compare(*reports, Tolerances(), quantities=quantities)
    assert compare(*reports, Tolerances(), quantities=["loss"]).count("same") == 1


def test_the_loss_stands_for_no_layer(pair):
    """It is exact whatever became of the layers: that it is the same does not judge them, that it changed is seen."""
    nothing = EXACT | {"value": nan}
    with pytest.raises(UsageError, match="nothing can be judged: not a number in both"):
        compare(*pair("trace", nothing, nothing), Tolerances())
    assert compare(*pair("trace", nothing, nothing, loss_value=7.0), Tolerances()).failed


@pytest.mark.parametrize("probes", [8, 20])
def test_few_equal_probes_are_no_error_bar(pair, probes):
    """Estimates of two possible values agree by chance often enough; a spread of zero says little, also of pairs."""
    reports = {
        seed: pair(
            "trace",
            {"samples": np.full(probes, 1.0), "value": 1.0, "stderr": 0.0},
            {"samples": np.full(probes, 5.0), "value": 5.0, "stderr": 0.0},
            seed=seed,
        )
        for seed in (0, 1)
    }
    for both in reports.values():
        if probes < 20:
            with pytest.raises(UsageError, match=f"{probes} equal probes are too few"):
                compare(*both, Tolerances())
        else:
            assert compare(*both, Tolerances()).failed


def test_a_difference_that_is_equal_in_few_pairs_has_no_error_bar(pair):
    """Nor where the probes themselves spread."""
    for probes, outcome in ((10, "undecided"), (40, "changed")):
        spread = np.arange(probes) % 2.0
        reports = pair(
            "trace",
            {"samples": 4 + spread, "value": 4.5, "stderr": 0.1},
            {"samples": 8 + spread, "value": 8.5, "stderr": 0.1},
            loss_value=7.0,
        )
        assert found(compare(*reports, Tolerances()), "conv", "trace").outcome == outcome


def test_the_other_end_of_the_spectrum_is_not_the_one_that_was_there(pair):
    """A base of the largest eigenvalues and a report of the smallest have nothing to compare."""
    common = {"values": np.array([3.0, 2, 1]), "vectors": None, "residuals": np.zeros(3), "converged": np.ones(3, bool)}
    reports = pair("eigen", common | {"which": "largest"}, common | {"which": "smallest"})
    with pytest.raises(UsageError, match="not computed in NEW: conv: top_eigenvalue"):
        compare(*reports, Tolerances())
    assert not compare(*pair("eigen", common | {"which": "largest"}, common | {"which": "both"}), Tolerances()).failed


def test_what_counts_as_zero_depends_on_the_precision(pair):
    """More zeros in float32 are no change of the network; between equal precisions they are one."""
    old = {"eigenvalues": None, "entries": None, "inertia": (9, 3, 4), "condition": 50.0}
    new = old | {"inertia": (6, 6, 4), "condition": inf}
    for dtype, outcome in (("float32", "undecided"), ("float64", "changed")):
        comparison = compare(*pair("block", old, new, dtype=dtype), Tolerances())
        judged = {change.quantity: change for change in comparison.changes}
        for name in ("positive_eigenvalues", "zero_eigenvalues", "condition_number"):
            assert judged[name].outcome == outcome
            assert ("of another precision: float64, then float32" in judged[name].note) == (outcome == "undecided")
        assert judged["frobenius_norm"].outcome == "same"


def test_a_layers_name_steers_no_terminal(written, make_layer):
    """It is part of what a refusal says."""
    old, new = (written(f"{i}.h5", [make_layer(f"a\x1b[31m{i}\n")]) for i in (0, 1))
    with pytest.raises(UsageError, match="is missing") as refusal:
        compare(old, new, Tolerances())
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 2


def test_eigenvalues_have_their_residuals_for_error_bars(pair):
    """Values within the sum of the residuals may be the same eigenvalue, whatever sigma is."""
    values, done = np.array([3.0, 2.0, 1.0]), np.ones(3, bool)
    for residual, outcome in ((0.2, "changed"), (0.5, "within error")):
        common = {"residuals": np.full(3, residual), "converged": done, "vectors": None}
        reports = pair("eigen", common | {"values": values}, common | {"values": values * 1.3})
        comparison = compare(*reports, Tolerances())
        assert found(comparison, "conv", "top_eigenvalue").outcome == outcome
        assert found(comparison, "conv", "eigenvalue_2").new == pytest.approx(2.6)
        assert found(comparison, "conv", "eigenvalue_3").old == 1.0


def test_an_eigenvalue_that_has_not_converged_is_flagged_and_not_judged(pair):
    """It may be another one altogether."""
    common = {"converged": np.array([True, False, True]), "residuals": np.full(3, 1e-9), "vectors": None}
    reports = pair("eigen", common | {"values": np.array([3.0, 2, 1])}, common | {"values": np.array([9.0, 8, 7])})
    comparison = compare(*reports, Tolerances())
    assert found(comparison, "conv", "top_eigenvalue").outcome == "changed"
    assert found(comparison, "conv", "eigenvalue_2").outcome == "undecided"
    assert found(comparison, "conv", "eigenvalue_2").note == "not converged"


def test_the_last_of_some_eigenvalues_is_not_the_smallest(pair):
    """The i-th largest is compared with the i-th largest, however many there are."""
    three = {"values": np.array([3.0, 2, 1]), "residuals": np.zeros(3), "converged": np.ones(3, bool), "vectors": None}
    two = {"values": np.array([3.0, 2]), "residuals": np.zeros(2), "converged": np.ones(2, bool), "vectors": None}
    comparison = compare(*pair("eigen", three, two), Tolerances())
    assert found(comparison, "conv", "top_eigenvalue").outcome == "same"
    assert found(comparison, "conv", "eigenvalue_2").outcome == "same"
    assert {change.quantity for change in comparison.changes} == {"loss", "top_eigenvalue", "eigenvalue_2"}
    assert not comparison.missing_quantities


def test_a_rank_from_below_depends_on_how_many_there_are(pair):
    """The second of three smallest is no baseline for the second of four; the smallest is."""
    common = {"vectors": None, "which": "smallest"}
    three = {"values": np.array([3.0, 2, 1]), "residuals": np.zeros(3), "converged": np.ones(3, bool)}
    four = {"values": np.array([4.0, 3, 2, 1]), "residuals": np.zeros(4), "converged": np.ones(4, bool)}
    comparison = compare(*pair("eigen", common | three, common | four), Tolerances())
    assert found(comparison, "conv", "smallest_eigenvalue").outcome == "same"
    change = found(comparison, "conv", "eigenvalue_2")
    assert (change.outcome, change.note) == ("undecided", "not of the same kind: 3 smallest, then 4 smallest")


def test_rounding_is_no_change(pair):
    """Also with no tolerance at all: float32 has seven digits."""
    old, new = pair("trace", EXACT | {"value": 1.0}, EXACT | {"value": 1 + 1e-6}, dtype="float32")
    old = replace(old, provenance=replace(old.provenance, dtype="float32"))
    assert found(compare(old, new, Tolerances(rtol=0.0)), "conv", "trace").outcome == "within error"


def test_a_share_may_change_by_a_percentage_point(written, make_layer):
    """One negative entry in 1200 more is nothing, though it is infinitely more than none."""
    diagonal = np.ones((120, 10))
    one_negative = diagonal.copy()
    one_negative[0, 0] = -1e-9
    reports = [
        written(f"{name}.h5", [make_layer("conv", shape=(120, 10), diagonal=array)])
        for name, array in (("old", diagonal), ("new", one_negative))
    ]
    assert found(compare(*reports, Tolerances()), "conv", "negative_share").outcome == "same"
    assert found(compare(*reports, Tolerances(atols={})), "conv", "negative_share").outcome == "changed"


def test_the_spread_of_the_data_is_shown_and_is_no_error_of_the_estimate(pair):
    """The data are the same in both: however much other data would move the trace, this change is one."""
    reports = pair("trace", EXACT | {"value": 1.0, "data_stderr": 50.0}, EXACT | {"value": 2.0, "data_stderr": 60.0})
    change = found(compare(*reports, Tolerances()), "conv", "trace")
    assert change.outcome == "changed"
    assert (change.old_data_stderr, change.new_data_stderr) == (50.0, 60.0)


# -- what can be compared ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss": "mse"}, "loss mse, was cross_entropy"),
        ({"reduction": "sum"}, "reduction sum, was mean"),
        ({"dataset_digest": "ef" * 32, "samples": 256}, r"other data \(256 samples, was 512\)"),
        ({"denominator": 256.0}, "divided by 256, was 512"),
        ({"spec_text": "[loss]\nweight_decay = 0.1"}, "loss.weight_decay 0.1, was not set"),
    ],
)
def test_another_loss_or_other_data_are_refused(written, layers, changes, told):
    """Unless they are allowed, and then told."""
    old, new = written("old.h5", layers), written("new.h5", layers, **changes)
    with pytest.raises(UsageError, match=told) as refusal:
        compare(old, new, Tolerances())
    assert "--allow-mismatch" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 2
    allowed = compare(old, new, Tolerances(), allow_mismatch=True)
    assert len(allowed.mismatches) == 1
    assert not allowed.failed


def test_a_weight_decay_of_nothing_is_none(written, layers):
    """And the source of the data, which the digest stands for, is not compared as text."""
    specs = ('[source]\npath = "a"\n[loss]\nweight_decay = 0.0', '[source]\npath = "b"\n[loss]\nname = "cross_entropy"')
    old, new = (written(f"{i}.h5", layers, spec_text=text) for i, text in enumerate(specs))
    assert not compare(old, new, Tolerances()).mismatches


def test_another_model_is_what_it_is_for(written, layers):
    """Another hash is no mismatch; another backend, precision or version is a note."""
    old = written("old.h5", layers)
    new = written(
        "new.h5", layers, model_sha256="00" * 32, dtype="float32", versions={"torch": "2.14", "numpy": "2.4.6"}
    )
    comparison = compare(old, new, Tolerances())
    assert comparison.notes == ("dtype: float64 → float32", "torch: 2.13.0 → 2.14")
    assert "same model" in compare(old, written("b.h5", layers), Tolerances()).notes[0]


def test_missing_and_new_layers_are_refused_and_listed(written, make_layer):
    """Allowed, the common ones are compared."""
    old = written("old.h5", [make_layer("a", 0), make_layer("b", 1)])
    new = written("new.h5", [make_layer("b", 1), make_layer("c", 2)])
    with pytest.raises(UsageError, match="a layer is missing: a; a layer is new: c"):
        compare(old, new, Tolerances())
    comparison = compare(old, new, Tolerances(), allow_mismatch=True)
    assert (comparison.missing_layers, comparison.new_layers) == (("a",), ("c",))
    assert {change.layer for change in comparison.changes} == {None, "b"}
    assert not compare(old, new, Tolerances(), layers=["b"]).mismatches


def test_a_layer_of_another_size_is_refused(written, make_layer):
    """Its figures are of another thing."""
    old, new = written("old.h5", [make_layer("a")]), written("new.h5", [make_layer("a", shape=(5, 4))])
    with pytest.raises(UsageError, match="a has 24 parameters, had 16"):
        compare(old, new, Tolerances())


def test_a_quantity_that_is_gone_is_refused(written, make_layer, make_quantity):
    """A pipeline that forgets to compute what it watches must not pass; one that computes more may."""
    plain, more = make_layer("a"), replace(make_layer("a"), eigen=make_quantity("eigen"))
    one, two = written("one.h5", [plain]), written("two.h5", [more])
    assert not compare(one, two, Tolerances()).mismatches
    with pytest.raises(UsageError, match="not computed in NEW: a: top_eigenvalue\\."):
        compare(two, one, Tolerances())
    assert not compare(two, one, Tolerances(), quantities=["trace"]).failed


def test_a_partial_report_is_refused(written, layers):
    """It would pass for what it lacks."""
    old, new = written("old.h5", layers), written("new.h5", layers, status="partial")
    with pytest.raises(UsageError, match="NEW is partial"):
        compare(old, new, Tolerances())


def test_another_matrix_is_refused(pair):
    """A Gauss–Newton trace is no baseline for the Hessian's."""
    reports = pair("trace", EXACT, EXACT | {"matrix": "gauss_newton"})
    with pytest.raises(UsageError, match="conv: trace is of the Gauss–Newton matrix, was of the Hessian"):
        compare(*reports, Tolerances())
    with pytest.raises(UsageError, match="no layer and quantity in common"):
        compare(*reports, Tolerances(), quantities=["trace"], allow_mismatch=True)


def test_nothing_in_common_is_no_success(pair, written, layers):
    """Not even with --allow-mismatch; the loss, which every report has, counts only if it is asked for."""
    one, two = written("one.h5", layers[:1]), written("two.h5", layers[1:])
    with pytest.raises(UsageError, match="in common"):
        compare(one, two, Tolerances(), allow_mismatch=True)
    assert compare(one, two, Tolerances(), quantities=["loss"], allow_mismatch=True).count("same") == 1
    with pytest.raises(UsageError, match="in common"):
        compare(*pair("trace", {}, {}), Tolerances(), quantities=["condition_number"])
