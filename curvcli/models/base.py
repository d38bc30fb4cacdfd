"""The protocol every saved model is opened to, and the plain records that cross it.

Arrays cross it as NumPy, in the model's own parameter order and shape; vectors of a block stay where products are made
(``bundle.Vectors``). Everything a batch returns is a *sum* over its
samples, loss weights applied, never divided: the caller adds batches in float64 and divides once by
``Objective.denominator``, so that splitting the data differently changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curvcli.losses.interface import OutputState
from curvcli.models.bundle import Vectors
from curvcli.models.device_memory import Memory

Array = NDArray[Any]


@dataclass(frozen=True)
class Parameter:
    """One trainable array of a layer.

    Attributes:
        name: unique in the model, e.g. ``conv4_3/kernel`` or ``conv4_3.weight``.
        label: the name inside its layer, e.g. ``kernel``.
        shape: in the framework's own layout.
        axes: one word per axis, e.g. ``("kernel_h", "kernel_w", "in", "out")``.
        trained: whether it was a parameter in training; a frozen one has no weight decay.
    """

    name: str
    label: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    trained: bool = True

    @property
    def size(self) -> int:
        """The number of entries."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """A named group of parameters, in model order."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...]

    @property
    def size(self) -> int:
        """The number of entries of all its parameters."""
        return sum(p.size for p in self.parameters)


@dataclass(frozen=True)
class Port:
    """An input or output of the model; a None axis has any length, a None shape is not known from the file.

    Attributes:
        name: as the dataset spec has it.
        shape: the samples' axis first.
        dtype: of its numbers, in the framework's word.
        rows: of an input that is looked up in tables as it is, the rows of the smallest: its numbers are below; None
            where that can't be told.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    rows: int | None = None


@dataclass(frozen=True)
class Bend:
    """An operation after a z that is not piecewise linear in it, and the columns by which its curvature is exact.

    Attributes:
        place: names the operation in this graph alone.
        columns: basis vectors of what it reads, per sample.
        passes: backward passes that each of them takes.
    """

    place: str
    columns: int
    passes: int


@dataclass(frozen=True)
class Uses:
    """The operations that read one weight more than once, each linear in it, with an output of its own.

    Attributes:
        place: a name that parameters with the same outputs share.
        vectors: entries of all these outputs, per sample.
    """

    place: str
    vectors: int


@dataclass(frozen=True)
class Site:
    """Where a parameter enters the computation, as read from the model's graph.

    ``z`` is the output of the operation that first joins the parameter with data. When that operation is linear in the
    parameter, ``z = A·W`` with ``A`` known from the layer's input, the diagonal can be had from ``z`` (see
    ``curvature.diagonal``).

    Attributes:
        parameter: its full name.
        reached: whether the loss depends on it at all.
        z: a name that sites with the same ``z`` share; ``None`` if no such ``z`` could be found.
        why_not: why there is no usable ``z`` (a person reads it); empty if there is one.
        operation: the kind of the joining operation.
        units: channels of ``z`` per position.
        positions: places of ``z`` per sample at which the same weight is used.
        blocker: the first operation after ``z`` that is not piecewise linear; ``None`` if all are.
        rows: of a table that is only looked up in, the rows that any sample looks up, ascending: the loss does not
            depend on the others. ``None`` where more than look-ups read the parameter, or they may read every row.
        bends: the operations after ``z`` that are not piecewise linear in it, in order, without those that take each
            entry of ``z`` by itself; ``None`` where columns can't tell their curvature.
        uses: where there is no ``z`` because the parameter is used several times, these uses; ``None`` if one of them
            is not linear in it.
    """

    parameter: str
    reached: bool
    z: str | None = None
    why_not: str = ""
    operation: str = ""
    units: int = 0
    positions: int = 0
    blocker: str | None = None
    rows: tuple[int, ...] | None = None
    bends: tuple[Bend, ...] | None = None
    uses: Uses | None = None


class ColumnSquares(Protocol):
    """The sum that ``squared_columns`` gives, of columns that come a few at a time."""

    @property
    def added(self) -> int:
        """Columns so far."""
        ...

    def add(self, columns: Array) -> None:
        """Take in some columns, (k, samples, …)."""
        ...

    def sums(self) -> dict[str, Array]:
        """The sum of all, in each parameter's shape; once, at the end."""
        ...


class DifferentiatedBatch(Protocol):
    """One batch with its forward pass done; all results are float64 sums over the batch's samples."""

    @property
    def output(self) -> OutputState:
        """The loss's input for this batch."""
        ...

    def loss(self) -> float:
        """Σ_n weight_n ℓ_n."""
        ...

    def gradient(self, parameters: Sequence[str]) -> dict[str, Array]:
        """Σ_n ∇ℓ_n per parameter, in its shape."""
        ...

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        """How each parameter enters in this very batch; models that branch on their data differ from batch to batch."""
        ...

    def rows(self, parameter: str) -> Array | None:
        """Of a table that is only looked up in, the rows this batch looks up, ascending, int64; see ``Site.rows``."""
        ...

    def samples_separate(self, parameters: Sequence[str]) -> bool:
        """Whether what each sample returns depends on its own rows of these parameters' z alone, in this batch."""
        ...

    def squared_columns(self, parameters: Sequence[str], columns: Array) -> dict[str, Array]:
        """Σ_n Σ_c (J_zWᵀ J_oᵀ s_c)² per parameter for ``columns`` s_c, (k, samples, …): one pass per column."""
        ...

    def bends(self, parameters: Sequence[str]) -> tuple[Bend, ...]:
        """All bends of these parameters in this very batch, in order, each once; see ``Site.bends``."""
        ...

    def bend_columns(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """What the columns ``start`` … ``stop`` of all ``bends`` give: Σ_n Σ_k (J_zWᵀ J_kᵀ e) ⊙ (J_zWᵀ J_kᵀ H_k e).

        J_k is the derivative by z of what operation k reads, e a basis vector of that, all samples at once, and
        H_k = Σ_i (∂ℓ/∂k_i) ∇²k_i the curvature of what k returns.

        Raises:
            ModelError: what an operation reads can't be told apart by samples.
        """
        ...

    def bends_in_step(self, parameters: Sequence[str]) -> dict[str, Array]:
        """The same sum over the operations that take each entry of a z by itself, which need no columns.

        Raises:
            ModelError: they don't.
        """
        ...

    def column_squares(self, parameters: Sequence[str], count: int, *, anew: bool) -> ColumnSquares | None:
        """The sum of so many squared columns, where some layer is cheaper contracted once for all of them; else None.

        One is under way at a time: until its sums are taken, the same call returns it again, if not ``anew``.
        """
        ...

    def uses_separate(self, parameters: Sequence[str]) -> bool:
        """Whether what each sample returns depends on its own rows of all outputs of these parameters' uses alone."""
        ...

    def uses_vectors(self, parameters: Sequence[str]) -> int:
        """Entries per sample of all outputs of the uses that these parameters share, in this batch; see ``Uses``."""
        ...

    def uses_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """What the basis vectors ``start`` … ``stop`` of all outputs z_t of the uses of a weight give.

        Σ_n Σ_e (J_sᵀ e) ⊙ (Σ_t J_tᵀ ∇²_{ts} ℓ_n e + 2 Σ_t J̇_tᵀ ∇_t ℓ_n), all samples at once, for basis vectors e of
        the outputs z_s, J_t the derivative of z_t by the weight where it stands alone, and J̇_t its change along e. The
        parameters must share their uses.
        """
        ...

    def output_hessian_diagonal(self, parameters: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """What the basis vectors ``start`` … ``stop`` of one z give: Σ_n Σ_e (J_zWᵀ e) ⊙ (J_zWᵀ ∇²_z ℓ_n e).

        The basis has ``units * positions`` vectors, all samples at once; the parameters must share their z.
        """
        ...

    def hessian_products(self, block: Sequence[str], vectors: Vectors) -> Vectors:
        """H_block v for every one of k vectors, whose parameters are raveled and joined in block order."""
        ...

    def pushforward(self, block: Sequence[str], vectors: Vectors | Array) -> Array:
        """J_o v, the change of the loss's input, for k vectors, or rows (k, n): (k, samples, …), like o."""
        ...

    def pullback(self, block: Sequence[str], cotangents: Array) -> Vectors:
        """Σ_n J_{o,n}ᵀ u_n for every u of ``cotangents``, (k, samples, …): k vectors."""
        ...

    def activation_probes(self, parameters: Sequence[str], signs: Array, *, remainder: bool) -> dict[str, Array]:
        """Σ_n (J_zWᵀ ε_n) ⊙ (J_zWᵀ M_n ε_n) per probe ε and parameter, (k, *shape).

        Args:
            parameters: which must share their z.
            signs: ε, (k, samples, units, positions).
            remainder: whether M is ∇²_z ℓ without its Gauss–Newton part, Σ_i (∂ℓ/∂o_i) ∇²_z o_i, or all of it.
        """
        ...

    def sample_gradients(self, parameters: Sequence[str], columns: Array) -> Array:
        """J_zWᵀ J_oᵀ s_c for every sample alone: (k, samples, …) → (k, samples, n), parameters joined in their order.

        Each parameter needs a z (see ``Site``), and samples must be separate.
        """
        ...

    def hessian_diagonal_entries(self, parameter: str, indices: Array) -> Array:
        """H_ii for flat ``indices`` (k,) of one parameter, by one block Hessian–vector product each; (k,)."""
        ...

    def diagonal_entries(self, places: Mapping[str, int]) -> dict[str, float]:
        """H_ii at one flat place of each of some parameters, by one Hessian–vector product each."""
        ...


class Objective(Protocol):
    """L(θ) over the data: Σ over batches / denominator, plus weight decay."""

    @property
    def denominator(self) -> float:
        """What the summed loss is divided by: the used weights of the whole data, or 1 for ``sum``."""
        ...

    @property
    def batch_weights(self) -> Array:
        """What each batch weighs in the whole: used class weights, or samples; (batches,), float64."""
        ...

    @property
    def memory(self) -> Memory:
        """Where the work is done."""
        ...

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        """How each parameter enters, in all batches: what is said of it holds for each of them.

        Where batches take different ways, ``z`` is one that every batch has, ``positions`` the most of any batch, and
        ``blocker`` the first of any; without a z in some batch there is none.
        """
        ...

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """The first operation that is not piecewise linear in all these parameters together; None if all are.

        Two that multiply each other are not, though each alone may be: a network is not linear in all its layers.
        """
        ...

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """The data from batch ``start`` on, prepared for derivatives by these parameters."""
        ...

    def batch_count(self) -> int:
        """How many batches there are."""
        ...


def passes_of(bends: Iterable[Bend]) -> int:
    """Backward passes that the columns of some bends take per batch."""
    return sum(bend.columns * bend.passes for bend in bends)


def flat_size(parameters: Sequence[Parameter]) -> int:
    """The number of entries of a block."""
    return sum(p.size for p in parameters)


def as_float64(array: Any) -> Array:
    """A float64 NumPy copy of what a framework returned."""
    # Tensors' own method first: what NumPy would call, `__array__`, is deprecated as frameworks have it (no `copy`).
    numpy = getattr(array, "numpy", None)
    return np.array(array if numpy is None else numpy(), dtype=np.float64)
