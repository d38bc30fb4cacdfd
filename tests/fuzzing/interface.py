"""What a generator of hostile files makes, and from what."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Bases:
    """Sound files, made once by curvcli itself; generators copy them and never write to them.

    Attributes:
        folder: with ``model.pt``, its spec ``model.pt.toml``, ``data.npz``, and reports of it.
        reports: names of complete reports in the folder, one per command.
        parts: names of reports whose run was killed before its end; each has only its ``.parts`` folder.
    """

    folder: Path
    reports: tuple[str, ...]
    parts: tuple[str, ...]


@dataclass
class Case:
    """A command in a folder of its own.

    Attributes:
        words: of the command line, without ``curvcli``.
        env: environment variables besides.
        output: where the command writes, if it does; what was there before may only go if the command succeeds.
        asked: other paths that the files themselves ask to be written.
        story: what was done to the files, for whoever reads a failure.
    """

    words: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    output: str = ""
    story: str = ""
    asked: tuple[str, ...] = ()


class Generator(Protocol):
    """Makes cases of one kind.

    Attributes:
        name: of the kind.
        framework: that its commands import, ``torch`` or ``tensorflow``: it is imported once, for all of them.
    """

    name: str
    framework: str

    def make(self, rng: random.Random, folder: Path, bases: Bases) -> Case:
        """Fill `folder`, which holds copies of the model, its spec and its data, and say what to run in it.

        Equal states of `rng` give equal cases.
        """
        ...
