"""The hash by which a report names a model that is a directory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from curvcli.errors import ModelError
from curvcli.files import check_room


def model_sha256(path: Path) -> str:
    """SHA-256 over a model's files and their names; a dataset spec lying in the model is not part of it.

    Raises:
        ModelError: the files are larger than any model that could be opened here, or can't be read.
    """
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file())
        check_room(sum(file.stat().st_size for file in files), f"{path}: opened, it", error=ModelError)
        return _sha256(path, files)
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror or error}.") from error


def _sha256(path: Path, files: list[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix()
        if name == "assets.extra/curvcli.toml":
            continue
        with file.open("rb") as stream:
            total.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
