"""The table ``[loss]``: which loss, of what, with which weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from curvcli.spec.mistakes import listed, shown
from curvcli.spec.table import LARGEST, FromList, Table, Text, mistake

# Every loss with the options that are its own; `reduction`, `weight_decay`, `output` and `sample_weight` go with all.
LOSSES: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(options.split())
    for name, options in {
        "cross_entropy": "from_logits class_axis class_weights ignore_index label_smoothing",
        "bce": "from_logits class_axis pos_weight ignore_index ignore_nan label_smoothing",
        "mse": "ignore_nan",
        "mae": "ignore_nan",
        "huber": "delta ignore_nan",
        "poisson": "log_input eps ignore_nan",
        "gaussian_nll": "log_variance class_axis eps ignore_nan",
        "hinge": "squared ignore_index ignore_nan",
        "output": "",
    }.items()
}
# What has to be declared, and may be what.
_DECLARED: Final = {
    "from_logits": (frozenset({"cross_entropy", "bce"}), 'true, false, or "auto" to read it from the graph'),
    "log_variance": (frozenset({"gaussian_nll"}), "true or false: whether the model returns logarithms of variances"),
}

_Weight = Annotated[float, Field(ge=0)]


class LossSpec(Table):
    """The loss, declared; an option that is None or False has its loss's default.

    Attributes:
        name: of the loss.
        from_logits: whether the model's output comes before softmax or sigmoid; ``"auto"`` reads it from the graph.
            Required for ``cross_entropy`` and ``bce``, None for the others.
        log_variance: whether the model returns logarithms of variances. Required for ``gaussian_nll``.
        reduction: over samples.
        weight_decay: λ of (λ/2)·‖θ‖².
        sample_weight: a column with one weight per sample; the mean divides by the sum of the used weights.
        class_axis: which axis of the output holds the classes, the samples' axis being 0; None to read it from the
            shapes.
        class_weights: one per class.
        ignore_index: a label whose targets don't count.
        ignore_nan: whether targets that are NaN don't count; NaN is an error otherwise.
        label_smoothing: ε, from 0 to below 1: how much of every target is spread over all classes.
        pos_weight: of targets of 1, for ``bce``: one number, or one per entry of the class axis.
        delta: where ``huber`` turns from squared to absolute.
        log_input: whether the model returns the logarithm of the rate, for ``poisson``; true if None.
        eps: the least variance, or what is added to a rate inside the logarithm.
        squared: whether the hinge is squared.
        output: which of the model's outputs, if it has several.
    """

    name: str
    from_logits: bool | Literal["auto"] | None = Field(default=None, validate_default=True)
    log_variance: bool | None = Field(default=None, validate_default=True)
    reduction: Literal["mean", "sum"] = "mean"
    weight_decay: _Weight = 0.0
    sample_weight: Text | None = None
    class_axis: Annotated[int, Field(ge=-64, le=64)] | None = None
    class_weights: Annotated[tuple[_Weight, ...], FromList, Field(min_length=1)] | None = None
    ignore_index: Annotated[int, Field(ge=-LARGEST, le=LARGEST)] | None = None
    ignore_nan: bool = False
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pos_weight: float | tuple[float, ...] | None = None
    delta: Annotated[float, Field(gt=0)] | None = None
    log_input: bool | None = None
    eps: Annotated[float, Field(gt=0)] | None = None
    squared: bool = False
    output: Text | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in LOSSES:
            raise mistake(f"unknown name {shown(name)}; choose {listed(tuple(LOSSES), most=len(LOSSES))}")
        return name

    @field_validator("from_logits", "log_variance", mode="plain")
    @classmethod
    def _declared(cls, value: Any, validation: ValidationInfo) -> bool | Literal["auto"] | None:
        name, field = validation.data.get("name"), str(validation.field_name)
        losses, choices = _DECLARED[field]
        if value is not None and not isinstance(value, bool) and not (field == "from_logits" and value == "auto"):
            raise mistake('must be true, false or "auto"' if field == "from_logits" else "must be true or false")
        if name in losses and value is None:
            raise mistake(f"missing; {name} needs {choices}")
        if name is not None and value is not None:
            _refuse_elsewhere(field, name)
        return value  # type: ignore[no-any-return]  # one of these by now

    @field_validator("pos_weight", mode="plain")
    @classmethod
    def _number_or_list(cls, value: Any) -> float | tuple[float, ...] | None:
        if value is None:
            return None
        numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        fine = all(isinstance(n, (int, float)) and not isinstance(n, bool) and 0 < n < float("inf") for n in numbers)
        if not numbers or not fine:
            raise mistake("must be a number above 0, or a list of one per class")
        return tuple(float(n) for n in numbers) if isinstance(value, (list, tuple)) else float(value)

    @field_validator(
        "class_axis",
        "class_weights",
        "ignore_index",
        "ignore_nan",
        "label_smoothing",
        "pos_weight",
        "delta",
        "log_input",
        "eps",
        "squared",
    )
    @classmethod
    def _of_this_loss(cls, value: Any, validation: ValidationInfo) -> Any:
        name, field = validation.data.get("name"), str(validation.field_name)
        if name is not None and value is not None:
            _refuse_elsewhere(field, name)
        if field == "class_axis" and value == 0:
            raise mistake("is the samples' axis; count from 1, or from -1 at the end")
        if field == "class_weights" and isinstance(value, tuple) and not any(value):
            raise mistake("needs a weight above 0")
        if field == "eps" and value is not None and validation.data.get("log_variance") is True:
            raise mistake("goes with log_variance = false; remove it")
        return value


def _refuse_elsewhere(option: str, name: str) -> None:
    if option not in LOSSES[name]:
        losses = [loss for loss, options in LOSSES.items() if option in options]
        raise mistake(f"goes with {listed(losses, last='and')}, not with {name}; remove it")
