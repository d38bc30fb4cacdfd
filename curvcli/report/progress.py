"""The sums of a piece of work in progress, safe on disk, so that a kill costs a minute and not a layer."""

from __future__ import annotations

import hashlib
import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curvcli.report.atomic import explained, publish, temporary

PATTERN = r"work-[0-9a-f]{24}\.npz"


@dataclass(frozen=True)
class SavedProgress:
    """What is kept of a piece of work.

    Attributes:
        totals: per parameter, the float64 sums so far.
        batch: the batch in work.
        position: how much of it is done.
    """

    totals: dict[str, npt.NDArray[np.float64]]
    batch: int
    position: int


def progress_path(directory: Path, work: str) -> Path:
    """Where the progress of the piece of work with this name is kept."""
    return directory / f"work-{hashlib.sha256(work.encode()).hexdigest()[:24]}.npz"


def save_progress(path: Path, run: str, progress: SavedProgress) -> None:
    """Keep a state, replacing an earlier one.

    Args:
        path: from `progress_path`.
        run: what a state must belong to, to be taken up again.
        progress: the state.

    Raises:
        ReportError: the disk is full or the directory has become unwritable; the earlier state is kept.
    """
    names = list(progress.totals)
    head = json.dumps({"run": run, "names": names, "batch": progress.batch, "position": progress.position})
    arrays = {f"total{i}": progress.totals[name] for i, name in enumerate(names)}
    with temporary(path) as part, explained(path):
        with part.open("wb") as stream:
            np.savez(stream, head=np.array(head), **arrays)  # type: ignore[arg-type]
        publish(part, path)


def load_progress(path: Path, run: str) -> SavedProgress | None:
    """A state kept earlier by the same run; ``None`` if there is none, or a damaged one."""
    with suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(path, allow_pickle=False) as archive:
        head = json.loads(str(archive["head"]))
        if head["run"] == run:
            totals = {name: archive[f"total{i}"] for i, name in enumerate(head["names"])}
            return SavedProgress(totals, int(head["batch"]), int(head["position"]))
    return None
