"""Reports of one training run in order: by the step in their names, by time, or by name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

from curvcli.errors import UsageError
from curvcli.report.hdf5.read import Report
from curvcli.text import printable
from curvcli.wording import option

Order = Literal["step", "time", "name"]

ORDERS: Final[tuple[Order, ...]] = get_args(Order)
# Words that name a step, whatever other numbers stand in a name; the first that all names have.
_STEPS: Final = ("step", "iteration", "iter", "epoch")
_NUMBER: Final = "[0-9]{1,15}"  # a longer one is a digest or a date with its time, and no step
_TOKENS: Final = re.compile(f"({_NUMBER})")


@dataclass(frozen=True)
class Ordered:
    """Reports in order.

    Attributes:
        reports: the earliest first.
        steps: of each, or its position from 1 where the names have no number that is one.
        order: which order it is.
        how: that order in words.
        numbered: whether the steps are those of the names.
    """

    reports: tuple[Report, ...]
    steps: tuple[int, ...]
    order: Order
    how: str
    numbered: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """What to call each report: the path without what all paths begin with."""
        return labels([report.path.as_posix() for report in self.reports])


def ordered(reports: Sequence[Report], order: Order | None = None) -> Ordered:
    """Put reports in order.

    Args:
        reports: in any order.
        order: ``step``: by the number in the reports' names, or else in those of their models, that stands behind
            ``step``, ``iteration`` or ``epoch``, or is the only one that differs; equal steps by time. ``time``: by
            when the reports were made. ``name``: by name, ``step_9`` before ``step_10``. Default: by step; without
            steps by time; and where the times are equal, by name.

    Raises:
        UsageError: it is to be by step, and the names have none; or by time, and the reports have none.
    """
    steps, source = _steps_of(reports)
    times = [report.provenance.created_utc for report in reports]
    if order == "step" and steps is None:
        names = ", ".join(printable(report.path.name) for report in reports[:3])
        raise UsageError(
            f"{option('order', 'step')}: the names of the reports and of their models have no number that tells the "
            f"step: {names}{' …' if len(reports) > 3 else ''}.\nRename them to step_100.h5, or order them by time."
        )
    if order == "time" and not all(times):
        raise UsageError(f"{option('order', 'time')}: not all of the reports say when they were made.")
    distinct = all(times) and len(set(times)) == len(times)
    chosen: Order = order or ("step" if steps is not None else "time" if distinct else "name")
    by_name = [natural(report.path.as_posix()) for report in reports]
    number_of = steps if steps is not None else [0] * len(reports)
    keys = {
        "step": lambda i: (number_of[i], times[i], by_name[i]),
        "time": lambda i: (times[i], number_of[i], by_name[i]),
        "name": lambda i: (by_name[i], times[i]),
    }
    places = sorted(range(len(reports)), key=keys[chosen])
    # Along an axis of steps the reports have to stand in their order, whatever that is.
    along = steps is not None and all(steps[a] <= steps[b] for a, b in pairwise(places))
    how = {"step": f"by step, {source}", "time": "by the time at which the reports were made", "name": "by name"}
    return Ordered(
        reports=tuple(reports[i] for i in places),
        steps=tuple(steps[i] for i in places) if steps is not None and along else tuple(range(1, len(places) + 1)),
        order=chosen,
        how=how[chosen],
        numbered=along,
    )


def natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Return what sorts names as a person does: ``step_9`` before ``step_10``."""
    return tuple(
        (False, int(token), "") if place % 2 else (True, 0, token) for place, token in enumerate(_TOKENS.split(text))
    )


def labels(paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths without the folders that all of them begin with."""
    folders = [os.path.dirname(path) for path in paths]  # noqa: PTH120 - as text: it may be of another system
    try:
        shared = os.path.commonpath(folders) if all(folders) else ""
    except ValueError:  # some absolute, some not
        shared = ""
    return tuple(path[len(shared) :].lstrip("/") if shared else path for path in paths)


def _steps_of(reports: Sequence[Report]) -> tuple[list[int] | None, str]:
    """Return the steps in the reports' names, or else in their models', and where they are from."""
    of_reports = labels([report.path.as_posix().removesuffix(".h5") for report in reports])
    of_models = [report.provenance.model_path.replace("\\", "/") for report in reports]
    for names, owners in ((of_reports, "reports"), (labels(of_models), "models")):
        steps, before = _steps(names)
        if steps is not None:
            return steps, f"the number {before}in the names of the {owners}"
    return None, ""


def _steps(names: Sequence[str]) -> tuple[list[int] | None, str]:
    for word in _STEPS:
        numbers_of = [re.findall(rf"(?<![a-z]){word}s?[^a-z0-9]?({_NUMBER})", name, re.IGNORECASE) for name in names]
        if all(numbers_of):
            steps = [int(numbers[-1]) for numbers in numbers_of]
            if len(set(steps)) > 1:
                return steps, f"behind '{word}' "
    tokens = [_TOKENS.split(name) for name in names]
    if len({tuple(one[::2]) for one in tokens}) == 1:
        columns = [column for column in zip(*(one[1::2] for one in tokens), strict=True) if len(set(column)) > 1]
        if len(columns) == 1 and len(set(map(int, columns[0]))) > 1:
            return [int(number) for number in columns[0]], ""
    return None, ""
