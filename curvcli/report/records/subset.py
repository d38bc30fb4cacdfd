"""What is said of reports on a random subset of the samples that was taken to be large enough."""

from __future__ import annotations

from math import isfinite

from curvcli.report.records.layers import Provenance
from curvcli.text import printable


def subset_words(run: Provenance) -> str:
    """How many samples of how many, and the error over the data that is left; empty where all were used that should be.

    The error is that of the worst figure: a standard error of its difference to the figure of all samples.
    """
    if not run.data_rtol:
        return ""
    of = f"{run.samples} of {run.available}"
    if run.data_error == 0:
        return of
    error = f"{100 * run.data_error:.2g} %" if isfinite(run.data_error) else "not known"
    worst = f" ({printable(run.data_worst)})" if run.data_worst else ""
    return f"{of}, at random: error over the data at most {error}{worst}, requested {100 * run.data_rtol:.3g} %"
