"""What each batch tells of an activation z: its range, its curvature exactly or by random signs, and z quantised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from curvcli.curvature.quantiser import Scheme, on_grid
from curvcli.curvature.tasks import Cut, Data, Part, Sums
from curvcli.models.base import Array
from curvcli.models.pointwise import ActivationBatch, Side, unit_cotangents
from curvcli.models.probes import signs

# Numbers in the vectors of one part.
_HELD = 1 << 20
_AT_ONCE = 64

ColumnKind = Literal["columns", "unit_vectors"]


@dataclass(frozen=True)
class Grid:
    """How an activation is rounded: to the grid of the range it has over all the data.

    Attributes:
        scheme: see ``Quantiser``.
        bits: to how many, each by itself.
        low: the least number that z holds.
        high: the largest.
    """

    scheme: Scheme
    bits: tuple[int, ...]
    low: float
    high: float

    def change(self, z: Array, bits: int) -> Array:
        """δ = Q(z) − z."""
        change: Array = on_grid(z, self.low, self.high, self.scheme, bits) - z
        return change


@dataclass(frozen=True)
class ActivationTask:
    """What these tasks have in common (see ``BatchTask``).

    Attributes:
        layer: the full names of its parameters.
        side: which of its activations.
    """

    layer: tuple[str, ...]
    side: Side

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    @property
    def folded(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    def batches(self, data: Data, start: int) -> Iterator[ActivationBatch]:
        """See ``BatchTask``."""
        return data.activation_batches(self.layer, self.side, start=start)

    def divisible(self, batch: ActivationBatch) -> bool:
        """See ``BatchTask``; several copies of a batch would each run the network anew."""
        return False

    def cut(self, batch: ActivationBatch) -> Cut:
        """See ``BatchTask``."""
        return Cut.even()

    def passes(self, batch: ActivationBatch, part: Part) -> int:
        """See ``BatchTask``."""
        return part.stop - part.start


@dataclass(frozen=True)
class RangeTask(ActivationTask):
    """Per sample the least and largest number of z, ‖∂ℓ_n/∂z_n‖, and its weight; NaN where one is no number."""

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("low", "high", "gradient", "weight")

    def __call__(self, batch: ActivationBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        z = batch.values().reshape(batch.samples, -1)
        slopes = batch.output_gradient().reshape(batch.samples, -1)
        with np.errstate(all="ignore"):
            low, high = (z.min(axis=1), z.max(axis=1)) if z.shape[1] else (np.zeros(len(z)), np.zeros(len(z)))
            # What is infinite has no grid either.
            low, high = (np.where(np.isfinite(end), end, np.nan) for end in (low, high))
            weights = batch.output.targets.sample_weights[: batch.samples]
            return {"low": low, "high": high, "gradient": np.sqrt((slopes**2).sum(axis=1)), "weight": weights}


@dataclass(frozen=True)
class ColumnsTask(ActivationTask):
    """The diagonal of every ∇²_z ℓ_n, from all of its columns, or of a factor's.

    With ``columns`` s_c of ∇²_o ℓ = Σ_c sign_c s_c s_cᵀ it is Σ_c sign_c (J_nᵀ s_c)², where everything after z is
    piecewise linear; with ``unit_vectors`` e_jᵀ ∇²_z ℓ_n e_j. The columns are held against one product with random
    signs ε: ``assembled`` is εᵀ∇²_z ℓ_n ε by the former, ``direct`` by the latter.

    Attributes:
        kind: which.
        grid: how z is rounded, for ½ Σ_j H_jj δ_j².
        seed: of the signs.
    """

    kind: ColumnKind
    grid: Grid
    seed: int

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("trace", "assembled", "direct", "size")

    def count(self, batch: ActivationBatch) -> int:
        """How many columns there are."""
        return batch.output.rank if self.kind == "columns" else prod(batch.z_shape)

    def cut(self, batch: ActivationBatch) -> Cut:
        """See ``BatchTask``."""
        held = batch.samples * max(prod(batch.z_shape), 1)
        return Cut.even(self.count(batch), min(_AT_ONCE, max(1, _HELD // held)))

    def passes(self, batch: ActivationBatch, part: Part) -> int:
        """One per column, and one for the random signs."""
        return part.stop - part.start + (not part.start)

    def __call__(self, batch: ActivationBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        z, n = batch.values().reshape(batch.samples, -1), batch.samples
        probe = _signs(batch, self, part.batch, 0)
        none = np.zeros(n)
        sums: Sums = {"direct": none, "size": none}
        if not part.start:
            product = batch.curvature_products(probe[None])[0].reshape(n, -1)
            flat = probe.reshape(n, -1)
            sums = {"direct": (product * flat).sum(axis=1), "size": np.abs(product * flat).sum(axis=1)}
        diagonal, assembled = self._columns(batch, part, probe) if part.stop else (np.zeros(z.shape), none)
        by_sample = diagonal.reshape(n, -1)
        squares = [self.grid.change(z, bits) ** 2 / 2 for bits in self.grid.bits]
        return {
            **sums,
            "diagonal": by_sample.sum(axis=0).reshape(batch.z_shape),
            "trace": by_sample.sum(axis=1),
            "assembled": assembled,
            "curvature": np.array([(by_sample * half).sum() for half in squares]),
        }

    def _columns(self, batch: ActivationBatch, part: Part, probe: Array) -> tuple[Array, Array]:
        """What some columns give: the diagonal of each sample, (samples, n), and εᵀHε, (samples,)."""
        n, flat = batch.samples, probe.reshape(batch.samples, -1)
        if self.kind == "columns":
            some = batch.output.columns(part.start, part.stop)
            pulled = batch.pulled(some.vectors).reshape(len(some.signs), n, -1)
            diagonal = np.einsum("k,knj,knj->nj", some.signs, pulled, pulled)
            along = np.einsum("knj,nj->kn", pulled, flat)
            return diagonal, np.asarray(some.signs @ along**2)
        units = unit_cotangents(n, batch.z_shape, part.start, part.stop)
        products = batch.curvature_products(units).reshape(len(units), n, -1)
        places = np.arange(part.start, part.stop)
        diagonal = np.zeros(flat.shape)
        diagonal[:, places] = products[np.arange(len(units)), :, places].T
        along = np.einsum("knj,nj->nk", products, flat)
        return diagonal, (along * flat[:, places]).sum(axis=1)


@dataclass(frozen=True)
class ProbesTask(ActivationTask):
    """A round of random signs ε, each sample's own: ε ⊙ (∇²_z ℓ_n ε) is the diagonal on average.

    Samples do not influence each other, so that one product gives all samples' at once, and their errors are
    independent: the variance of a sum over samples is the sum of what each sample's probes of the round show.

    Attributes:
        grid: how z is rounded.
        first: the number of the first probe.
        count: how many there are, two or more.
        seed: of the signs.
    """

    grid: Grid
    first: int
    count: int
    seed: int

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("trace", "trace variance")

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("each",)

    def cut(self, batch: ActivationBatch) -> Cut:
        """See ``BatchTask``: a whole round, which its own spread is taken of."""
        return Cut.even(self.count, self.count)

    def __call__(self, batch: ActivationBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        n, axis = batch.samples, batch.channel_axis
        z = batch.values().reshape(n, -1)
        halves = [self.grid.change(z, bits) ** 2 / 2 for bits in self.grid.bits]
        entries, channels, traces, curvatures = _Spread(), _Spread(), _Spread(), _Spread()
        each = np.zeros(self.count)
        for number in range(self.count):
            probe = _signs(batch, self, part.batch, self.first + number + 1)
            products = probe * batch.curvature_products(probe[None])[0]
            flat = products.reshape(n, -1)
            entries.add(flat)
            channels.add(by_channel(products, axis))
            traces.add(flat.sum(axis=1))
            curvatures.add(np.array([(flat * half).sum(axis=1) for half in halves]).reshape(len(halves), n))
            each[number] = flat.sum()
        return {
            "diagonal": entries.mean.sum(axis=0).reshape(batch.z_shape),
            "diagonal variance": entries.variance.sum(axis=0).reshape(batch.z_shape),
            "channels variance": channels.variance.sum(axis=0),
            "trace": traces.mean,
            "trace variance": traces.variance,
            "curvature": curvatures.mean.sum(axis=1),
            "curvature variance": curvatures.variance.sum(axis=1),
            "each": each,
        }


@dataclass(frozen=True)
class QuantisedTask(ActivationTask):
    """What rounding z does, per number of bits: ‖δ‖², gᵀδ, δᵀHδ by one product, and the loss.

    Attributes:
        grid: how z is rounded.
    """

    grid: Grid

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("squares", "slope", "form", "loss")

    def cut(self, batch: ActivationBatch) -> Cut:
        """See ``BatchTask``."""
        return Cut.even(len(self.grid.bits))

    def passes(self, batch: ActivationBatch, part: Part) -> int:
        """A product and a forward pass each; with the first bits the saved z is put back as well."""
        return 2 * (part.stop - part.start) + (not part.start)

    def __call__(self, batch: ActivationBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        z, slopes = batch.values(), batch.output_gradient()
        sums = []
        with np.errstate(all="ignore"):
            for bits in self.grid.bits[part.start : part.stop]:
                change = self.grid.change(z, bits)
                product = batch.curvature_products(change[None])[0]
                figures = (change**2).sum(), (slopes * change).sum(), (change * product).sum()
                sums.append([*map(float, figures), batch.loss_at(z + change)])
            saved = np.zeros(2) if part.start else np.array([batch.output.value, batch.loss_at(z)])
        return {**dict(zip(self.rows, np.array(sums).T, strict=True)), "saved": saved}


class _Spread:
    """Mean of some estimates, and the variance of that mean as they show it (Welford 1962).

    Attributes:
        mean: of those so far.
    """

    def __init__(self) -> None:
        self._count = 0
        self.mean: Array = np.zeros(())
        self._squares: Array = np.zeros(())

    def add(self, values: Array) -> None:
        """Take one in."""
        self._count += 1
        off = values - self.mean
        self.mean = self.mean + off / self._count
        self._squares = self._squares + off * (values - self.mean)

    @property
    def variance(self) -> Array:
        return np.asarray(self._squares / (self._count - 1) / self._count)


def by_channel(values: Array, axis: int | None) -> Array:
    """Sums over all but the channels: (samples, *z_shape) → (samples, channels)."""
    if axis is None or values.ndim == 1:
        return np.asarray(values.reshape(len(values), -1).sum(axis=1, keepdims=True))
    kept = axis + 1 if axis >= 0 else values.ndim + axis
    return np.asarray(values.sum(axis=tuple(i for i in range(1, values.ndim) if i != kept)))


def _signs(batch: ActivationBatch, task: ColumnsTask | ProbesTask, number: int, probe: int) -> Array:
    name = f"activations:{task.side}:{task.layer[0]}:{number}"
    return signs(task.seed, name, probe, (batch.samples, *batch.z_shape))


def finite_range(sums: Sums) -> tuple[float, float]:
    """The least and largest number that any sample's z holds; NaN where one is none, 0 where there are none."""
    low, high = sums["low"], sums["high"]
    return (float(low.min()), float(high.max())) if len(low) else (0.0, 0.0)
