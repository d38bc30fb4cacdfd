"""`docs/architectures.md` has a row for every architecture and format, and says what a run finds."""

from __future__ import annotations

import random
import re
from dataclasses import astuple

import pytest

from .registry import ARCHITECTURES
from .rows import Row
from .table import DOCUMENT, computed, missing, read, written

ROWS = read()


def facts(row: Row) -> tuple[str, ...]:
    """Cells without seconds; of an error within 1e-9 no digits, which rounding on another processor changes."""
    return tuple(re.sub(r"within 1e-(12|9)", "within", cell) for cell in astuple(row)[:-1])


def test_the_document_has_the_builders_rows_with_all_cells() -> None:
    """At least 60 architectures; a cell is a value or a reason, a row whose file opens has numbers that agree."""
    expected = {(one.name, format_) for one in ARCHITECTURES for format_ in (*one.formats, *one.absent)}
    assert ROWS.keys() == expected
    assert len({name for name, _ in ROWS}) >= 60
    for row in ROWS.values():
        assert all(cell.strip(" –-") for cell in astuple(row)), row
        assert "**" not in "".join(astuple(row)), row
    assert DOCUMENT.read_text(encoding="utf-8") == written(ROWS)


def test_names_are_used_once() -> None:
    """A row is found by its architecture's name and its format."""
    assert len({one.name for one in ARCHITECTURES}) == len(ARCHITECTURES)


# A sample of its own each day would be found by nobody again; this one is another for every number written here.
SAMPLE = random.Random(1).sample([one.name for one in ARCHITECTURES], 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_the_documents_rows_are_what_a_run_finds(name: str) -> None:
    """Everything but seconds, for a random sample of architectures."""
    (architecture,) = (one for one in ARCHITECTURES if one.name == name)
    if package := missing(architecture):
        pytest.skip(f"{package} is not installed")
    made = computed(architecture)
    assert [facts(row) for row in made] == [facts(ROWS[row.name, row.format]) for row in made]
