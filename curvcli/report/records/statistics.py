"""A layer in numbers: the rows it fills in the tables, computed from its arrays in float64."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan, nan, sqrt
from typing import Any

import numpy as np

from curvcli.report.records.entries import Ingredients, ratio, squared_norm, statistics
from curvcli.report.records.layers import Array, LayerRecord, ParameterRecord
from curvcli.report.records.spectra import spectral
from curvcli.report.records.split import SplitPartSummary, SplitRecord
from curvcli.report.records.summaries import LayerSummary, ParameterSummary


def summarise(record: LayerRecord) -> LayerSummary:
    """Return the rows that `record` fills in the tables."""
    ingredients = [Ingredients.of(p) for p in record.parameters]
    parameters = tuple(
        _parameter(record.name, p, statistics([of_parameter]))
        for p, of_parameter in zip(record.parameters, ingredients, strict=True)
    )
    columns: dict[str, Any] = statistics(ingredients if record.entries is None else [Ingredients()])
    of_block = spectral(record)
    diagonals = [p for p in record.parameters if p.diagonal is not None]
    if record.trace is not None:
        columns["trace"] = record.trace.value
    elif columns["diagonal_relative_stderr"] == 0.0:
        of_block["trace_stderr"] = 0.0
    else:
        of_block["trace_stderr"] = record.diagonal_sum_stderr
    return LayerSummary(
        name=record.name,
        kind=record.kind,
        index=record.index,
        parameter_count=record.parameter_count,
        method=record.method,
        exact=record.exact,
        products=record.products,
        status=record.status,
        parameters=parameters,
        split=tuple(_split(record.name, record.split)) if record.split is not None else (),
        seconds=record.seconds,
        diagonal_rounding=float(np.max([p.rounding for p in diagonals], initial=0.0)) if diagonals else nan,
        diagonal_verified=max((p.verified for p in diagonals if not isnan(p.verified)), default=nan),
        **columns,
        **of_block,
    )


def _parameter(layer: str, record: ParameterRecord, columns: dict[str, float]) -> ParameterSummary:
    return ParameterSummary(
        layer=layer,
        label=record.label,
        name=record.name,
        shape=record.shape,
        axes=record.axes,
        method=record.method,
        exact=record.exact,
        reason=record.reason,
        products=record.products,
        status=record.status,
        estimates=record.estimates,
        degrees=record.degrees,
        widening=record.widening,
        independent=record.independent,
        rounding=record.rounding,
        verified=record.verified,
        verification=record.verification,
        matrix=record.matrix,
        channel_relative_stderr=ratio(squared_norm(record.channel_stderr), squared_norm(record.channel_sums)),
        **columns,
    )


def _split(layer: str, record: SplitRecord) -> Iterator[SplitPartSummary]:
    output_gradient_norm = _norm(record.output_gradient)
    for part in record.parts:
        yield SplitPartSummary(
            name=f"{layer}:{part.by}",
            layer=layer,
            operation=record.operation,
            z_shape=record.z_shape,
            samples=record.samples,
            output_gradient_norm=output_gradient_norm,
            by=part.by,
            kind=part.kind,
            shape=part.shape,
            kept=part.kept,
            reason=part.reason,
            product_norm=_norm(part.product),
            gradient_norm=_norm(part.gradient),
            difference=part.difference,
            relative_difference=part.relative_difference,
            passes=part.passes,
        )


def _norm(array: Array) -> float:
    return sqrt(squared_norm(array) or 0.0)
