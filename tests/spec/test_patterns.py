"""Layer selection by name."""

from __future__ import annotations

import pytest

from curvcli.errors import UsageError
from curvcli.spec.patterns import select

VGG = [
    "vgg_16/conv1/conv1_1",
    "vgg_16/conv4/conv4_1",
    "vgg_16/conv4/conv4_2",
    "vgg_16/conv4/conv4_3",
    "vgg_16/fc6",
    "vgg_16/fc8",
]
BLOCKS = ["block1.attn.query", "block1.attn.key", "block1.mlp", "block2.attn.query", "block2.mlp", "mlp"]


def chosen(names, *include, exclude=()):
    return [names[i] for i in select(names, include, exclude)]


def test_no_pattern_chooses_all():
    assert select(VGG) == [0, 1, 2, 3, 4, 5]


def test_a_full_name_chooses_its_layer():
    assert chosen(VGG, "vgg_16/conv4/conv4_2") == ["vgg_16/conv4/conv4_2"]


def test_the_last_component_chooses_its_layer():
    assert chosen(VGG, "conv4_3") == ["vgg_16/conv4/conv4_3"]


def test_a_folder_chooses_everything_below_it():
    assert select(VGG, ["conv4"]) == [1, 2, 3]


def test_a_part_of_a_component_chooses_nothing():
    with pytest.raises(UsageError, match="No layer matches 'conv4_'"):
        select(VGG, ["conv4_"])


def test_several_components_choose_by_the_end_of_the_path():
    assert chosen(BLOCKS, "block2.mlp") == ["block2.mlp"]


def test_several_components_choose_a_folder():
    assert chosen(BLOCKS, "block1.attn") == ["block1.attn.query", "block1.attn.key"]


def test_slashes_and_dots_are_the_same_between_components():
    assert chosen(BLOCKS, "block1/attn/key") == ["block1.attn.key"]


def test_a_component_at_several_places_is_ambiguous_and_they_are_listed():
    with pytest.raises(UsageError) as caught:
        select(BLOCKS, ["query"])
    assert str(caught.value) == (
        "'query' is ambiguous: it matches block1.attn.query and block2.attn.query.\n"
        "Give the full name, or a glob such as '*query*' for all of them."
    )


def test_a_folder_at_several_places_is_ambiguous():
    with pytest.raises(UsageError, match="'attn' is ambiguous"):
        select(BLOCKS, ["attn"])


def test_an_exact_name_is_never_ambiguous():
    assert chosen(BLOCKS, "mlp") == ["mlp"]


def test_a_glob_for_the_whole_name():
    assert chosen(VGG, "vgg_16/fc*") == ["vgg_16/fc6", "vgg_16/fc8"]


def test_a_glob_for_one_component():
    assert chosen(VGG, "fc?") == ["vgg_16/fc6", "vgg_16/fc8"]


def test_a_glob_for_the_end_of_the_path():
    assert chosen(["net.block1.mlp", "net.block2.mlp", "net.mlp"], "block*.mlp") == ["net.block1.mlp", "net.block2.mlp"]


def test_a_glob_minds_upper_and_lower_case():
    with pytest.raises(UsageError):
        select(VGG, ["FC*"])


def test_a_name_with_brackets_is_found_as_it_stands():
    assert select(["cell[0]", "cell0"], ["cell[0]"]) == [0]


def test_a_regular_expression_is_found_anywhere():
    assert select(VGG, [r"re:conv4_[12]$"]) == [1, 2]


def test_a_wrong_regular_expression_is_a_usage_error():
    with pytest.raises(UsageError, match=r"'re:\(' is no regular expression"):
        select(VGG, ["re:("])


def test_several_patterns_add_up_in_model_order():
    assert select(VGG, ["fc6", "conv1", "fc6"]) == [0, 4]


def test_exclude_takes_out_of_all():
    assert select(VGG, exclude=["conv4"]) == [0, 4, 5]


def test_exclude_takes_out_of_the_chosen():
    assert select(VGG, ["conv4"], ["conv4_2"]) == [1, 3]


def test_an_exclude_that_matches_nothing_is_an_error():
    with pytest.raises(UsageError, match="No layer matches 'con4'"):
        select(VGG, exclude=["con4"])


def test_nothing_left_is_an_error():
    with pytest.raises(UsageError, match="all 3 chosen layers are excluded"):
        select(VGG, ["conv4"], ["conv*"])


def test_a_pattern_that_matches_nothing_is_answered_with_the_nearest_names():
    with pytest.raises(UsageError) as caught:
        select(VGG, ["conv43"])
    assert str(caught.value).startswith("No layer matches 'conv43'. Nearest: ")
    assert "vgg_16/conv4/conv4_3" in str(caught.value)


def test_a_pattern_like_no_name_is_answered_with_some_of_them():
    with pytest.raises(UsageError, match=r"There are vgg_16/conv1/conv1_1, .* … \(6 in all\)\."):
        select(VGG, ["zzzzzz"])


def test_an_empty_pattern_matches_nothing():
    with pytest.raises(UsageError, match="No layer matches ''"):
        select(VGG, [""])


def test_a_model_without_layers_has_nothing_to_choose():
    with pytest.raises(UsageError, match="the model has no layers"):
        select([])


def test_messages_name_what_is_chosen():
    with pytest.raises(UsageError, match="No parameter matches"):
        select(["a.weight"], ["b.bias"], noun="parameter")
