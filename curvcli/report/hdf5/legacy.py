"""What the tables of reports before format 1.2 lack or say wrongly, mended as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Any

import h5py

from curvcli.report.hdf5.schema import LAYERS, SUMMARY, escape
from curvcli.report.records.ends import LARGEST, SMALLEST, ends


def add_searched_ends(file: h5py.File, rows: Sequence[dict[str, Any]]) -> None:
    """Say in the rows of ``/summary`` which eigenvalues were searched for, and take out what is no end of a spectrum.

    Old reports called the k-th largest the smallest, and the other way round.
    """
    if "eigen_which" in file[SUMMARY]:
        return
    for row in rows:
        if not row.get("eigen_method"):
            continue
        row["eigen_which"] = str(file[LAYERS][escape(row["name"])]["eigen"].attrs["which"])
        searched = ends(row["eigen_which"], row.get("eigenvalues", ()), row["parameter_count"])
        for end, column in ((LARGEST, "top_eigenvalue"), (SMALLEST, "smallest_eigenvalue")):
            if end not in searched:
                row[column] = nan
