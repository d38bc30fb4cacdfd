"""A run's finished layers, safe on disk until they are merged into its report: what makes a run resumable."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from curvcli.errors import ReportError
from curvcli.files import open_regular, read_bounded
from curvcli.report.hdf5.atomic import explained, leftovers, publish, replaced, sync_directory, temporary
from curvcli.report.hdf5.clock import stamp
from curvcli.report.hdf5.layers import read_layer, write_groups
from curvcli.report.hdf5.lock import WriterLock
from curvcli.report.hdf5.origin import earlier_report
from curvcli.report.hdf5.progress import PATTERN, State, load_progress, progress_path, save_progress
from curvcli.report.hdf5.rows import read_row, write_row
from curvcli.report.hdf5.storage import created, opened
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.inputs import InputsRecord
from curvcli.report.records.layers import LayerRecord, Provenance
from curvcli.report.records.status import ReportStatus
from curvcli.report.records.studies import StudyRecord
from curvcli.report.records.summaries import LayerSummary

_RUN = "run.json"
_LOCK = "lock"
# <hash of the layer's name>-<hash of the file's bytes>.h5: a part proves itself, one damaged byte and it is no part.
_PART = re.compile(r"([0-9a-f]{24})-([0-9a-f]{64})\.h5")
_WORK = re.compile(PATTERN)
_KEPT = re.compile(f"{re.escape(_RUN)}|{_LOCK}|{_PART.pattern}|{PATTERN}")
# The key of a run holds its options and the names of its layers.
_RUN_BYTES = 64 << 20
# What a layer that lacks quantities may hide by being called incomplete; anything worse is told.
_SOUND = frozenset({"done", "not_converged"})


@dataclass(frozen=True)
class _Part:
    """A saved layer: its file, its row in the tables as the file has it, and the quantities that are missing."""

    path: Path
    row: LayerSummary
    missing: tuple[str, ...] = ()


class Parts:
    """The directory ``<report>.parts`` of one run; use it in a ``with`` statement.

    Entering takes the directory's lock and looks at what an earlier run left there. Parts of a run with an equal key
    are kept, all others are deleted. Leaving gives the lock back and keeps the parts, unless they have been merged
    into a complete report.

    Attributes:
        report: where the report will be, symbolic links resolved.
        directory: of the parts.
        previous: what was found on entering: ``none``, ``same`` run or an ``other`` one.
        changed: for an ``other`` run, the entries of the key that differ, as far as its key is readable.
        discarded: how many parts were deleted on entering, of another run or damaged.
        complete_before: whether a complete report was at the report's path on entering.
    """

    def __init__(self, report: Path, key: Mapping[str, object]) -> None:
        """Name the run; nothing is touched before entering.

        Args:
            report: the output path.
            key: everything that determines the numbers, as JSON can hold it.

        Raises:
            TypeError: `key` holds something that JSON can't.
            ValueError: `key` holds NaN or infinity.
        """
        self.report = Path(os.path.realpath(report))  # unlike Path.resolve, no error where links lead in a circle
        self.directory = self.report.parent / f"{self.report.name}.parts"
        self.previous: Literal["none", "same", "other"] = "none"
        self.changed: tuple[str, ...] = ()
        self.discarded = 0
        self.complete_before = False
        self._key = json.loads(_canonical(key))  # tuples become lists, as they will when read back
        self._sha256 = hashlib.sha256(_canonical(key)).hexdigest()
        self._lock = WriterLock(self.directory / _LOCK)
        self._parts: dict[str, _Part] = {}
        # One writer at a time: a thread may have to write the report while another computes.
        self.exclusive = threading.RLock()

    def __enter__(self) -> Self:
        """Take the lock and find the finished layers.

        Raises:
            ReportError: another process is at work on this report, the directory is missing or not writable, or what
                is at the report's path is not a report, and would be lost.
            UsageError: ``SOURCE_DATE_EPOCH`` is set and is not a number; better said now than at the end of the run.
        """
        stamp()
        earlier = earlier_report(self.report)
        self.complete_before = earlier is not None and earlier.complete
        self._refuse_strange_entries()
        with explained(self.report):
            self._lock.acquire(self.report)
        try:
            with explained(self.directory):
                self._adopt_or_discard()
        except BaseException:
            self._lock.release(remove=False)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with explained(self.directory):
            empty = not self._parts and not self._inside(_WORK)
            if empty:
                (self.directory / _RUN).unlink(missing_ok=True)
            self._lock.release(remove=empty)

    def finished(self) -> Mapping[str, LayerRecord]:
        """Return the finished layers by name, in model order; each lookup reads that layer's arrays from disk.

        Layers that ended badly are among them: look at the status to decide which to compute again.
        """
        return self._records({name: part for name, part in self._parts.items() if not part.missing})

    def statuses(self) -> set[str]:
        """Return how the finished layers ended."""
        return {part.row.status for part in self._parts.values() if not part.missing}

    def unfinished(self) -> Mapping[str, tuple[str, ...]]:
        """Return the quantities that are missing of each layer that was saved before all of its were there."""
        return {name: part.missing for name, part in self._parts.items() if part.missing}

    def record(self, name: str) -> LayerRecord:
        """Return a saved layer, finished or not, as it was given to `save`."""
        return _Finished(self._parts, shown=False)[name]

    @staticmethod
    def _records(parts: Mapping[str, _Part]) -> Mapping[str, LayerRecord]:
        return _Finished(dict(sorted(parts.items(), key=lambda item: item[1].row.index)))

    def save(self, record: LayerRecord, *, missing: Sequence[str] = ()) -> LayerSummary:
        """Keep a layer; once this returns, neither a kill nor a power cut takes it back.

        Args:
            record: replaces an earlier one of the same name.
            missing: quantities that are still to be computed of it; a partial report then calls it ``incomplete``.

        Returns:
            The layer in numbers.

        Raises:
            ReportError: the disk is full or the directory has become unwritable; the earlier record is kept.
        """
        stem = _stem(record.name)
        shown = replace(record, status="incomplete") if missing and record.status in _SOUND else record
        with self.exclusive, temporary(self.directory / stem) as part:
            with explained(self.report), created(part) as output:
                output.file.attrs["run"] = self._sha256
                output.file.attrs["seconds"] = record.seconds
                output.file.attrs["status"] = record.status
                output.file.attrs["missing"] = json.dumps(list(missing))
                (row,) = write_groups(output, [shown])
                write_row(output.file, row)
            with explained(self.report):
                path = self.directory / f"{stem}-{_file_sha256(part)}.h5"
            publish(part, path)
            earlier = self._parts.get(record.name)
            self._parts[record.name] = _Part(path, row, tuple(missing))
            if earlier is not None and earlier.path != path:
                earlier.path.unlink(missing_ok=True)
        return row

    def save_progress(self, key: str, state: State) -> None:
        """Keep how far a computation has come.

        Raises:
            ReportError: the disk is full or the directory has become unwritable.
        """
        with self.exclusive:
            save_progress(progress_path(self.directory, key), self._sha256, state)

    def progress(self, key: str) -> State | None:
        """How far an earlier run with an equal key had come with a computation."""
        return load_progress(progress_path(self.directory, key), self._sha256)

    def drop_progress(self, key: str) -> None:
        """Forget a computation whose layers are saved."""
        progress_path(self.directory, key).unlink(missing_ok=True)

    def drop_all_progress(self) -> None:
        """Forget all computations."""
        self._discard(self._inside(_WORK))

    def merge(
        self,
        provenance: Provenance,
        *,
        status: ReportStatus = "complete",
        inputs: Iterable[InputsRecord] = (),
        checks: Iterable[CheckRecord] = (),
        studies: Iterable[StudyRecord] = (),
    ) -> Path:
        """Write the report from all finished layers, replacing an earlier one at the end.

        A partial one has the layers too of which only some quantities are finished.

        Args:
            provenance: the moment and the host are filled in.
            status: with ``complete`` the parts are deleted afterwards; with ``partial`` they are kept, and the next
                run resumes from them.
            inputs: derivatives by the inputs, one record per function; no part keeps them.
            checks: what was verified; no part keeps it.
            studies: likewise.

        Returns:
            The path of the report.

        Raises:
            ReportError: the disk is full or the directory has become unwritable; report and parts are as before.
            ValueError: two layers have the same index, or two functions the same name.
        """
        with self.exclusive:
            layers = (self.finished() if status == "complete" else self._records(self._parts)).values()
            write_report(self.report, layers, provenance, status=status, inputs=inputs, checks=checks, studies=studies)
        if status == "complete":
            with explained(self.directory):
                self._discard([*(part.path for part in self._parts.values()), *self._inside(_WORK)])
            self._parts.clear()
        return self.report

    def _refuse_strange_entries(self) -> None:
        """Keep what is no file of ours from being written through, or from stopping a run at its end."""
        with explained(self.directory):
            if not self.directory.exists():
                return
            entries = [entry for entry in os.scandir(self.directory) if _KEPT.fullmatch(entry.name)]
        for entry in entries:
            if not entry.is_file(follow_symlinks=False):
                other = "a directory" if entry.is_dir(follow_symlinks=False) else "not a regular file"
                kind = "a symbolic link" if entry.is_symlink() else other
                raise ReportError(f"{entry.path}: is {kind}, where a run keeps a file of its own: remove it")

    def _adopt_or_discard(self) -> None:
        for file in [*leftovers(self.report), *self._inside(re.compile(r".*\.\d+-[0-9a-f]{8}\.tmp"))]:
            file.unlink(missing_ok=True)
        part_files = self._inside(_PART)
        run = self._read_run()
        if run is None or run.get("key_sha256") != self._sha256:
            # The parts go first: were the new key written first, a kill in between would give them to the wrong run.
            self._discard([*part_files, *self._inside(_WORK)])
            self.discarded = len(part_files)
            if part_files:
                self.previous = "other"
                self.changed = _differences(run.get("key") if run else None, self._key)
            replaced(self.directory / _RUN, _canonical({"key": self._key, "key_sha256": self._sha256}))
            return
        for file in part_files:
            self._adopt(file)
        if self._parts:
            self.previous = "same"

    def _adopt(self, path: Path) -> None:
        summary_and_missing = self._identified(path)
        if summary_and_missing is None or summary_and_missing[0].name in self._parts:
            self._discard([path])
            self.discarded += 1
        else:
            row, missing = summary_and_missing
            self._parts[row.name] = _Part(path, row, missing)

    def _identified(self, path: Path) -> tuple[LayerSummary, tuple[str, ...]] | None:
        """Return the row of the layer that a part holds, and what it lacks; ``None`` for a damaged or foreign one."""
        try:
            if _file_sha256(path) != path.stem.partition("-")[2]:
                return None
            with opened(path) as file:
                row = read_row(file)
                missing = tuple(json.loads(file.attrs["missing"]))
                return (row, missing) if file.attrs["run"] == self._sha256 else None
        except (ReportError, ValueError, TypeError, RecursionError):
            return None

    def _read_run(self) -> dict[str, object] | None:
        try:
            run = json.loads(read_bounded(self.directory / _RUN, "the key of a run", _RUN_BYTES, error=ReportError))
        except (ReportError, ValueError, RecursionError):
            return None
        return run if isinstance(run, dict) else None

    def _inside(self, pattern: re.Pattern[str]) -> list[Path]:
        return sorted(file for file in self.directory.iterdir() if pattern.fullmatch(file.name))

    def _discard(self, files: list[Path]) -> None:
        for file in files:
            with suppress(FileNotFoundError):
                file.unlink()
        sync_directory(self.directory)


class _Finished(Mapping[str, LayerRecord]):
    """Finished layers, read when looked up: a model's results may be larger than memory."""

    def __init__(self, parts: Mapping[str, _Part], *, shown: bool = True) -> None:
        self._parts, self._shown = parts, shown

    def __getitem__(self, name: str) -> LayerRecord:
        row = self._parts[name].row
        with opened(self._parts[name].path) as file:
            seconds, status = float(file.attrs["seconds"]), str(file.attrs["status"])
            shown = row.status if self._shown else status
            return read_layer(file, replace(row, seconds=seconds, status=shown))

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: object) -> bool:
        return name in self._parts  # Mapping's own would read the whole layer


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _stem(layer: str) -> str:
    return hashlib.sha256(layer.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _file_sha256(path: Path) -> str:
    with open_regular(path, "a finished layer", error=ReportError) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _differences(before: object, now: Mapping[str, object]) -> tuple[str, ...]:
    if not isinstance(before, dict):
        return ()
    names = [*now, *(name for name in before if name not in now)]
    missing = object()
    return tuple(name for name in names if before.get(name, missing) != now.get(name, missing))
