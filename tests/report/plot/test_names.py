"""Names on figures and of files: short, distinct and safe."""

from __future__ import annotations

from curvcli.report.plot.names import elided, labels, stems


def test_long_paths_lose_what_they_share_and_stay_distinct():
    names = [f"vgg_16/block{i}/conv{i}_1/separable/depthwise_kernel_of_a_long_name" for i in range(60)]
    short, prefix = labels([*names, "(whole model)"], 30)
    assert prefix == "vgg_16/"
    assert short[-1] == "(whole model)"
    assert len(set(short)) == 61
    assert max(map(len, short)) <= 30


def test_short_names_and_a_single_layer_stay_whole():
    assert labels(["net/conv1", "net/conv2"]) == (["net/conv1", "net/conv2"], "")
    assert labels(["a/b/c/d/e/f/g"]) == (["a/b/c/d/e/f/g"], "")
    assert labels([""]) == (["(root)"], "")


def test_names_that_no_cut_tells_apart_are_numbered():
    names = [f"{'x' * 80}{letter}{'y' * 80}" for letter in "ab"]
    short, _ = labels(names, 20)
    assert [text[:2] for text in short] == ["1:", "2:"]


def test_a_name_within_another_keeps_its_end():
    assert labels(["scope/of/things/layer", "scope/of/things/layer/inner"], 20)[1] == "scope/of/things/"


def test_control_characters_are_written_out():
    assert labels(["a\x1b[31m\nb"])[0] == ["a\\x1b[31m\\nb"]


def test_files_have_names_that_any_system_takes_once_each():
    made = list(stems(["kernel-a/b", "kernel-A/B", "kernel-../../etc", "", "x" * 300]))
    assert made[0] == "kernel-a.b"
    assert made[1] == "kernel-A.B-2"
    assert all("/" not in stem and not stem.startswith(".") and 0 < len(stem) < 100 for stem in made)


def test_text_is_cut_in_the_middle():
    assert elided("abcdefghij", 5) == "a…hij"


def test_long_names_of_files_keep_their_ends():
    path = "kernel-" + "a/rather/long/path/" * 6
    made = list(stems([f"{path}conv1-kernel", f"{path}conv2-kernel"]))
    assert [stem[-12:] for stem in made] == ["conv1-kernel", "conv2-kernel"]
    assert max(map(len, made)) <= 80
    assert all(stem.isascii() and stem.startswith("kernel-a.rather") for stem in made)
