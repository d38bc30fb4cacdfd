"""A layer and a parameter without their arrays: the rows of the tables ``/summary`` and ``/parameters``."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from curvcli.report.records.entries import Statistics
from curvcli.report.records.matrices import HESSIAN
from curvcli.report.records.spectra import SpectralStatistics
from curvcli.report.records.split import SplitPartSummary


@dataclass(frozen=True, kw_only=True)
class ParameterSummary(Statistics):
    """One parameter without its arrays: a row of ``/parameters``. The fields are `ParameterRecord`'s.

    Attributes:
        layer: that it belongs to.
        channel_relative_stderr: Euclidean norm of the standard errors of sums per output channel over that of the sums;
            NaN where these have no error of their own.
    """

    layer: str = ""
    label: str
    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    method: str
    exact: bool
    reason: str
    products: int
    status: str
    estimates: int = 0
    degrees: float = nan
    widening: float = 1.0
    independent: bool = False
    rounding: float = nan
    verified: float = nan
    verification: str = ""
    matrix: str = HESSIAN
    channel_relative_stderr: float = nan


@dataclass(frozen=True, kw_only=True)
class LayerSummary(Statistics, SpectralStatistics):
    """One layer without its arrays: a row of ``/summary``. The fields are `LayerRecord`'s.

    Attributes:
        split: the gradient in two parts, one row of ``/split_parts`` per part; empty where it was not computed.
        diagonal_rounding: how far any entry of the diagonal may be off by rounding; NaN where it is not known of all
            parameters that have one.
        diagonal_verified: largest difference between the diagonal and products made to check it; NaN where none was.
    """

    name: str
    kind: str
    index: int
    parameter_count: int
    method: str
    exact: bool
    products: int
    status: str
    parameters: tuple[ParameterSummary, ...]
    seconds: float
    split: tuple[SplitPartSummary, ...] = ()
    diagonal_rounding: float = nan
    diagonal_verified: float = nan
