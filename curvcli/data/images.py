"""Reads images from a folder, by Pillow: a folder per class in it, or images alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, field_validator

from curvcli.data.checks import check_columns, describe
from curvcli.data.files import existing_folder, inside, needed
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.errors import DataError
from curvcli.files import check_room, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import FromList, Text, mistake
from curvcli.text import cut, quoted

IMAGE, LABEL = "image", "label"
_FORMATS: Final = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP",
                   ".ppm": "PPM", ".pgm": "PPM"}  # fmt: skip
IMAGE_SUFFIXES: Final = frozenset(_FORMATS)
_CHANNELS: Final = {"L": 1, "RGB": 3}
# Of one byte a value; Pillow cuts larger ones to 255 instead of scaling them.
_MODES: Final = frozenset("1 L LA La P PA RGB RGBA RGBX RGBa CMYK YCbCr LAB HSV".split())
_MOST_PIXELS: Final = 1 << 27
_MOST_FILES: Final = 20_000_000
_LONGEST_SIDE: Final = 1 << 16


class ImageFolderSource(SourceTable):
    """A folder of images; column ``image`` has shape (height, width, channels), column ``label`` their folder's name.

    Attributes:
        path: of the folder.
        mode: what every image is converted to; None takes them as they are, if they are all of one of these.
        resize: height and width that every image is brought to, bilinear with antialiasing; None takes them as they
            are, if they are all of one size.
    """

    format: Literal["imagefolder"]
    path: Text
    mode: Literal["L", "RGB"] | None = None
    resize: Annotated[tuple[int, ...], FromList, Field()] | None = None

    @field_validator("resize")
    @classmethod
    def _two(cls, resize: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if resize is not None and (len(resize) != 2 or not all(1 <= side <= _LONGEST_SIDE for side in resize)):
            raise mistake("must be height and width: resize = [224, 224]")
        return resize


class ImageFolderReader:
    """Files in the order of their classes' names and their own; an image is decoded when its row is read."""

    def __init__(self, source: ImageFolderSource, wanted: Wanted) -> None:
        """List the files, and look at the first.

        Raises:
            DataError: the folder is missing, holds something else than images, or Pillow is not installed.
        """
        self._pillow = needed("PIL.Image", "Pillow", "a folder of images")
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
            self._columns[IMAGE] = describe(IMAGE, self._where, (len(self._files), *first.shape), first.dtype)
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
            image = decoded(self._pillow, stream, (_FORMATS[Path(name).suffix.lower()],), shown, self._source)
        if shape is not None and image.shape != shape:
            raise DataError(
                f"{shown}: {image.shape[1]}×{image.shape[0]} pixels of {image.shape[2]} values, the first has "
                f"{shape[1]}×{shape[0]} of {shape[2]}.\n"
                f'Bring them to one size: resize = [{shape[0]}, {shape[1]}], and mode = "RGB".'
            )
        return image


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in {"Thumbs.db", "desktop.ini"}


def decoded(pillow: Any, stream: IO[bytes], formats: Sequence[str], shown: str, steps: ImageFolderSource) -> Array:
    """An image as an array (height, width, channels) of uint8.

    Args:
        pillow: the module ``PIL.Image``.
        stream: the encoded image.
        formats: that it may have, as Pillow calls them.
        shown: names it in messages.
        steps: how to convert it.

    Raises:
        DataError: it is damaged, too large, or of another kind than stated.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images: their size is checked here
            with pillow.open(stream, formats=formats) as image:
                mode = _checked_mode(image, shown, steps)
                converted = image if image.mode == mode else image.convert(mode)
                if steps.resize is not None and converted.size != steps.resize[::-1]:
                    converted = converted.resize(steps.resize[::-1], pillow.Resampling.BILINEAR)
                pixels = np.array(converted, dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # decoders of images raise whatever a damaged one leads them to
        reason = cut(" ".join(str(error).split()), 120).rstrip(".") or type(error).__name__
        raise DataError(f"{shown}: is no complete image: {reason.replace(repr(stream), 'it')}.") from None
    return pixels.reshape(*pixels.shape[:2], _CHANNELS[mode])


def _checked_mode(image: Any, shown: str, steps: ImageFolderSource) -> str:
    """The mode that an image is brought to; its size and that are held against what is read."""
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise DataError(f"{shown}: declares {width}×{height} pixels; more than {_MOST_PIXELS:,} are not read.")
    check_room(8 * width * height, shown, error=DataError)
    if image.mode not in _MODES:
        raise DataError(
            f"{shown}: its pixels are of mode {cut(image.mode)}, of more than 256 values; they would be cut off.\n"
            "Store the images as an array: np.save('x.npy', np.stack([np.asarray(i) for i in images]))."
        )
    mode = str(steps.mode or image.mode)
    if mode not in _CHANNELS:
        raise DataError(f'{shown}: its pixels are of mode {cut(mode)}; write mode = "RGB" or mode = "L" in [source].')
    return mode


def _open(source: ImageFolderSource, wanted: Wanted) -> Reader:
    return ImageFolderReader(source, wanted)


FORMAT = Format(ImageFolderSource, _open)
