"""How stored columns become the model's inputs and the target: ``[inputs.NAME]`` and ``[target]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from curvcli.spec.table import FromList, Table, Text, mistake
from curvcli.text import quoted

_MOST_CLASSES = 1_000_000

DType = Literal["float32", "float64", "int32", "int64"]


class _Columns(Table):
    """One column, or several joined into one array."""

    # `columns` stands first so that the check of `column` sees it.
    columns: Annotated[tuple[Text, ...], FromList, Field(min_length=1)] | None = None
    column: Text | None = Field(default=None, validate_default=True)
    dtype: DType | None = None

    @field_validator("column")
    @classmethod
    def _column_or_columns(cls, column: str | None, validation: ValidationInfo) -> str | None:
        if "columns" not in validation.data:  # wrong in itself, and said so already
            return column
        if column is None and validation.data["columns"] is None:
            raise mistake('missing; name a column of the source, or several: columns = ["a", "b"]')
        if column is not None and validation.data["columns"] is not None:
            raise mistake("given together with columns; keep one of them")
        return column

    @property
    def names(self) -> tuple[str, ...]:
        """The columns read, in the order in which they are joined."""
        return (self.column,) if self.column is not None else (self.columns or ())


class InputSpec(_Columns):
    """How stored columns become one input of the model.

    In this order: the columns are joined along the last axis, reshaped to ``shape``, multiplied by ``scale``, shifted
    by ``mean`` and divided by ``std``, permuted by ``layout``, cast to ``dtype``.

    Attributes:
        shape: of one sample; one entry may be -1.
        mean: a number, or one per channel. Channels are the axis that ``layout`` calls C on its left side; without a
            layout, the last axis.
        std: like ``mean``; none may be zero.
        layout: e.g. ``"NHWC->NCHW"``, or ``"HWC->CHW"`` without the samples' axis.
        dtype: kept as stored if None, floats as float64.
    """

    scale: float | None = None
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    shape: Annotated[tuple[int, ...], FromList] | None = None
    layout: str | None = None

    @field_validator("mean", "std", mode="plain")
    @classmethod
    def _number_or_list(cls, value: Any, validation: ValidationInfo) -> float | tuple[float, ...] | None:
        if value is None:
            return None
        listed = isinstance(value, (list, tuple))
        numbers: Sequence[Any] = value if listed else [value]
        finite = all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < float("inf") for n in numbers)
        if not numbers or not finite:
            raise mistake("must be a finite number, or a list of one per channel")
        if validation.field_name == "std" and any(n <= 0 for n in numbers):
            raise mistake("must be above 0")
        return tuple(float(n) for n in numbers) if listed else float(value)

    @field_validator("shape")
    @classmethod
    def _positive(cls, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is not None and (any(n < 1 and n != -1 for n in shape) or shape.count(-1) > 1):
            raise mistake("must hold whole numbers from 1, without the samples' axis; one may be -1")
        return shape

    @field_validator("layout")
    @classmethod
    def _permutation(cls, layout: str | None, validation: ValidationInfo) -> str | None:
        if layout is None:
            return None
        left, arrow, right = layout.replace(" ", "").partition("->")
        letters = arrow and left.isalpha() and len(set(left)) == len(left)
        if not letters or sorted(left) != sorted(right):
            raise mistake(f"{layout!r} is no permutation of axis letters; write it like 'NHWC->NCHW'")
        if "N" in left and (left[0], right[0]) != ("N", "N"):
            raise mistake(f"{layout!r} moves N, the samples' axis; it stays first")
        shape = validation.data.get("shape")
        axes = len(left.removeprefix("N"))
        if shape is not None and len(shape) != axes:
            raise mistake(f"{layout!r} names {axes} axes besides N, shape has {len(shape)}")
        return f"{left}->{right}"


class TargetSpec(_Columns):
    """What the model's output is compared with.

    Attributes:
        classes: what texts in the column stand for: the first name is class 0.
    """

    classes: Annotated[tuple[Text, ...], FromList, Field(min_length=1, max_length=_MOST_CLASSES)] | None = None

    @field_validator("classes")
    @classmethod
    def _each_once(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(set(classes)) < len(classes):
            twice = next(name for number, name in enumerate(classes) if name in classes[:number])
            raise mistake(f"names {quoted(twice)} twice")
        return classes
