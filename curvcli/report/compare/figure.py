"""One number of one layer with what is known of its error, and the names of all there can be."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Final, Literal

from curvcli.report import columns
from curvcli.report.records.estimates import Estimates
from curvcli.report.records.layers import Array
from curvcli.report.studies.registry import TABLES

LOSS: Final = "loss"
FAILED: Final = "failed"  # of a check: 1 where it failed, 0 where it passed
DIAGONAL: Final = ("diagonal_min", "diagonal_max", "diagonal_mean", "diagonal_abs_mean", "negative_share")
INERTIA: Final = ("positive_eigenvalues", "zero_eigenvalues", "negative_eigenvalues")
_TABLES: Final = (columns.LAYERS, columns.INPUTS, columns.SPLIT, columns.CHECKS, *TABLES.values())


def _names(role: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c.name for table in _TABLES for c in table.columns if c.role == role))


# What can be compared, in the order in which it is shown; an eigenvalue that is no end of the spectrum has its rank.
COMPARED: Final = (LOSS, *_names("property"), FAILED)
# What can only be held against a threshold: how well something was computed is no property of the network.
ONLY_BOUNDED: Final = _names("quality")

# The spread of fewer estimates than this says too little: eight of them agree by chance often enough.
_FEWEST: Final = 8
# Estimates of two possible values, as of a block with two parameters, are all equal in one of 2ⁿ⁻¹ cases.
FEWEST_EQUAL: Final = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """One number of one layer.

    Attributes:
        value: NaN where the computation gave that; what was not computed has no figure.
        stderr: standard error over probes, as it is reported; 0 for an exact number, NaN where it is not known.
        degrees: of freedom of `stderr`.
        widening: factor that it holds already because its estimates are few.
        choices: among how many entries this one was chosen, as the largest or smallest; else 1.
        bound: how far the true value may be off besides, for certain: an eigenvalue's residual, and rounding.
        data_stderr: how far another draw of the data could move it; no error of the estimate, and never part of it.
        samples: (probes,) independent estimates whose mean is the value; ``None`` where they are not independent.
        stream: where it comes from: equal probes for equal streams, or which end of the spectrum an eigenvalue is.
        unreliable: why the value itself is not to be relied on; empty where it is.
        doubt: why a difference to another report's figure can't be judged; empty where it can.
        note: what a reader should know.
        matrix: what it is a number of; empty where that is the same in all reports.
        definition: what it is, where that depends on the options of the run; else empty.
        precision: of the computation, where what counts as zero depends on it; else empty.
        only: whether the value is no more than a ``lower`` or an ``upper`` bound of the true one; else empty.
    """

    value: float
    stderr: float = 0.0
    degrees: float = inf
    widening: float = 1.0
    choices: int = 1
    bound: float = 0.0
    data_stderr: float = nan
    samples: Array | None = None
    stream: str = ""
    unreliable: str = ""
    doubt: str = ""
    note: str = ""
    matrix: str = ""
    definition: str = ""
    precision: str = ""
    only: Literal["", "lower", "upper"] = ""

    @property
    def spread(self) -> float:
        """The standard error as the spread of the estimates has it: what Student's quantiles are to be taken of."""
        return self.stderr / self.widening


def is_quantity(name: str) -> bool:
    """Whether any report could hold a quantity of this name."""
    rank = name.removeprefix("eigenvalue_")
    return name in COMPARED or name in ONLY_BOUNDED or (rank != name and rank.isdecimal() and int(rank) > 0)


def is_of_layers(name: str) -> bool:
    """Whether layers can have a quantity of this name."""
    column = columns.LAYERS.find(name)
    return (column is not None and bool(column.role)) or name not in (*COMPARED, *ONLY_BOUNDED)


def place(name: str) -> tuple[int, int]:
    """Return what sorts names into the order of `COMPARED`, ranked eigenvalues after the top one."""
    if name in COMPARED:
        return COMPARED.index(name), 0
    return COMPARED.index("top_eigenvalue"), int(name.removeprefix("eigenvalue_"))


def unknown(estimates: Estimates, stderr: float) -> str:
    """Return why the spread of these estimates is no error bar; empty where it is."""
    count = 0 if isnan(estimates.degrees) else estimates.count
    if count < _FEWEST or isnan(stderr):
        return few(count)
    return f"{count} equal probes are too few for an error bar" if not stderr and count < FEWEST_EQUAL else ""


def few(estimates: int) -> str:
    """Return why so few estimates give no error bar."""
    if not estimates:
        return "it does not say how many probes it is from"
    return f"{estimates} probes are too few for an error bar"
