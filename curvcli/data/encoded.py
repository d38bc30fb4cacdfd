"""Encoded images (PNG, JPEG and others) as arrays of bytes, by Pillow: from files of their own, or out of a column."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import IO, Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, field_validator

from curvcli.data.files import needed
from curvcli.data.interface import Array
from curvcli.errors import DataError
from curvcli.files import check_room
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import FromList, mistake
from curvcli.text import cut

_CHANNELS: Final = {"L": 1, "RGB": 3}
# Of one byte a value; Pillow cuts larger ones to 255 instead of scaling them.
_MODES: Final = frozenset("1 L LA La P PA RGB RGBA RGBX RGBa CMYK YCbCr LAB HSV".split())
_MOST_PIXELS: Final = 1 << 27
_LONGEST_SIDE: Final = 1 << 16
# What an image begins with; b"BM" alone could begin anything.
_BEGINNINGS: Final = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF",
                      b"II*\0": "TIFF", b"MM\0*": "TIFF"}  # fmt: skip
_REFUSED: Final = frozenset({"GIF", "TIFF"})


class ImageSource(SourceTable):
    """A source that may hold encoded images; they become columns of shape (height, width, channels), uint8.

    Attributes:
        mode: what every image is converted to; None takes them as they are, if they are all of one of these.
        resize: height and width that every image is brought to, bilinear with antialiasing; None takes them as they
            are, if they are all of one size.
    """

    mode: Literal["L", "RGB"] | None = None
    resize: Annotated[tuple[int, ...], FromList, Field()] | None = None

    @field_validator("resize")
    @classmethod
    def _two(cls, resize: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if resize is not None and (len(resize) != 2 or not all(1 <= side <= _LONGEST_SIDE for side in resize)):
            raise mistake("must be height and width: resize = [224, 224]")
        return resize


def image_kind(data: bytes) -> str:
    """What encoded image bytes begin like, as Pillow calls it; empty if like none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "BMP"
    return next((kind for beginning, kind in _BEGINNINGS.items() if data.startswith(beginning)), "")


def decoded_bytes(data: bytes, shown: str, steps: ImageSource, shape: tuple[int, ...] | None) -> Array:
    """An image that lies in a column.

    Args:
        data: the encoded image.
        shown: file, column and row, for messages.
        steps: how to convert it.
        shape: (height, width, channels) that it must come to; any if None.

    Returns:
        (height, width, channels) of uint8.

    Raises:
        DataError: it is none that is read, damaged, too large, or of another kind or shape than stated; Pillow is not
            installed.
    """
    kind = image_kind(data)
    if not kind or kind in _REFUSED:
        raise DataError(
            f"{shown}: holds {f'a {kind} image' if kind else 'no image that is read'}; PNG, JPEG, BMP and WebP are.\n"
            "Convert it: PIL.Image.open(io.BytesIO(data)).save('new.png')."
        )
    return decoded(BytesIO(data), (kind,), shown, steps, shape)


def decoded(
    stream: IO[bytes], formats: Sequence[str], shown: str, steps: ImageSource, shape: tuple[int, ...] | None
) -> Array:
    """An image as an array (height, width, channels) of uint8.

    Args:
        stream: the encoded image.
        formats: that it may have, as Pillow calls them.
        shown: names it in messages.
        steps: how to convert it.
        shape: that it must come to; any if None.

    Raises:
        DataError: it is damaged, too large, or of another kind or shape than stated; Pillow is not installed.
    """
    pillow = needed("PIL.Image", "Pillow", "an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images: their size is checked here
            with pillow.open(stream, formats=formats) as image:
                mode = _checked_mode(image, shown, steps)
                converted = image if image.mode == mode else image.convert(mode)
                if steps.resize is not None and converted.size != steps.resize[::-1]:
                    converted = converted.resize(steps.resize[::-1], pillow.Resampling.BILINEAR)
                values = np.array(converted, dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # decoders of images raise whatever a damaged one leads them to
        reason = cut(" ".join(str(error).split()), 120).rstrip(".") or type(error).__name__
        raise DataError(f"{shown}: is no complete image: {reason.replace(repr(stream), 'it')}.") from None
    pixels = values.reshape(*values.shape[:2], _CHANNELS[mode])
    if shape is not None and pixels.shape != shape:
        raise DataError(
            f"{shown}: {pixels.shape[1]}×{pixels.shape[0]} pixels of {pixels.shape[2]} values, the first has "
            f"{shape[1]}×{shape[0]} of {shape[2]}.\n"
            f'Bring them to one size: resize = [{shape[0]}, {shape[1]}], and mode = "RGB".'
        )
    return pixels


def _checked_mode(image: Any, shown: str, steps: ImageSource) -> str:
    """The mode that an image is brought to; its size and that are held against what is read."""
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise DataError(f"{shown}: declares {width}×{height} pixels; more than {_MOST_PIXELS:,} are not read.")
    check_room(8 * width * height, shown, error=DataError)
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # cameras put a preview behind a photograph
        raise DataError(f"{shown}: holds several pictures, an animation; store the one that is meant.")
    if image.mode not in _MODES:
        raise DataError(
            f"{shown}: its pixels are of mode {cut(image.mode)}, of more than 256 values; they would be cut off.\n"
            "Store the images as an array: np.save('x.npy', np.stack([np.asarray(i) for i in images]))."
        )
    mode = str(steps.mode or image.mode)
    if mode not in _CHANNELS:
        raise DataError(f'{shown}: its pixels are of mode {cut(mode)}; write mode = "RGB" or mode = "L" in [source].')
    return mode
