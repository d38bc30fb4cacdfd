"""The state of a computation in progress, safe on disk, so that a kill costs a minute and not a layer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curvcli.arrays import Archive
from curvcli.errors import ReportError
from curvcli.files import UNREADABLE, open_regular
from curvcli.report.hdf5.atomic import explained, publish, temporary

PATTERN = r"work-[0-9a-f]{24}\.npz"
State = Mapping[str, npt.NDArray[np.float64]]


def progress_path(directory: Path, key: str) -> Path:
    """Where the state of the computation with this name is kept."""
    return directory / f"work-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"


def save_progress(path: Path, run: str, state: State) -> None:
    """Keep a state, replacing an earlier one.

    Args:
        path: from `progress_path`.
        run: what a state must belong to, to be taken up again.
        state: arrays by name.

    Raises:
        ReportError: the disk is full or the directory has become unwritable; the earlier state is kept.
    """
    names = list(state)
    arrays = {f"array{i}": state[name] for i, name in enumerate(names)}
    with temporary(path) as part, explained(path):
        with part.open("wb") as stream:
            np.savez(stream, head=np.array(json.dumps({"run": run, "names": names})), **arrays)  # type: ignore[arg-type]
        publish(part, path)


def load_progress(path: Path, run: str) -> dict[str, npt.NDArray[np.float64]] | None:
    """A state kept earlier by the same run; ``None`` if there is none, or a damaged one."""
    try:
        with open_regular(path, "the state of a run", error=ReportError) as stream:
            archive = Archive(stream)
            head = json.loads(str(archive.read("head", str(path), error=ReportError)))
            if head["run"] != run:
                return None
            arrays = {
                str(name): archive.read(f"array{i}", str(path), error=ReportError)
                for i, name in enumerate(head["names"])
            }
    except (ReportError, TypeError, *UNREADABLE):
        return None
    return arrays if all(array.dtype.kind in "biuf" for array in arrays.values()) else None
