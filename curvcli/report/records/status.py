"""How a report, the work on a layer, and a check may end, and the codes that a file has for it."""

from __future__ import annotations

from typing import Final, Literal

ReportStatus = Literal["complete", "partial"]
Status = Literal["done", "over_budget", "nonfinite", "failed", "not_converged", "imprecise", "unverified", "incomplete"]

# 0 stays free for "pending". Later versions append codes and never renumber.
STATUS_CODES: Final[dict[Status, int]] = {
    "done": 1,
    "over_budget": 2,
    "nonfinite": 3,
    "failed": 4,
    "not_converged": 5,  # finished, but the requested tolerance is not reached
    "imprecise": 6,  # finished, but rounding has spoilt the digits
    "unverified": 7,  # a check in the same run contradicts it
    "incomplete": 8,  # the run was interrupted before all quantities of the layer were computed
}
# There are numbers, but they are not to be relied on.
UNRELIABLE: Final = frozenset({"imprecise", "unverified"})

Outcome = Literal["passed", "failed", "skipped"]
OUTCOME_CODES: Final[dict[Outcome, int]] = {"passed": 1, "failed": 2, "skipped": 3}
