"""The files of a run, sent along to machines that share no file system with this one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.session import Session
from curvcli.curvature.tasks import Data
from curvcli.data.samples import open_samples
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.spec.dataset import LoadedSpec
from curvcli.wording import option


@dataclass(frozen=True)
class ShippedOpener:
    """Writes files into a folder of its own, and opens the run from there.

    Attributes:
        files: their bytes, by absolute path.
        folder: of the run, that relative paths are seen from.
        model: as the run has it.
        data: likewise.
        open: opens the model and data of other options, seen from another folder.
    """

    files: dict[str, Array]
    folder: Path
    model: ModelOptions
    data: DataOptions
    open: Callable[[ModelOptions, DataOptions, Path], Data]
    _roots: list[str] = field(default_factory=list)

    def __call__(self) -> Data:
        """The objective.

        Raises:
            CurvcliError: there is no room for the files, or something is wrong with them.
        """
        root = tempfile.mkdtemp(prefix="curvcli-")
        self._roots.append(root)

        def beneath(path: Path) -> Path:
            return Path(f"{root}{os.path.normpath(self.folder / path)}")

        try:
            beneath(self.folder).mkdir(parents=True, exist_ok=True)
            for path, content in self.files.items():
                place = Path(f"{root}{path}")
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as stream:
                    stream.write(content.data)
        except OSError as error:
            raise UsageError(f"{root}: the files can't be written there: {error.strerror}.") from None
        data = self.data if self.data.data is None else replace(self.data, data=beneath(self.data.data))
        return self.open(replace(self.model, model=beneath(self.model.model)), data, beneath(self.folder))

    def close(self) -> None:
        """Remove the folder."""
        while self._roots:
            shutil.rmtree(self._roots.pop(), ignore_errors=True)


@dataclass(frozen=True)
class _Noting(LoadedSpec):
    """A spec that notes which files are looked for."""

    places: list[Path] = field(default_factory=list)

    def resolve(self, path: str) -> Path:
        """See ``LoadedSpec``.

        Raises:
            UsageError: the path would mean another file elsewhere.
        """
        if Path(path).expanduser().is_absolute():
            raise UsageError(
                f"{option('ship', True)}: {self.path.name} names {path}: write it relative to the spec, or leave "
                f"{option('ship')} out where all nodes have that file."
            )
        place = super().resolve(path)
        self.places.append(place)
        return place


def files_of(session: Session) -> dict[str, Array]:
    """The bytes of the model, the spec and all data, by absolute path; mapped, not read.

    Raises:
        UsageError: the spec names an absolute path.
        CurvcliError: something has changed since the session was opened.
    """
    loaded = session.loaded
    noting = _Noting(loaded.spec, loaded.path, loaded.text, loaded.model)
    open_samples(noting)
    places = dict.fromkeys([session.path, loaded.path, *noting.places])
    return {os.path.normpath(file.absolute()): _content(file) for place in places for file in _files_below(place)}


def _files_below(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in sorted(place.rglob("*")) if path.is_file())
    elif place.is_file():
        yield place


def _content(file: Path) -> Any:
    if not file.stat().st_size:
        return np.zeros(0, np.uint8)
    return np.asarray(np.memmap(file, np.uint8, mode="r"))
