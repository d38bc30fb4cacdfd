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


def test_class_weights_and_ignore_index_go_with_cross_entropy_only(mistakes, changed):
    lines = mistakes(changed("cross_entropy", "bce") + "class_weights = [1.0, 2.0]\nignore_index = 3\n")
    assert lines == [
        f"digits.toml: loss.{key}: goes with cross_entropy, not with bce; remove it"
        for key in ("class_weights", "ignore_index")
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
