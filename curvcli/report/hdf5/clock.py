"""When and where a report was made: the one place that honours ``SOURCE_DATE_EPOCH``."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime

from curvcli.errors import UsageError

VARIABLE = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True)
class Stamp:
    """What a report says of the moment and the machine.

    Attributes:
        created_utc: ISO 8601 to the second.
        host: the machine's name, empty when the stamp is fixed.
        fixed: whether ``SOURCE_DATE_EPOCH`` was set. The writer then stores 0 for every layer's seconds too, so that
            equal work gives byte-equal files; see https://reproducible-builds.org/specs/source-date-epoch/.
    """

    created_utc: str
    host: str
    fixed: bool


def stamp() -> Stamp:
    """Return the stamp of a report written now.

    Raises:
        UsageError: ``SOURCE_DATE_EPOCH`` is set and is not a number of seconds.
    """
    epoch = os.environ.get(VARIABLE, "")
    if not epoch:
        return Stamp(_iso(datetime.now(UTC)), platform.node(), fixed=False)
    try:
        return Stamp(_iso(datetime.fromtimestamp(int(epoch), UTC)), "", fixed=True)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{VARIABLE}={epoch!r}: give whole seconds since 1970, or unset it") from None


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
