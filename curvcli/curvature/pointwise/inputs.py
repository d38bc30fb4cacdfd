"""Derivatives of one number per sample by the model's inputs, over all batches.

With g_n = ∇f_n, n coordinates cost n products, each for all samples of a batch at once: the row i of every ∇²f_n is
∇²f_n e_i, its entry i is in the diagonal, and the sum of those is the Laplacian. Where that is too dear, random signs
v give E[v ⊙ ∇²f v] = diag ∇²f (Bekas, Kokiopoulou, Saad 2007) and E[vᵀ ∇²f v] = Δf (Hutchinson 1990), with a standard
error per sample and entry.

Where a model's operations allow it, Taylor coefficients carried forward through them give ∂²f/∂x_i² for many
coordinates at once, and derivatives of any order along one; see ``pointwise.trial`` for why they can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.pointwise.trial import hold_first, hold_second, tolerance
from curvcli.curvature.tasks import Cut, Data, Part, Segment, Sums
from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.pointwise import InputBatch, InputSeries, NoSeriesError, SampleFunction
from curvcli.models.probes import signs
from curvcli.wording import option

SecondOrder = Literal["none", "products", "taylor", "probes"]
# Numbers in the rows of one call.
_HELD = 1 << 21
# What is estimated, each with a standard error.
_ESTIMATED = ("diagonal", "laplacian")


@dataclass(frozen=True)
class InputPlan:
    """What is computed of one function.

    Attributes:
        second: exactly by one product per coordinate or by Taylor coefficients, by random signs, or no second
            derivatives at all.
        full: whether the whole Hessian of every sample is kept; needs ``products``.
        coordinates: along which derivatives of every order are taken.
        order: K, up to which.
        probes: random sign vectors per sample.
        seed: of the probes.
        orders: whether derivatives of every order are had by Taylor coefficients too; else by nested products.
        double: whether numbers are float64.
        room: bytes that what goes through the model together may take; None for as many as is fastest.
    """

    second: SecondOrder
    full: bool = False
    coordinates: tuple[int, ...] = ()
    order: int = 0
    probes: int = 0
    seed: int = 0
    orders: bool = False
    double: bool = True
    room: int | None = None

    def products(self, size: int) -> int:
        """Products per batch for a function of ``size`` coordinates, or directions along which coefficients go."""
        match self.second:
            case "none":
                return 0
            case "products" | "taylor":
                return size
            case "probes":
                return self.probes
            case _:
                assert_never(self.second)

    def passes(self, size: int) -> int:
        """Passes per batch: the gradient's, and one per product or order."""
        return 1 + self.products(size) + len(self.coordinates) * self.of_orders

    def spent(self, passes: int) -> int:
        """Of these passes per batch, those that are products; with Taylor coefficients, one to hold them against."""
        return 1 if self.second == "taylor" else passes

    @property
    def of_orders(self) -> int:
        """Passes for all derivatives along one coordinate."""
        return 1 if self.orders else max(self.order - 1, 0)

    @property
    def series(self) -> bool:
        """Whether there are Taylor coefficients in it."""
        return self.second == "taylor" or self.orders

    @property
    def results(self) -> tuple[str, ...]:
        """What there is of every sample."""
        second: tuple[str, ...] = ()
        match self.second:
            case "none":
                pass
            case "products" | "taylor":
                second = (*(("hessian",) if self.full else ()), "diagonal", "laplacian")
            case "probes":
                second = (*_ESTIMATED, *map(_stderr, _ESTIMATED))
            case _:
                assert_never(self.second)
        return ("value", "gradient", *second, *(("derivatives",) if self.coordinates else ()))


def _stderr(name: str) -> str:
    return f"{name}_stderr"


@dataclass(frozen=True)
class InputTask:
    """One function's derivatives for the samples of each batch, in their order (see ``BatchTask``).

    First the value and the gradient, then the products, then the derivatives along each coordinate.

    Attributes:
        function: of every sample.
        inputs: by which it is differentiated.
        plan: what is computed.
        batch_size: of every batch but the last.
    """

    function: SampleFunction
    inputs: tuple[str, ...]
    plan: InputPlan
    batch_size: int

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    @property
    def folded(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return self.plan.results

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return self.plan.results

    def batches(self, data: Data, start: int) -> Iterator[InputBatch]:
        """See ``BatchTask``."""
        return data.input_batches(self.function, self.inputs, start=start)

    def divisible(self, batch: InputBatch) -> bool:
        """See ``BatchTask``; parts build on those before them."""
        return False

    def cut(self, batch: InputBatch) -> Cut:
        """See ``BatchTask``."""
        plan, n = self.plan, batch.coordinates
        products = Segment(plan.products(n), 1)
        if plan.second == "products":
            held = _HELD if plan.room is None else min(_HELD, plan.room // 8)
            products = Segment(n, max(1, held // (batch.samples * (n if plan.full else 1))), n)
        elif plan.second == "taylor":
            products = Segment(n, self._together(batch, n, 2))
        along = self._together(batch, len(plan.coordinates), plan.order) if plan.orders else 1
        return Cut((Segment(1, 1), products, Segment(len(plan.coordinates), along)))

    def _together(self, batch: InputBatch, count: int, order: int) -> int:
        """How many coordinates go through a pass.

        The order of sums within a pass depends on it: so it is halved until it fits, and not chosen to the byte.
        """
        series, room = _series(batch), self.plan.room
        together = max(1, min(count, series.at_once(order)))
        while room is not None and together > 1 and together * series.held(order) > room:
            together = -(-together // 2)
        return together

    def _behind(self, batch: InputBatch) -> int:
        """The first part behind the products."""
        return 1 + self.plan.products(batch.coordinates)

    def passes(self, batch: InputBatch, part: Part) -> int:
        """See ``BatchTask``."""
        if part.start >= self._behind(batch):
            return self.plan.of_orders * (part.stop - part.start)
        return part.stop - part.start

    def __call__(self, batch: InputBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other, or an operation has no second derivative.
        """
        first, behind = part.start - 1, self._behind(batch)
        if not part.start:
            sums = self._first_order(batch, part.batch)
        elif part.start >= behind:
            sums = self._derivatives(batch, part, range(part.start - behind, part.stop - behind))
        elif self.plan.second == "probes":
            sums = self._probe(batch, part, first)
        elif self.plan.second == "taylor":
            sums = self._carry(batch, part, range(first, part.stop - 1))
        else:
            sums = self._multiply(batch, part, range(first, part.stop - 1))
        if part.stop == self.cut(batch).count:
            sums = self._closed({**part.so_far, **sums})
        return sums

    def _first_order(self, batch: InputBatch, number: int) -> Sums:
        if not batch.samples_separate():
            raise ModelError(
                f"{self.function.name}: in batch {number} a value depends on other samples (batch statistics?).\n"
                "Export the model in inference mode; curvcli check tells more."
            )
        if self.plan.series:
            with _refused(self.function.name, number):
                hold_second(batch, batch.series(), self.plan.seed, tolerance(double=self.plan.double))
        return {"value": batch.values(), "gradient": batch.gradient()}

    def _carry(self, batch: InputBatch, part: Part, coordinates: range) -> Sums:
        """Taylor coefficients along some coordinates together."""
        so_far = part.so_far.get("diagonal")
        values = np.zeros((batch.samples, batch.coordinates)) if so_far is None else so_far
        with _refused(self.function.name, part.batch):
            derivatives = batch.series().derivatives(coordinates, 2)
            gradient = batch.gradient()[:, coordinates.start : coordinates.stop]
            hold_first(derivatives[:, :, 0].T, gradient, batch, tolerance(double=self.plan.double))
        values[:, coordinates.start : coordinates.stop] = derivatives[:, :, 1].T
        return {"diagonal": values}

    def _multiply(self, batch: InputBatch, part: Part, coordinates: range) -> Sums:
        """One product per coordinate."""
        samples, n = batch.samples, batch.coordinates
        name, shape = ("hessian", (samples, n, n)) if self.plan.full else ("diagonal", (samples, n))
        so_far = part.so_far.get(name)
        values = np.zeros(shape) if so_far is None else so_far
        rows = batch.hessian_rows(coordinates) if self.plan.full else batch.hessian_diagonal(coordinates)
        values[:, coordinates.start : coordinates.stop] = rows.swapaxes(0, 1)
        return {name: values}

    def _probe(self, batch: InputBatch, part: Part, number: int) -> Sums:
        """One product with a random vector; mean and squared deviations of what each says so far."""
        samples, n = batch.samples, batch.coordinates
        first = part.batch * self.batch_size
        # Drawn per sample, so that the batch size does not decide who gets which.
        names = [f"inputs:{self.function.name}:{first + i}" for i in range(samples)]
        probe = np.stack([signs(self.plan.seed, name, number, (n,)) for name in names])
        product = probe * batch.products(probe[None])[0]
        sums: Sums = {}
        for name, value in zip(_ESTIMATED, (product, product.sum(axis=1)), strict=True):
            # Welford's update: sums of squares would cancel where all probes agree.
            mean, squares = (np.array(part.so_far.get(key, np.zeros(value.shape))) for key in (name, _stderr(name)))
            change = value - mean
            mean += change / (number + 1)
            sums |= {name: mean, _stderr(name): squares + change * (value - mean)}
        return sums

    def _derivatives(self, batch: InputBatch, part: Part, places: range) -> Sums:
        """All orders along some coordinates."""
        order = self.plan.order
        coordinates = self.plan.coordinates[places.start : places.stop]
        so_far = part.so_far.get("derivatives")
        shape = (batch.samples, len(self.plan.coordinates), order + 1)
        values = np.zeros(shape) if so_far is None else so_far
        if self.plan.orders:
            values[:, places.start : places.stop, 0] = batch.values()[:, None]
            with _refused(self.function.name, part.batch):
                along = batch.series().derivatives(coordinates, order).swapaxes(0, 1)
                gradient = batch.gradient()[:, list(coordinates)]
                hold_first(along[:, :, 0], gradient, batch, tolerance(double=self.plan.double))
            values[:, places.start : places.stop, 1:] = along
        else:
            for place, coordinate in zip(places, coordinates, strict=True):
                values[:, place] = batch.derivatives(coordinate, order)
        return {"derivatives": values}

    def _closed(self, sums: Sums) -> Sums:
        match self.plan.second:
            case "none":
                pass
            case "products" | "taylor":
                if self.plan.full:
                    # The two triangles come from different products; their mean is nearer the truth than either.
                    hessian = sums["hessian"] = (sums["hessian"] + sums["hessian"].swapaxes(1, 2)) / 2
                    sums["diagonal"] = np.diagonal(hessian, axis1=1, axis2=2).copy()
                sums["laplacian"] = sums["diagonal"].sum(axis=1)
            case "probes":
                pairs = self.plan.probes * (self.plan.probes - 1)
                sums |= {_stderr(name): np.sqrt(sums[_stderr(name)] / pairs) for name in _ESTIMATED}
            case _:
                assert_never(self.plan.second)
        return sums


def _series(batch: InputBatch) -> InputSeries:
    try:
        return batch.series()
    except NoSeriesError as error:
        raise _not_here(str(error)) from error


def _not_here(why: str) -> ModelError:
    return ModelError(f"Taylor coefficients can't be used: {why}.\nUse {option('method', 'products')}.")


@contextmanager
def _refused(function: str, number: int) -> Iterator[None]:
    """What the trial on the first samples did not show."""
    try:
        yield
    except NoSeriesError as error:
        raise _not_here(f"{function}, batch {number}: {error}") from error


@dataclass(frozen=True)
class InputDerivatives:
    """One function's derivatives over the data (see ``Algorithm``).

    The result is per quantity an array of all samples in their order, float64: ``value`` (N,), ``gradient`` (N, n),
    ``diagonal`` (N, n), ``laplacian`` (N,), with ``_stderr`` where estimated; ``hessian`` (N, n, n); ``derivatives``
    (N, coordinates, K + 1).

    Attributes:
        function: of every sample.
        inputs: by which it is differentiated.
        plan: what is computed.
        coordinates: n.
        batch_size: of every batch but the last.
    """

    function: SampleFunction
    inputs: tuple[str, ...]
    plan: InputPlan
    coordinates: int
    batch_size: int
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """The gradient's, and one per product or order."""
        return self.plan.passes(self.coordinates)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, Array]]:
        """See ``Algorithm``."""
        return (yield InputTask(self.function, self.inputs, self.plan, self.batch_size))
