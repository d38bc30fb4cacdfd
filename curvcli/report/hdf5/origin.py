"""What may be replaced at a report's path: a rerun's own earlier report freely, another one only when told to."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from curvcli.errors import ReportError
from curvcli.files import lasting
from curvcli.report.hdf5.atomic import is_free
from curvcli.report.hdf5.read import Head, read_head
from curvcli.report.records.layers import Provenance
from curvcli.wording import option


@dataclass(frozen=True)
class Origin:
    """What a rerun shares with the report that it may replace without being told to.

    Attributes:
        command: its name, e.g. ``diag``.
        model: the saved model's path.
        spec: the path of the file that holds the dataset spec; ``None`` where that is not known.
    """

    command: str
    model: Path
    spec: Path | None

    def locations(self, report: Path) -> dict[str, str]:
        """The fields of a ``Provenance`` by which a later run recognises its own report."""
        return {
            "command_name": self.command,
            "model_location": location(self.model, report),
            "spec_location": "" if self.spec is None else location(self.spec, report),
        }


def location(path: Path, report: Path) -> str:
    """A path as seen from the report's folder, so that it means the same from every working directory.

    What lay in memory has its name alone: the same class of model and the same kind of data, whatever they now hold.
    """
    if lasting(path) != str(path):
        return lasting(path)
    folder = _real(report).parent
    try:
        return Path(os.path.relpath(_real(path), folder)).as_posix()
    except ValueError:  # another drive of Windows
        return _real(path).as_posix()


def _real(path: Path) -> Path:
    """The path without links; one that leads back to itself stays as it is."""
    return Path(os.path.realpath(path))


def earlier_report(report: Path) -> Head | None:
    """What the report at a path says of its origin; ``None`` where there is nothing, or an empty file.

    Raises:
        ReportError: something else is there, which nobody wants to lose to a mistyped output; or nothing that a
            report could replace.
    """
    if is_free(report) or not report.stat().st_size:
        return None
    try:
        return read_head(report)
    except ReportError as error:
        raise ReportError(
            f"{report}: is not a curvcli report; refusing to overwrite it: move it away, or choose another "
            f"{option('output')}"
        ) from error


def refuse_to_replace(report: Path, origin: Origin, *, force: bool) -> None:
    """Refuse a path that holds the report of another command, model or dataset spec.

    Args:
        report: where the run will write.
        origin: of the run.
        force: replace any report; what is not a report is refused all the same.

    Raises:
        ReportError: there is such a report, or something that is not a report.
    """
    earlier = earlier_report(report)
    if earlier is None or force:
        return
    different = _difference(earlier.provenance, origin, report)
    if different:
        raise ReportError(
            f"{report}: holds a report of {different}; refusing to overwrite it.\n"
            f"Replace it with {option('force', True)}, or choose another {option('output')}."
        )


def _difference(earlier: Provenance, origin: Origin, report: Path) -> str:
    """What the earlier report is of, where that is something else."""
    command = earlier.command_name or _command_of(earlier.command_line)
    if command and command != origin.command:
        return f"`curvcli {command}`"
    if not _same_model(earlier, origin, report):
        return f"another model, {earlier.model_path}"
    if earlier.spec_location and origin.spec is not None and earlier.spec_location != location(origin.spec, report):
        return f"another dataset spec, {earlier.spec_location}"
    return ""


def _same_model(earlier: Provenance, origin: Origin, report: Path) -> bool:
    if earlier.model_location:
        return earlier.model_location == location(origin.model, report)
    # Reports of earlier versions have the path as it was typed, from a working directory that is not known.
    folders = (Path(), _real(report).parent)
    return any(_real(folder / earlier.model_path) == _real(origin.model) for folder in folders)


def _command_of(line: str) -> str:
    """The command's name in a line as typed; empty where it can't be told."""
    try:
        words = shlex.split(line)
    except ValueError:
        return ""
    return words[1] if len(words) > 1 and words[0] == "curvcli" and not words[1].startswith("-") else ""
