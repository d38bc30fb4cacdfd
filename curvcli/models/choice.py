"""Which model of a file is meant, where a file holds several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What was requested of a file; None for what there is only one of, or what is the convention.

    Attributes:
        signature: the name of a SavedModel's signature.
        tag_set: its graph's tags, with commas between.
    """

    signature: str | None = None
    tag_set: str | None = None

    def requested(self) -> Mapping[str, str]:
        """By the names of the options, those that are not None."""
        return {name: value for name, value in vars(self).items() if value is not None}
