"""The hash by which a report names a model that is a directory."""

from __future__ import annotations

import hashlib
from pathlib import Path


def model_sha256(path: Path) -> str:
    """SHA-256 over a model's files and their names; a dataset spec lying in the model is not part of it."""
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        name = file.relative_to(path).as_posix()
        if name == "assets.extra/curvcli.toml":
            continue
        with file.open("rb") as stream:
            total.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
