"""What a run hands to a report of a gradient in two parts: ∂L/∂z at a layer's output z, and ∂z by what z depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from curvcli.report.records.validation import check_axes, check_errors, check_floats, check_rows, check_shape

Array = npt.NDArray[np.floating[Any]]
PartKind = Literal["parameter", "input"]
Kept = Literal["whole", "products"]

METHOD: Final = "split"


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitPart:
    """The second part of a gradient: ∂z by one parameter or input, and its product with the first.

    Attributes:
        by: the parameter's label, or the input's name.
        kind: which of the two.
        shape: of the parameter; of the input per sample.
        jacobian: ∂z_n/∂by of each sample n, (samples, *z_shape, *shape), not summed over outputs; ``None`` where only
            its products were kept.
        kept: ``whole``, or ``products`` for a Jacobian that was multiplied without being kept.
        reason: why.
        product: ∂L/∂z times the Jacobian: of `shape` for a parameter, summed over samples; (samples, *shape) for an
            input.
        gradient: the same, computed directly.
        difference: largest |product − gradient|.
        relative_difference: ‖product − gradient‖ / ‖gradient‖; 0 where both are zero.
        passes: backward passes spent.

    Raises:
        ValueError: a shape or dtype does not fit, the Jacobian is there and not kept or the reverse, a difference is
            negative, or the kind is unknown.
    """

    by: str
    kind: PartKind
    shape: tuple[int, ...]
    jacobian: Array | None
    kept: Kept
    reason: str
    product: Array
    gradient: Array
    difference: float
    relative_difference: float
    passes: int

    def __post_init__(self) -> None:
        owner = f"split by {self.by!r}"
        if self.kind not in get_args(PartKind):
            raise ValueError(f"{owner}: kind {self.kind!r} is not one of {', '.join(get_args(PartKind))}")
        if self.kept not in get_args(Kept):
            raise ValueError(f"{owner}: kept {self.kept!r} is not one of {', '.join(get_args(Kept))}")
        if (self.jacobian is not None) != (self.kept == "whole"):
            raise ValueError(f"{owner}: kept is {self.kept!r}, but the Jacobian is {_there(self.jacobian)}")
        check_floats(owner, {"product": self.product, "gradient": self.gradient})
        entry_shape = self.product.shape if self.kind == "parameter" else self.product.shape[1:]
        if entry_shape != self.shape or (self.kind == "input" and self.product.ndim != len(self.shape) + 1):
            raise ValueError(f"{owner}: product has shape {self.product.shape}, the {self.kind} {self.shape}")
        check_shape(owner, "gradient", self.gradient, self.product.shape)
        check_errors(owner, {"difference": self.difference, "relative_difference": self.relative_difference})


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitRecord:
    """The gradient of the loss in two parts at a layer's output z.

    Attributes:
        operation: that makes z.
        z_shape: of z per sample.
        z_axes: one word per axis of it.
        output_gradient: the first part, ∂L/∂z, (samples, *z_shape).
        rows: each sample's row in the data, int64, (samples,).
        parts: the second part, by each parameter and input that z depends on directly.
        deterministic: whether the model answers the same twice.

    Raises:
        ValueError: a shape, dtype or axis does not fit, there is no part, or two are by the same.
    """

    operation: str
    z_shape: tuple[int, ...]
    z_axes: tuple[str, ...]
    output_gradient: Array
    rows: npt.NDArray[np.int64]
    parts: tuple[SplitPart, ...]
    deterministic: bool = True

    def __post_init__(self) -> None:
        owner = f"split at {self.operation!r}"
        check_rows(owner, self.rows)
        check_axes(owner, self.z_axes, self.z_shape)
        check_floats(owner, {"output_gradient": self.output_gradient})
        check_shape(owner, "output_gradient", self.output_gradient, (self.samples, *self.z_shape))
        names = [(part.kind, part.by) for part in self.parts]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{owner}: parts by {[by for _, by in names]} are none, or not distinct")
        for part in self.parts:
            if part.jacobian is not None:
                check_floats(owner, {"jacobian": part.jacobian})
                expected = (self.samples, *self.z_shape, *part.shape)
                check_shape(owner, f"the Jacobian by {part.by}", part.jacobian, expected)
            if part.kind == "input":
                check_shape(owner, f"the product by {part.by}", part.product, (self.samples, *part.shape))

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.rows)

    @property
    def method(self) -> str:
        """The one method there is."""
        return METHOD

    @property
    def exact(self) -> bool:
        """Whether the model answers the same twice: it is a product of derivatives, none of them estimated."""
        return self.deterministic

    @property
    def products(self) -> int:
        """Backward passes spent on all parts."""
        return sum(part.passes for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class SplitPartSummary:
    """One part without its arrays: a row of ``/split_parts``; the fields are those of `SplitRecord` and `SplitPart`.

    Attributes:
        name: the part's own in the report, ``<layer>:<by>``.
        layer: whose output z is.
        output_gradient_norm: ‖∂L/∂z‖ over all samples.
        product_norm: Euclidean norm of the product.
        gradient_norm: Euclidean norm of the gradient computed directly.
    """

    name: str
    layer: str
    operation: str
    z_shape: tuple[int, ...]
    samples: int
    output_gradient_norm: float
    by: str
    kind: str
    shape: tuple[int, ...]
    kept: str
    reason: str
    product_norm: float
    gradient_norm: float
    difference: float
    relative_difference: float
    passes: int

    @property
    def jacobian_shape(self) -> tuple[int, ...] | None:
        """The shape of the Jacobian that is kept; ``None`` where only its products were."""
        return (self.samples, *self.z_shape, *self.shape) if self.kept == "whole" else None


def _there(array: Array | None) -> str:
    return "missing" if array is None else "there"
