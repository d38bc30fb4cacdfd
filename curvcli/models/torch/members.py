"""What holds for the members of every zip archive that torch writes: one of each name, undamaged, and room for all."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from curvcli.errors import ModelError
from curvcli.files import check_room, size_text
from curvcli.models.refused import TORCH_RECIPE

RECIPE: Final = TORCH_RECIPE
# More than any text in an archive.
TEXT_LIMIT: Final = 64 << 20


def check_members(path: Path, archive: zipfile.ZipFile, holds_tensors: Callable[[str], bool]) -> None:
    """Hold every member against its checksum, which torch does not.

    Args:
        path: for messages.
        archive: to check.
        holds_tensors: whether a member is data; all others are text, of which there is not so much.

    Raises:
        ModelError: something is wrong with a member.
    """
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise ModelError(f"{path}: two members of the archive have one name; save the model again.")
    sizes = {one.filename: one.file_size for one in archive.infolist()}
    check_room(sum(sizes.values()), f"{path}: unpacked, it", error=ModelError)
    large = next((name for name, size in sizes.items() if not holds_tensors(name) and size > TEXT_LIMIT), None)
    if large is not None:
        raise ModelError(f"{path}: {large[:80]} unpacks to {size_text(sizes[large])}: too much for code.")
    damaged = archive.testzip()
    if damaged is not None:
        raise ModelError(
            f"{path}: {damaged} is damaged: its checksum is another.\nSave or copy the model again; its numbers can't "
            "be trusted."
        )
