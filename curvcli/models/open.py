"""Tells which format a saved model has, and opens it with the one framework it needs."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

from curvcli.errors import ModelError, UsageError
from curvcli.files import UNREADABLE, is_regular, regular_file
from curvcli.models.choice import Choice
from curvcli.models.model import Backend, Model
from curvcli.models.refused import refusal
from curvcli.models.threads import use_threads
from curvcli.wording import option


class Opener(Protocol):
    """What the file of a format has as ``opened``."""

    def __call__(self, path: Path, *, device: str, dtype: str) -> Model:
        """Load a file or directory.

        Args:
            path: of it.
            device: ``cpu``, ``cuda``, ``cuda:1`` ….
            dtype: ``float32`` or ``float64``; the whole model is converted.

        Raises:
            ModelError: it can't be opened.
            UsageError: the device is not there.
        """
        ...


@dataclass(frozen=True)
class Format:
    """A format of saved models.

    Attributes:
        name: with an article, e.g. ``a TorchScript file``.
        backend: the framework that computes, which is also the extra that installs it.
        module: of that framework's adapter, imported when a model of this format is opened; it has an `Opener`.
        member: of a directory, the file that marks it; None for files.
        suffixes: of files; empty for all that no other format takes.
        several: whether a file may hold several models; its `Opener` then takes a `Choice` too, as ``choice``.
        inside: of zip archives, a member that marks it, below the root folder; such a file has this format, whatever it
            is called.
    """

    name: str
    backend: Backend
    module: str
    member: str | None = None
    suffixes: tuple[str, ...] = ()
    several: bool = False
    inside: str | None = None

    @property
    def takes_any(self) -> bool:
        """Whether every file is taken for one of this format."""
        return self.member is None and not self.suffixes

    def recognises(self, path: Path) -> bool:
        """Whether a path is of this format, by its name and kind."""
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for names that are too long
            return self.member is not None and (path / self.member).is_file()
        return self.member is None and (not self.suffixes or path.suffix.lower() in self.suffixes)

    def opened(self, path: Path, *, device: str, dtype: str, choice: Choice, threads: int | None) -> Model:
        """Open a path, with the framework on so many threads; see `Opener`."""
        use_threads(self.backend, threads, device)
        function = import_module(f"curvcli.models.{self.backend}.{self.module}").opened
        opener: Opener = partial(function, choice=choice) if self.several else function
        return opener(path, device=device, dtype=dtype)


WHOLE: Final = Choice()
# In the order in which they are tried; the last takes any file, and says what it is if it is something else.
FORMATS: Final = (
    Format("a torch.export archive", "torch", "exported", suffixes=(".pt2", ".pte"), inside="archive_format"),
    Format("a SavedModel directory", "tensorflow", "savedmodel", member="saved_model.pb", several=True),
    Format("a Keras file", "tensorflow", "keras_file", suffixes=(".keras",)),
    Format("a TorchScript file", "torch", "torchscript", inside="constants.pkl"),
)


def _marked(path: Path) -> Format | None:
    """The format that a zip archive shows by one of its members; None for all other files."""
    if not is_regular(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
    except UNREADABLE:
        return None
    return next((one for one in FORMATS if one.inside in members), None)


def format_of(path: Path) -> Format:
    """Which format a path has; no framework is imported.

    Raises:
        UsageError: there is nothing at the path, or nothing that could be a saved model.
        ModelError: what is there is known, and no format that can be analysed.
    """
    if not os.path.lexists(path):
        if (reason := refusal(path)) is not None:
            raise ModelError(f"{path}: {reason}")
        raise UsageError(f"{path}: no such file or directory.\nGive {' or '.join(one.name for one in FORMATS)}.")
    directory = os.path.isdir(path)  # noqa: PTH112 - as above
    if not directory and path.name in {one.member for one in FORMATS}:
        raise UsageError(f"{path}: give the directory it lies in: {path.parent}")
    marked = _marked(path)
    form = marked or next((one for one in FORMATS if one.recognises(path)), None)
    reason = refusal(path) if form is None or (marked is None and form.takes_any) else None
    if reason is not None:
        raise ModelError(f"{path}: {reason}")
    if form is None:
        inside = next((p for p in sorted(path.iterdir()) if p.is_dir() and any(f.recognises(p) for f in FORMATS)), None)
        hint = f"Did you mean {inside}?" if inside else "Give the folder that tf.saved_model.save or export wrote."
        raise UsageError(f"{path}: a directory without saved_model.pb, so no SavedModel.\n{hint}")
    if not directory:
        regular_file(path, form.name)
    return form


def open_model(
    path: Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    choice: Choice = WHOLE,
    threads: int | None = None,
) -> Model:
    """Open a saved model.

    Args:
        path: of a file or directory in one of the `FORMATS`.
        device: ``cpu``, ``cuda``, ``cuda:1`` ….
        dtype: ``float32`` or ``float64``; the whole model is converted.
        choice: which model of the file.
        threads: to compute on from now on; see `models.threads`.

    Raises:
        UsageError: wrong path or device, nothing of the name that was chosen, or the backend is not installed.
        ModelError: the file can't be opened.
    """
    form = format_of(path)
    for name, value in choice.requested().items() if not form.several else ():
        raise UsageError(f"{option(name, value)}: {path} is {form.name}, which holds one model only; leave it out.")
    if find_spec(form.backend) is None:
        needed = form.backend
        raise UsageError(f"{path} needs {needed}, which is not installed.\nRun: pip install 'curvcli[{needed}]'")
    try:
        return form.opened(path, device=device, dtype=dtype, choice=choice, threads=threads)
    except ImportError as error:
        raise ModelError(f"{form.backend} is installed but can't be imported: {str(error).splitlines()[0]}") from error
