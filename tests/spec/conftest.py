"""A complete spec, and fixtures that read variants of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curvcli.data.registry import TABLES
from curvcli.errors import SpecError
from curvcli.spec.dataset import LoadedSpec, parse_dataset_spec

DIGITS = """\
version = 1
[source]
format = "npz"
path = "digits.npz"
[inputs.image]
column = "images"
scale = 0.0625
[target]
column = "labels"
[loss]
name = "cross_entropy"
from_logits = true
"""


@pytest.fixture
def digits() -> str:
    """A complete spec, as text."""
    return DIGITS


@pytest.fixture
def changed() -> Callable[[str, str], str]:
    """The complete spec with one part replaced, which must be there."""

    def changed_(old: str, new: str) -> str:
        assert old in DIGITS
        return DIGITS.replace(old, new)

    return changed_


@pytest.fixture
def parse() -> Callable[[str], LoadedSpec]:
    """Read a spec that lies at specs/digits.toml."""
    return lambda text: parse_dataset_spec(text, TABLES, path=Path("specs/digits.toml"))


@pytest.fixture
def mistakes(parse: Callable[[str], LoadedSpec]) -> Callable[[str], list[str]]:
    """The lines of the error that reading a spec ends in."""

    def mistakes_(text: str) -> list[str]:
        with pytest.raises(SpecError) as caught:
            parse(text)
        return str(caught.value).splitlines()

    return mistakes_
