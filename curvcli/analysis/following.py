"""Reports of one training run, followed over its steps: which of them, in which order, which layers."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from curvcli.analysis.options.kinds import Flag, Names, OneOf
from curvcli.analysis.options.record import Options
from curvcli.errors import ReportError
from curvcli.report.compare.subjects import subjects
from curvcli.report.course.course import Course, course_of
from curvcli.report.course.order import ORDERS, Order, natural, ordered
from curvcli.report.hdf5.read import Report
from curvcli.spec.patterns import select


@dataclass(frozen=True)
class CourseOptions(Options):
    """Of the commands that take many reports.

    Attributes:
        layer: patterns of layers; none for the whole model.
        exclude: patterns of what is left out.
        order: what reports are ordered by; None for the step, else the time, else the name.
        allow_mismatch: whether reports of other losses, data or layers are shown together.
    """

    layer: Annotated[tuple[str, ...], Names()] = ()
    exclude: Annotated[tuple[str, ...], Names()] = ()
    order: Annotated[Order | None, OneOf(ORDERS)] = None
    allow_mismatch: Annotated[bool, Flag()] = False


def followed(reports: Sequence[Report], options: CourseOptions) -> Course:
    """Read the course of reports.

    Raises:
        UsageError: they are of different things, have no step to be ordered by, or a pattern matches nothing.
        ReportError: one can't be read any more.
    """
    layers: list[str] | None = None
    if options.layer or options.exclude:
        rows = [row.name for report in reports for row in report.layers]
        names = list(dict.fromkeys(rows or [name for report in reports for name in subjects(report)]))
        layers = [names[i] for i in select(names, options.layer, options.exclude)]
    return course_of(ordered(reports, options.order), layers, allow_mismatch=options.allow_mismatch)


def expanded(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the paths of reports, globs that the shell has left alone expanded, each file once.

    Raises:
        ReportError: a glob matches no file.
    """
    files: dict[str, Path] = {}
    for path in paths:
        text = os.fspath(path)
        matches = [text]
        if glob.has_magic(text) and not os.path.lexists(text):
            matches = sorted(glob.glob(text, recursive=True), key=natural)  # noqa: PTH207 - Path.glob takes no absolute one
            if not matches:
                raise ReportError(f"{text}: no file matches this pattern")
        for match in matches:
            files.setdefault(os.path.realpath(match), Path(match))
    return list(files.values())
