"""Reads images from a folder, by Pillow: a folder per class in it, or images alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from curvcli.data.checks import check_columns, describe
from curvcli.data.encoded import ImageSource, decoded
from curvcli.data.files import existing_folder, inside, needed
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.errors import DataError
from curvcli.files import open_regular
from curvcli.spec.table import Text
from curvcli.text import quoted

IMAGE, LABEL = "image", "label"
_FORMATS: Final = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP",
                   ".ppm": "PPM", ".pgm": "PPM"}  # fmt: skip
IMAGE_SUFFIXES: Final = frozenset(_FORMATS)
_MOST_FILES: Final = 20_000_000


class ImageFolderSource(ImageSource):
    """A folder of images; column ``image`` has shape (height, width, channels), column ``label`` their folder's name.

    Attributes:
        path: of the folder.
    """

    format: Literal["imagefolder"]
    path: Text


class ImageFolderReader:
    """Files in the order of their classes' names and their own; an image is decoded when its row is read."""

    def __init__(self, source: ImageFolderSource, wanted: Wanted) -> None:
        """List the files, and look at the first.

        Raises:
            DataError: the folder is missing, holds something else than images, or Pillow is not installed.
        """
        needed("PIL.Image", "Pillow", "a folder of images")
        self._source = source
        self._root = existing_folder(source.path, wanted.resolve)
        self._where = source.path.rstrip("/") or "/"
        self._files = self._listed()
        if not self._files:
            raise DataError(f"{self._where}: holds no images ({', '.join(_FORMATS)}), and no folders of them.")
        labelled = "/" in self._files[0]
        check_columns(wanted.names, self._where, [IMAGE, LABEL] if labelled else [IMAGE])
        self._columns: dict[str, Column] = {}
        if IMAGE in wanted.names:
            first = self._decoded(0, None)
            images = describe(IMAGE, self._where, (len(self._files), *first.shape), first.dtype)
            self._columns[IMAGE] = replace(images, scattered=True)
        if LABEL in wanted.names:
            self._columns[LABEL] = describe(LABEL, self._where, (len(self._files),), np.dtype(object))

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._columns[name]

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        taken: dict[str, Array] = {}
        for name in names:
            column = self._columns[name]
            taken[name] = np.empty((len(rows), *column.shape), column.dtype)
            for place, row in enumerate(rows):
                number = int(row)
                value = self._decoded(number, column.shape) if name == IMAGE else self._files[number].partition("/")[0]
                taken[name][place] = value
        return taken

    def _listed(self) -> list[str]:
        try:
            entries = sorted(os.scandir(self._root), key=lambda entry: entry.name)
            folders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
            loose = [self._checked(entry.name) for entry in entries if not entry.is_dir() and _counts(entry.name)]
            if folders and loose:
                raise DataError(
                    f"{self._where}: {quoted(loose[0])} lies beside folders; put every image into its class's folder."
                )
            files = loose
            for folder in folders:
                files += self._of_class(folder)
        except OSError as error:
            raise DataError(f"{self._where}: can't be listed: {error.strerror}.") from None
        if len(files) > _MOST_FILES:
            raise DataError(f"{self._where}: holds more than {_MOST_FILES:,} files.")
        return files

    def _of_class(self, folder: str) -> Iterator[str]:
        path = inside(self._where, self._root / folder, self._root)
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if entry.is_dir() and not entry.name.startswith("."):
                raise DataError(
                    f"{self._where}/{folder}: {quoted(entry.name)} is a folder in a class's folder; one level is read. "
                    "Give the folder that holds the classes."
                )
            if not entry.is_dir() and _counts(entry.name):
                yield self._checked(f"{folder}/{entry.name}")

    def _checked(self, name: str) -> str:
        if Path(name).suffix.lower() not in _FORMATS:
            raise DataError(
                f"{self._where}: {quoted(name)} is no image that is read ({', '.join(_FORMATS)}).\n"
                "Take it out of the folder, or convert it: PIL.Image.open(old).save('new.png')."
            )
        return name

    def _decoded(self, row: int, shape: tuple[int, ...] | None) -> Array:
        name = self._files[row]
        shown = f"{self._where}/{name}"
        path = inside(self._where, self._root / name, self._root)
        with open_regular(path, "an image", shown=shown, error=DataError) as stream:
            return decoded(stream, (_FORMATS[Path(name).suffix.lower()],), shown, self._source, shape)


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in {"Thumbs.db", "desktop.ini"}


def _open(source: ImageFolderSource, wanted: Wanted) -> Reader:
    return ImageFolderReader(source, wanted)


FORMAT = Format(ImageFolderSource, _open)
