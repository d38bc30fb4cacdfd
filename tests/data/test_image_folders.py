"""Folders of images: a folder per class, and what does not fit."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from curvcli.errors import DataError


def image_folder(folder: Path, size: tuple[int, int] = (4, 5)) -> np.ndarray:
    """Six grey images, two in each of three classes."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (6, *size), dtype=np.uint8)
    for number, one in enumerate(pixels):
        path = folder / "images" / "cat bird dog".split()[number // 2]
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(path / f"{number}.png")
    return pixels[[2, 3, 0, 1, 4, 5], ..., None]


FOLDER = 'format = "imagefolder"\npath = "images"'
LABELS = '[target]\ncolumn = "label"\nclasses = ["cat", "dog", "bird"]'


def test_images_lie_in_folders_of_their_classes(open_spec, tmp_path: Path) -> None:
    pixels = image_folder(tmp_path)
    (tmp_path / "images" / ".DS_Store").write_bytes(b"")
    samples = open_spec(source=FOLDER, x='column = "image"', target=LABELS)
    np.testing.assert_array_equal(next(samples.batches(6)).inputs["x"], pixels)
    np.testing.assert_array_equal(samples.targets(), [2, 2, 0, 0, 1, 1])
    samples = open_spec(source=FOLDER + '\nmode = "RGB"\nresize = [8, 6]', x='column = "image"', target=LABELS)
    assert samples.input_shapes["x"] == (8, 6, 3)
    with pytest.raises(DataError, match=re.escape('classes = ["bird", "cat", "dog"]')):
        open_spec(source=FOLDER, x='column = "image"', target='[target]\ncolumn = "label"')


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("size", r"cat/9\.png: 5×9 pixels of 1 values.*\n.*resize = \[4, 5\], and mode"),
        ("mode", r'cat/9\.png: its pixels are of mode RGBA; write mode = "RGB"'),
        ("text", r"'cat/9\.txt' is no image that is read"),
        ("damaged", r"cat/9\.png: is no complete image"),
        ("cut", r"cat/9\.png: is no complete image"),
        ("pipe", r"cat/9\.png: is a named pipe"),
        ("link out", "leads out of the folder"),
        ("deeper", "is a folder in a class's folder; one level is read"),
        ("loose", "lies beside folders"),
        ("bomb", r"declares 60000×60000 pixels|3600000000 pixels"),
        ("disguise", r"cat/9\.png: is no complete image"),
    ],
)
@pytest.mark.timeout(20)
def test_images_that_do_not_fit_are_told_by_file(case: str, said: str, open_spec, tmp_path: Path) -> None:
    import os
    import zlib

    from PIL import Image

    image_folder(tmp_path)
    cat = tmp_path / "images" / "cat"
    match case:
        case "size":
            Image.new("L", (5, 9)).save(cat / "9.png")
        case "mode":
            Image.new("RGBA", (5, 4)).save(cat / "9.png")
        case "text":
            (cat / "9.txt").write_text("x")
        case "damaged":
            (cat / "9.png").write_bytes(b"nothing")
        case "cut":
            (cat / "9.png").write_bytes((cat / "0.png").read_bytes()[:-30])
        case "pipe":
            os.mkfifo(cat / "9.png")
        case "link out":
            (tmp_path / "other.png").write_bytes((cat / "0.png").read_bytes())
            (cat / "9.png").symlink_to(tmp_path / "other.png")
        case "deeper":
            (cat / "more").mkdir()
        case "loose":
            (tmp_path / "images" / "9.png").write_bytes(b"")
        case "bomb":
            head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
            chunk = b"IHDR" + head
            start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
            body = b"IDAT" + zlib.compress(bytes(1 << 20))
            (cat / "9.png").write_bytes(
                start + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
            )
        case _:
            Image.new("L", (5, 4)).save(cat / "9.png", format="TIFF")
    with pytest.raises(DataError, match=said):
        list(open_spec(source=FOLDER, x='column = "image"', target=LABELS).batches())
