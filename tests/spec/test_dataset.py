"""The dataset spec as a whole: reading, and mistakes with their places."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from curvcli.data.registry import TABLES
from curvcli.errors import SpecError
from curvcli.spec.dataset import SamplingSpec, load_dataset_spec, with_overrides


def test_a_complete_spec_is_read_with_its_defaults(parse, digits):
    spec = parse(digits).spec
    assert spec.source.format == "npz"
    assert spec.inputs["image"].names == ("images",)
    assert (spec.loss.reduction, spec.loss.weight_decay, spec.loss.output) == ("mean", 0.0, None)
    assert (spec.sampling.limit, spec.sampling.batch_size, spec.sampling.seed) == (None, 64, 0)


def test_a_loaded_spec_keeps_its_text_as_written(tmp_path, digits):
    path = tmp_path / "digits.toml"
    path.write_text(digits + "# a note\n")
    assert load_dataset_spec(path, TABLES).text == digits + "# a note\n"


def test_relative_paths_start_from_the_folder_of_the_spec(tmp_path, digits):
    path = tmp_path / "digits.toml"
    path.write_text(digits)
    assert load_dataset_spec(path, TABLES).resolve("data/x.npz") == tmp_path / "data" / "x.npz"


def test_absolute_paths_stay_as_they_are(parse, digits):
    assert parse(digits).resolve("/data/x.npz") == Path("/data/x.npz")


def test_a_byte_order_mark_is_no_mistake(tmp_path, digits):
    path = tmp_path / "digits.toml"
    path.write_bytes(b"\xef\xbb\xbf" + digits.encode())
    assert load_dataset_spec(path, TABLES).spec.version == 1


def test_a_spec_cannot_be_changed(parse, digits):
    with pytest.raises(ValidationError):
        parse(digits).spec.loss.reduction = "sum"


def test_all_mistakes_are_reported_at_once_each_with_file_and_place(mistakes):
    text = """\
version = 2
[source]
format = "csv"
path = 3
[inputs.image]
colum = "images"
std = 0
[loss]
name = "mse"
from_logits = true
[sampling]
limit = 0
seed = -1
"""
    assert [line.split(": ")[:2] for line in mistakes(text)] == [
        ["digits.toml", place]
        for place in (
            "version",
            "source.path",
            "inputs.image.column",
            "inputs.image.std",
            "inputs.image.colum",
            "loss.from_logits",
            "target",
            "sampling.limit",
            "sampling.seed",
        )
    ]


def test_an_unknown_format_is_answered_with_the_known_ones(mistakes, changed):
    assert mistakes(changed('"npz"', '"npzz"')) == [
        "digits.toml: source.format: unknown format 'npzz'; did you mean npz?"
    ]


def test_a_missing_format_is_reported_at_its_place(mistakes, changed):
    assert mistakes(changed('format = "npz"\n', "")) == [
        'digits.toml: source.format: missing; write format = "npz", for instance'
    ]


def test_an_unknown_loss_is_answered_with_the_known_ones(mistakes, changed):
    assert mistakes(changed("cross_entropy", "crossentropy")) == [
        "digits.toml: loss.name: unknown name 'crossentropy'; choose cross_entropy, bce, mse, mae, huber, poisson, "
        "gaussian_nll, hinge or output"
    ]


def test_an_unknown_key_is_answered_with_the_nearest_one(mistakes, digits):
    assert mistakes(digits + "[sampling]\nbatchsize = 3\n") == [
        "digits.toml: sampling.batchsize: unknown key; did you mean batch_size?"
    ]


def test_an_unknown_key_like_no_other_is_answered_with_all_of_them(mistakes, digits):
    assert mistakes(digits + "[sampling]\nworld = 3\n") == [
        "digits.toml: sampling.world: unknown key; known here: limit, batch_size, seed, stratify and shuffle"
    ]


def test_an_unknown_table_is_answered_with_the_nearest_one(mistakes, digits):
    assert "digits.toml: lossy: unknown key; did you mean loss?" in mistakes(digits + "[lossy]\n")


def test_an_unknown_key_of_a_source_is_answered_with_the_nearest_of_that_format(mistakes, changed):
    text = changed('format = "npz"', 'format = "csv"\ndelimeter = ";"')
    assert mistakes(text) == ["digits.toml: source.delimeter: unknown key; did you mean delimiter?"]


def test_an_empty_file_lacks_all_required_tables(mistakes):
    assert [line.split(": ")[1] for line in mistakes("")] == ["version", "source", "inputs", "loss", "target"]


def test_text_is_not_taken_for_a_number(mistakes, digits):
    assert mistakes(digits + '[sampling]\nlimit = "64"\n') == [
        "digits.toml: sampling.limit: must be a whole number, found '64'"
    ]


def test_true_is_not_taken_for_a_number(mistakes, changed):
    assert mistakes(changed("0.0625", "true")) == ["digits.toml: inputs.image.scale: must be a number, found true"]


def test_a_value_where_a_table_belongs_is_refused(mistakes, changed):
    assert mistakes(changed("[inputs.image]", '[inputs]\nimage = "images"\n[target2]'))[0] == (
        "digits.toml: inputs.image: must be a table, found 'images'"
    )


def test_an_input_name_with_a_dot_is_quoted_in_the_place(mistakes, changed):
    assert mistakes(changed("[inputs.image]", '[inputs."a.b"]').replace("0.0625", "nan")) == [
        'digits.toml: inputs."a.b".scale: must be a finite number, found nan'
    ]


def test_a_syntax_error_is_reported_with_line_and_column(mistakes):
    assert mistakes("version = 1\nsource = = 3\n") == [
        "digits.toml: line 2, column 10: invalid value; this is not TOML."
    ]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"none\.toml: no such file"):
        load_dataset_spec(tmp_path / "none.toml", TABLES)


def test_a_folder_is_no_spec(tmp_path):
    with pytest.raises(SpecError, match="is a directory"):
        load_dataset_spec(tmp_path, TABLES)


def test_a_file_that_is_no_utf8_text_is_refused(tmp_path):
    path = tmp_path / "digits.toml"
    path.write_bytes(b"# \xff")
    with pytest.raises(SpecError, match=r"digits\.toml: not UTF-8 text \(byte 2\)"):
        load_dataset_spec(path, TABLES)


def test_overrides_replace_sampling_and_keep_the_text(parse, digits):
    loaded = with_overrides(parse(digits + "[sampling]\nlimit = 5\nseed = 7\n"), limit=3, batch_size=2)
    assert loaded.spec.sampling == SamplingSpec(limit=3, batch_size=2, seed=7)
    again = with_overrides(loaded, stratify=True, shuffle=True)
    assert again.spec.sampling == SamplingSpec(limit=3, batch_size=2, seed=7, stratify=True, shuffle=True)
    assert with_overrides(again).spec.sampling == again.spec.sampling
    assert "limit = 5" in loaded.text


def test_an_override_out_of_range_is_refused(parse, digits):
    with pytest.raises(SpecError, match=r"^command line: limit: must be 1 or more, found 0$"):
        with_overrides(parse(digits), limit=0)


def test_reading_specs_needs_neither_numpy_nor_a_framework():
    code = (
        "import sys, curvcli.spec.lookup, curvcli.spec.patterns\n"
        "print({'numpy', 'torch', 'tensorflow'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
