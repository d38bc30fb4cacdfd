"""What a run hands to a report: plain frozen records, with the arrays of one layer at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from curvcli.report.records.matrices import HESSIAN
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, Quantity, TraceRecord
from curvcli.report.records.split import SplitRecord
from curvcli.report.records.status import Status
from curvcli.report.records.validation import (
    check_axes,
    check_errors,
    check_estimates,
    check_floats,
    check_matrix,
    check_shape,
    check_status,
)

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ParameterRecord:
    """The results of one parameter.

    Attributes:
        label: the name inside its layer, e.g. ``kernel``.
        name: the name in the model, e.g. ``conv4_3/kernel``.
        shape: in the framework's own layout.
        axes: one word per axis.
        gradient: float32 or float64, of `shape`; ``None`` when it was not computed.
        diagonal: of the matrix, float32 or float64, of `shape`; ``None`` when it was not computed.
        diagonal_stderr: standard error of an estimated diagonal, of `shape`; ``None`` for an exact one.
        channel_sums: sums of an estimated diagonal per output channel, float64, (channels,); ``None`` where these have
            no error of their own.
        channel_stderr: their standard errors, likewise: much smaller than those of the entries together.
        method: how the diagonal was computed; empty, without a diagonal, when it was not requested.
        exact: whether the diagonal is exact up to rounding.
        reason: why this method, or why there is no result.
        products: Hessian-vector products spent.
        status: how it ended.
        estimates: from how many estimates `diagonal_stderr` is; 0 for an exact diagonal, or where it is not known.
        degrees: of freedom of `diagonal_stderr`; infinite for an exact diagonal, NaN where it is not known.
        widening: factor that `diagonal_stderr` holds for few estimates; without it ± 2 would cover too little.
        independent: whether those estimates are independent of each other.
        rounding: how far an entry of the diagonal may be off by rounding, in the unit of the diagonal; NaN where it is
            not known.
        verified: largest absolute difference between the reported diagonal and products made to check it; NaN where
            none was made.
        verification: what was checked, in a short phrase, e.g. ``2 entries and the sum, by 3 products``.
        matrix: what the diagonal is of.

    Raises:
        ValueError: a shape, dtype, axis or status does not fit, or a number of estimates or a distance is negative.
    """

    label: str
    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    gradient: Array | None = None
    diagonal: Array | None = None
    diagonal_stderr: Array | None = None
    channel_sums: Array | None = None
    channel_stderr: Array | None = None
    method: str = ""
    exact: bool = False
    reason: str = ""
    products: int = 0
    status: Status = "done"
    estimates: int = 0
    degrees: float = nan
    widening: float = 1.0
    independent: bool = False
    rounding: float = nan
    verified: float = nan
    verification: str = ""
    matrix: str = HESSIAN

    def __post_init__(self) -> None:
        check_axes(self.name, self.axes, self.shape)
        for quantity in ("gradient", "diagonal", "diagonal_stderr"):
            array: Array | None = getattr(self, quantity)
            if array is None:
                continue
            if array.shape != self.shape:
                raise ValueError(f"{self.name}: {quantity} has shape {array.shape}, the parameter {self.shape}")
            check_floats(self.name, {quantity: array})
        if self.diagonal_stderr is not None and self.diagonal is None:
            raise ValueError(f"{self.name}: a standard error needs its diagonal")
        if (self.channel_sums is None) != (self.channel_stderr is None):
            raise ValueError(f"{self.name}: sums per channel and their standard errors go together")
        if self.channel_sums is not None and self.channel_stderr is not None:
            check_floats(self.name, {"sums": self.channel_sums, "errors": self.channel_stderr}, axes=1)
            check_shape(self.name, "errors of sums per channel", self.channel_stderr, self.channel_sums.shape)
            check_errors(self.name, {"errors of sums per channel": self.channel_stderr})
        check_errors(self.name, {"rounding": self.rounding, "verified": self.verified})
        check_estimates(self.name, self.estimates, self.degrees, self.widening)
        check_status(self.name, self.status)
        check_matrix(self.name, self.matrix)

    @property
    def size(self) -> int:
        """The number of entries."""
        return prod(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRecord:
    """The results of one layer, or of a block that spans several.

    Attributes:
        name: exact, unique in the model.
        kind: e.g. ``conv``.
        index: its place in the model; the report keeps layers in this order.
        parameters: in the layer's own order, with distinct labels; empty for a block that spans several layers.
        seconds: wall time spent.
        status: how it ended.
        trace: of the layer's block; ``None`` when it was not computed on its own.
        eigen: eigenpairs; ``None`` when not computed.
        density: the spectral density; ``None`` when not computed.
        block: the full Hessian; ``None`` when not computed.
        split: the gradient in two parts at the layer's output; ``None`` when not computed.
        diagonal_sum_stderr: standard error of the sum of an estimated diagonal; NaN where it is not known.
        entries: how many entries a block has whose parameters belong to other layers; ``None`` for all others. Its
            eigenvectors are keyed by full parameter names.

    Raises:
        ValueError: a label stands twice, the status is unknown, eigenvectors or a Hessian don't fit the parameters,
            or ``entries`` is given beside parameters.
    """

    name: str
    kind: str
    index: int
    parameters: tuple[ParameterRecord, ...]
    seconds: float = 0.0
    status: Status = "done"
    trace: TraceRecord | None = None
    eigen: EigenRecord | None = None
    density: DensityRecord | None = None
    block: BlockRecord | None = None
    split: SplitRecord | None = None
    entries: int | None = None
    diagonal_sum_stderr: float = nan

    def __post_init__(self) -> None:
        labels = [p.label for p in self.parameters]
        if len(set(labels)) != len(labels):
            raise ValueError(f"layer {self.name!r}: parameter labels {labels} are not distinct")
        check_status(self.name, self.status)
        check_errors(self.name, {"diagonal_sum_stderr": self.diagonal_sum_stderr})
        if self.entries is not None and (self.parameters or self.entries < 0):
            raise ValueError(f"layer {self.name!r}: {self.entries} entries beside {len(labels)} parameters")
        if self.parameters:
            self._check_vectors()
        if (self.parameters or self.entries is not None) and self.block is not None and self.block.entries is not None:
            rows = len(self.block.entries)
            if rows != self.parameter_count:
                raise ValueError(f"layer {self.name!r}: a Hessian of {rows} rows for {self.parameter_count} entries")

    def _check_vectors(self) -> None:
        shapes = {p.label: p.shape for p in self.parameters}
        vectors = (self.eigen.vectors if self.eigen is not None else None) or {}
        for label, array in vectors.items():
            if label not in shapes:
                raise ValueError(f"layer {self.name!r}: eigenvectors of {label!r}, which is no parameter of it")
            if array.shape[1:] != shapes[label]:
                raise ValueError(
                    f"layer {self.name!r}: eigenvectors of {label!r} have shape {array.shape}, "
                    f"the parameter {shapes[label]}"
                )

    @property
    def parameter_count(self) -> int:
        """The number of entries of the block: of all its parameters, or those of other layers that it spans."""
        return sum(p.size for p in self.parameters) if self.entries is None else self.entries

    @property
    def spectra(self) -> tuple[Quantity, ...]:
        """What was computed of the whole block's matrix: trace, eigenpairs, density and Hessian, in this order."""
        every: tuple[Quantity | None, ...] = (self.trace, self.eigen, self.density, self.block)
        return tuple(quantity for quantity in every if quantity is not None)

    @property
    def quantities(self) -> tuple[Quantity | SplitRecord, ...]:
        """What was computed beyond the arrays of its parameters: `spectra`, then the gradient in two parts."""
        return self.spectra if self.split is None else (*self.spectra, self.split)

    @property
    def method(self) -> str:
        """The distinct methods of its parameters' diagonals and of its `quantities`, in order, joined by ``+``."""
        methods = [p.method for p in self.parameters if p.method] + [q.method for q in self.quantities]
        return "+".join(dict.fromkeys(methods))

    @property
    def exact(self) -> bool:
        """Whether diagonal, trace, density and Hessian are exact, as far as they were requested.

        Where only eigenpairs were, which no method gives exactly: whether all have converged. A gradient in two parts
        is always exact.
        """
        verdicts = [q.exact for q in self.spectra if not isinstance(q, EigenRecord)]
        if any(p.method or p.diagonal is not None or p.status != "done" for p in self.parameters):
            verdicts += [p.exact and p.diagonal is not None for p in self.parameters]
        if verdicts:
            return all(verdicts)
        if self.eigen is not None:
            return bool(self.eigen.converged.all())
        if self.split is not None:
            return self.split.exact
        return all(p.exact for p in self.parameters)

    @property
    def products(self) -> int:
        """Hessian-vector products spent on all its parameters and `quantities`."""
        return sum(p.products for p in self.parameters) + sum(q.products for q in self.quantities)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a report comes from: enough to repeat the run.

    Attributes:
        model_path: as the person gave it.
        model_sha256: of the model's bytes.
        dataset_digest: of the samples used, in order.
        spec_text: the dataset spec as read.
        config_json: the resolved options as JSON.
        command_line: as typed.
        backend: ``torch`` or ``tensorflow``.
        versions: package name to version.
        device: e.g. ``cpu``.
        dtype: of the computation.
        seed: of everything random.
        loss: its name.
        reduction: over samples, ``mean`` or ``sum``.
        samples: how many were used.
        denominator: what the sum over samples was divided by.
        loss_value: the loss at the saved parameters.
        created_utc: ISO 8601. The writer sets it, whatever stands here.
        host: the machine's name. The writer sets it, whatever stands here.
        threads: of the computation; 0 where it is not known.
        deterministic: whether equal inputs gave equal results. Where they did not, nothing is exact.
        widened: whether the model's file rounds to 16 bits what was computed in ``dtype`` throughout.
        verification_passes: over single batches, spent on checks of what the report says.
        command_name: of the command, e.g. ``diag``; empty in reports of earlier versions.
        model_location: the model's path as seen from the report's folder; empty in reports of earlier versions.
        spec_location: the same of the file that holds the dataset spec.
        random_data: whether the samples were drawn at random: nothing here tells of a trained minimum then.
        likelihood: the distribution of targets whose negative log-likelihood the loss is, which a Fisher matrix is of;
            empty where there is none, and in reports of earlier versions.
        available: samples there were to choose from; 0 where it is not known, as in reports of earlier versions.
        data_rtol: error over the data at which a random subset was taken to be large enough, relative to each trace;
            0 where none was requested.
        data_error: the one that was left, of the worst trace: a standard error; NaN where a trace is no number.
        data_worst: the layer whose trace that is; empty where there is no error.
    """

    model_path: str
    model_sha256: str
    dataset_digest: str
    spec_text: str
    config_json: str
    command_line: str
    backend: str
    device: str
    dtype: str
    seed: int
    loss: str
    reduction: str
    samples: int
    denominator: float
    loss_value: float
    versions: Mapping[str, str] = field(default_factory=dict)
    created_utc: str = ""
    host: str = ""
    threads: int = 0
    deterministic: bool = True
    widened: bool = False
    verification_passes: int = 0
    command_name: str = ""
    model_location: str = ""
    spec_location: str = ""
    random_data: bool = False
    likelihood: str = ""
    available: int = 0
    data_rtol: float = 0.0
    data_error: float = 0.0
    data_worst: str = ""
