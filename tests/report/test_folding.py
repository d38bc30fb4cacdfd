"""Text in narrow columns: folded between words and behind separators, shortened, and never broken."""

from __future__ import annotations

import random

import pytest
from rich.cells import cell_len

from curvcli.report.render.folding import folded, shortened


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("largest relative difference", 16, ["largest relative", "difference"]),
        ("vgg_16/conv4/conv4_3", 13, ["vgg_16/conv4/", "conv4_3"]),
        ("backbone.stage1.block10.conv", 16, ["backbone.stage1.", "block10.conv"]),
        ("short", 5, ["short"]),
        ("", 4, [""]),
        ("let it be", 6, ["let it", "be"]),
        ("abcdefghijklmnop", 9, ["abcd…mnop"]),
        ("a abcdefghijklmnop b", 9, ["a", "abcd…mnop", "b"]),
        ("日本語日本語日本語", 8, ["日…本語"]),
    ],
)
def test_lines_end_between_words(text, width, lines):
    assert folded(text, width) == lines


def test_every_line_fits_and_every_word_of_the_text_is_whole():
    rng = random.Random(0)
    for _ in range(500):
        words = ["".join(rng.choices("abc/._日", k=rng.randint(1, 18))) for _ in range(rng.randint(1, 6))]
        text, width = " ".join(words), rng.randint(4, 40)
        lines = folded(text, width)
        assert all(cell_len(line) <= width for line in lines)
        if "…" not in "".join(lines):
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("width", range(1, 12))
def test_a_shortened_name_keeps_its_end(width):
    text = shortened("conv4_3_kernel", width)
    assert cell_len(text) <= width
    assert "conv4_3_kernel".endswith(text.rpartition("…")[2])
