"""The rules of the loss, target, input and source tables."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["cross_entropy", "bce"])
def test_from_logits_is_required_where_it_means_something(name, mistakes, changed):
    text = changed("from_logits = true\n", "").replace("cross_entropy", name)
    assert mistakes(text) == [
        f'digits.toml: loss.from_logits: missing; {name} needs true, false, or "auto" to read it from the graph'
    ]


def test_from_logits_is_refused_where_it_means_nothing(mistakes, changed):
    assert mistakes(changed("cross_entropy", "mse")) == [
        "digits.toml: loss.from_logits: goes with cross_entropy and bce, not with mse; remove it"
    ]


def test_from_logits_may_be_auto(parse, changed):
    assert parse(changed("true", '"auto"')).spec.loss.from_logits == "auto"


def test_from_logits_may_be_nothing_else(mistakes, changed):
    assert mistakes(changed("true", '"yes"')) == ['digits.toml: loss.from_logits: must be true, false or "auto"']


OPTIONS = {
    "class_axis = 1": "cross_entropy, bce and gaussian_nll",
    "class_weights = [1.0, 2.0]": "cross_entropy",
    "ignore_index = 3": "cross_entropy, bce and hinge",
    "ignore_nan = true": "bce, mse, mae, huber, poisson, gaussian_nll and hinge",
    "label_smoothing = 0.1": "cross_entropy and bce",
    "pos_weight = 2.0": "bce",
    "delta = 0.5": "huber",
    "log_input = false": "poisson",
    "eps = 1e-3": "poisson and gaussian_nll",
    "squared = true": "hinge",
    "log_variance = true": "gaussian_nll",
}


@pytest.mark.parametrize("line", OPTIONS)
def test_an_option_of_other_losses_is_refused_with_their_names(line, mistakes, changed):
    text = changed("cross_entropy", "output").replace("from_logits = true\n", "").replace("[target]\ncolumn", "#")
    key = line.partition(" ")[0]
    assert mistakes(text + line + "\n") == [
        f"digits.toml: loss.{key}: goes with {OPTIONS[line]}, not with output; remove it"
    ]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("class_axis = 0", "class_axis: is the samples' axis; count from 1, or from -1 at the end"),
        ("label_smoothing = 1.0", "label_smoothing: input should be less than 1"),
        ("label_smoothing = -0.5", "label_smoothing: must be 0 or more, found -0.5"),
        ("pos_weight = [1.0, 0]", "pos_weight: must be a number above 0, or a list of one per class"),
        ("pos_weight = true", "pos_weight: must be a number above 0, or a list of one per class"),
    ],
)
def test_numbers_out_of_range_are_told(line, mistake, mistakes, changed):
    assert mistakes(changed("cross_entropy", "bce") + line + "\n") == [f"digits.toml: loss.{mistake}"]


def test_gaussian_nll_needs_to_know_what_the_model_returns(mistakes, changed):
    text = changed("cross_entropy", "gaussian_nll").replace("from_logits = true\n", "")
    assert mistakes(text) == [
        "digits.toml: loss.log_variance: missing; gaussian_nll needs true or false: whether the model returns "
        "logarithms of variances"
    ]
    assert mistakes(text + "log_variance = true\neps = 1e-4\n") == [
        "digits.toml: loss.eps: goes with log_variance = false; remove it"
    ]


def test_a_negative_class_weight_is_reported_with_its_position(mistakes, digits):
    assert mistakes(digits + "class_weights = [1, -2]\n") == [
        "digits.toml: loss.class_weights[1]: must be 0 or more, found -2"
    ]


def test_class_weights_of_zero_only_are_refused(mistakes, digits):
    assert mistakes(digits + "class_weights = [0, 0]\n") == ["digits.toml: loss.class_weights: needs a weight above 0"]


def test_the_target_is_required_even_if_the_loss_is_wrong_too(mistakes, changed):
    text = changed('[target]\ncolumn = "labels"\n', "").replace("from_logits = true", "from_logits = 3")
    assert [line.split(": ")[1] for line in mistakes(text)] == ["loss.from_logits", "target"]


def test_the_loss_output_needs_no_target(parse, changed):
    text = changed('[target]\ncolumn = "labels"\n', "").replace("cross_entropy", "output")
    assert parse(text.replace("from_logits = true\n", "")).spec.target is None


def test_the_loss_output_refuses_a_target(mistakes, changed):
    text = changed("cross_entropy", "output").replace("from_logits = true\n", "")
    assert mistakes(text) == [
        'digits.toml: target: the loss "output" is the model\'s own scalar and has no target; remove [target]'
    ]


def test_column_and_columns_exclude_each_other(mistakes, changed):
    assert mistakes(changed('column = "images"', 'column = "images"\ncolumns = ["a"]')) == [
        "digits.toml: inputs.image.column: given together with columns; keep one of them"
    ]


def test_an_npy_source_needs_path_or_paths(mistakes, changed):
    text = changed('format = "npz"\npath = "digits.npz"', 'format = "npy"')
    assert mistakes(text)[0].startswith("digits.toml: source.path: missing; give a file or folder")


def test_an_npy_source_refuses_path_with_paths(mistakes, changed):
    text = changed('"npz"\n', '"npy"\npaths = { images = "a.npy" }\n')
    assert mistakes(text) == ["digits.toml: source.path: given together with paths; keep one of them"]


def test_a_csv_delimiter_is_one_character(mistakes, changed):
    text = changed('"npz"\n', '"csv"\ndelimiter = "::"\n')
    assert mistakes(text) == ['digits.toml: source.delimiter: must be one character, such as ";" or "\\t"']


@pytest.mark.parametrize("key", ["mean", "std"])
def test_mean_and_std_are_a_number_or_a_list_of_numbers(key, mistakes, changed):
    assert mistakes(changed("scale = 0.0625", f'{key} = [1.0, "2"]')) == [
        f"digits.toml: inputs.image.{key}: must be a finite number, or a list of one per channel"
    ]


def test_mean_may_differ_between_channels(parse, changed):
    assert parse(changed("scale = 0.0625", "mean = [1, 2.5]")).spec.inputs["image"].mean == (1.0, 2.5)


@pytest.mark.parametrize("layout", ["NHWC->NCHH", "NHWC", "NHHC->NCHH", "->", "N1->1N"])
def test_a_layout_that_is_no_permutation_is_refused(layout, mistakes, changed):
    (line,) = mistakes(changed("scale = 0.0625", f'layout = "{layout}"'))
    assert line.startswith(f"digits.toml: inputs.image.layout: {layout!r} is no permutation of axis letters")


def test_a_layout_must_leave_the_samples_first(mistakes, changed):
    (line,) = mistakes(changed("scale = 0.0625", 'layout = "NTC->TNC"'))
    assert line.endswith("'NTC->TNC' moves N, the samples' axis; it stays first")


def test_a_layout_must_have_as_many_axes_as_shape(mistakes, changed):
    (line,) = mistakes(changed("scale = 0.0625", 'shape = [8, 8]\nlayout = "NHWC->NCHW"'))
    assert line.endswith("'NHWC->NCHW' names 3 axes besides N, shape has 2")


def test_a_shape_has_no_zero(mistakes, changed):
    (line,) = mistakes(changed("scale = 0.0625", "shape = [0, 8]"))
    assert line.startswith("digits.toml: inputs.image.shape: must hold whole numbers from 1")
