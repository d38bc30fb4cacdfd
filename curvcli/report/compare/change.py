"""One quantity in two reports, and when their difference counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Final, Literal

from curvcli.report import columns

Outcome = Literal["same", "within error", "changed", "undecided", "worse", "not worse", "not judged"]

# A share is relative already: beside 0.2 % of negative entries 0.4 % is nothing.
SHARES: Final[Mapping[str, float]] = {c.name: c.tolerance for c in columns.LAYERS.columns if c.tolerance}


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """When a difference counts: it exceeds atol + rtol · the larger magnitude of the two, and the error bars.

    Attributes:
        rtol: relative.
        atol: absolute, in the quantity's own unit; by default 0, but one percentage point for shares.
        sigma: of the error bars, in normal standard errors; see `Noise.limit`. 0 for none.
        rtols: of single quantities.
        atols: of single quantities.
    """

    rtol: float = 0.1
    atol: float = 0.0
    sigma: float = 4.0
    rtols: Mapping[str, float] = field(default_factory=dict)
    atols: Mapping[str, float] = field(default_factory=lambda: SHARES)

    def of(self, quantity: str, old: float, new: float) -> float:
        """Return the tolerance for a difference of these two."""
        relative, absolute = self.rtols.get(quantity, self.rtol), self.atols.get(quantity, self.atol)
        return absolute + (relative * max(abs(old), abs(new)) if relative else 0.0)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One quantity of one layer.

    Attributes:
        layer: ``None`` for the whole report.
        quantity: as in the report's summary.
        old: in the base.
        new: in the new report.
        change: new − old.
        tolerance: what the change may be.
        noise: what it may be by the error bars alone.
        old_stderr: of an estimate.
        new_stderr: of an estimate.
        old_data_stderr: how far another draw of the data could move it; not part of `noise`, for the data are the same.
        new_data_stderr: the same of the new one.
        outcome: ``changed`` exceeds both, ``within error`` only the tolerance, ``undecided`` the tolerance where
            there is no error bar. Judged in one direction, what changed is ``worse`` or ``not worse``, and
            ``not judged`` where neither direction is the worse one.
        note: why it is undecided, and what else there is to know.
    """

    layer: str | None
    quantity: str
    old: float
    new: float
    change: float
    tolerance: float
    noise: float
    old_stderr: float
    new_stderr: float
    old_data_stderr: float
    new_data_stderr: float
    outcome: Outcome
    note: str

    @property
    def relative(self) -> float:
        """The change relative to the old value; NaN where there is no such thing."""
        return self.change / abs(self.old) if self.old and isfinite(self.change) else nan
