"""Which losses fit an output and a target, the likeliest first, each with its options and the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from curvcli.analysis.guessing.stored import Values
from curvcli.models.returned import Returned

_IGNORED_BY_TORCH: Final = -100.0
_ALSO_IGNORED: Final = (-1.0, 255.0)
_ONE: Final = 1e-4
_SUMS: Final = 1e-5  # of labels, as the loss takes them
_LIKE_OUTPUT: Final = ("mse", "mae", "huber")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """A loss that fits.

    Attributes:
        table: of the spec, ``output`` left out.
        why: this loss.
        others: losses that fit as well, where nothing decides.
        doubtful: options that nothing decides, each with the reason and what else they may be.
    """

    table: Mapping[str, Any]
    why: str
    others: tuple[str, ...] = ()
    doubtful: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the loss."""
        return str(self.table["name"])


def per_batch(output: Returned, samples: int) -> bool:
    """Whether a model returns one number for a whole batch."""
    return output.values.ndim == 0 or (len(output.values) == output.values.size != samples and samples > 1)


def own_loss(output: Returned, samples: int) -> Choice | None:
    """The model's own number, as the loss."""
    if per_batch(output, samples):
        return Choice({"name": "output"}, "the model returns one number for a whole batch, its own loss")
    if output.values.shape[:1] == (samples,) and output.values.size == samples:
        return Choice({"name": "output"}, "the model returns one number per sample, and no column is left as a target")
    return None


def fitting(output: Returned, target: Values, last_axis: bool) -> list[Choice]:
    """All losses that fit; the first is the likeliest.

    Args:
        output: of some samples.
        target: of all samples.
        last_axis: whether the framework's convention has the classes last.
    """
    shape = output.shape
    choices = [*_of_classes(output, target, last_axis)]
    if _plain(target.shape) == _plain(shape):
        choices += _like_output(output, target)
    if not choices and _plain(shape)[-1:] and [*_plain(target.shape)] in _halves(shape):
        choices += _of_variances(output)
    return choices


def _plain(shape: Shape) -> list[int]:
    return [n for n in shape if n != 1]


def _halves(shape: Shape) -> list[list[int]]:
    last = shape[-1]
    return [] if last % 2 else [_plain((*shape[:-1], last // 2))]


# -- class numbers ----------------------------------------------------------------------------------------------------


def _of_classes(output: Returned, target: Values, last_axis: bool) -> Iterator[Choice]:
    if not target.whole or not target.finite.size:
        return
    shape = output.values.shape
    axes = [
        axis
        for axis in range(1, len(shape))
        if shape[axis] > 1 and [n for i, n in enumerate(shape[1:], 1) if i != axis and n != 1] == _plain(target.shape)
    ]
    ignored = {axis: _ignored(target, shape[axis]) for axis in axes}
    axes = [axis for axis in axes if _in_range(target, ignored[axis], shape[axis])]
    axes = [axis for axis in axes if output.finals.get(axis) != "sigmoid"]
    if not axes:
        return
    usual = len(shape) - 1 if last_axis else 1
    axes.sort(key=lambda axis: (axis not in output.finals, axis != usual))
    axis = axes[0]
    table: dict[str, Any] = {"name": "cross_entropy", "from_logits": "auto"}
    doubtful: dict[str, tuple[str, tuple[str, ...]]] = {}
    table |= _logits(output, axis, "softmax", doubtful)
    if len(shape) > 2:
        table["class_axis"] = -1 if axis == len(shape) - 1 else axis
        sure = axis in output.finals and not any(other in output.finals for other in axes[1:])
        if len(axes) > 1 and not sure:
            doubtful["class_axis"] = ("the framework's convention", tuple(str(other) for other in axes[1:]))
    if ignored[axis] is not None:
        table["ignore_index"] = int(ignored[axis] or 0)
        if ignored[axis] != _IGNORED_BY_TORCH:
            doubtful["ignore_index"] = ("the only label that is no class", ("a mistake in the data",))
    held = f"{len(target.names)} names" if target.names else f"whole numbers from {target.range}"
    yield Choice(table, f"the targets are {held}, the output has {shape[axis]} classes", (), doubtful)


def _ignored(target: Values, classes: int) -> float | None:
    """A label that marks what does not count; None where there is none."""
    strange = np.unique(target.finite[(target.finite < 0) | (target.finite >= classes)])
    if len(strange) != 1 or strange[0] not in (_IGNORED_BY_TORCH, *_ALSO_IGNORED):
        return None
    return float(strange[0])


def _in_range(target: Values, ignored: float | None, classes: int) -> bool:
    used = target.finite if ignored is None else target.finite[target.finite != ignored]
    return bool(used.size) and float(used.min()) >= 0 and float(used.max()) < classes


def _logits(
    output: Returned, axis: int, final: str, doubtful: dict[str, tuple[str, tuple[str, ...]]]
) -> dict[str, Any]:
    """``from_logits``: read from the graph, or from the values where the graph does not show what they are."""
    if output.finals.get(axis):
        return {"from_logits": "auto"}
    values = output.values
    probable = bool((values >= 0).all() and (values <= 1).all()) and values.size > 0
    if final == "softmax":
        probable = probable and bool(np.abs(values.sum(axis=axis) - 1).max(initial=0.0) < _ONE)
    if probable:
        doubtful["from_logits"] = (f"the outputs look like probabilities, and no {final} can be recognised", ("true",))
        return {"from_logits": False}
    return {"from_logits": "auto"}


# -- targets like the output ------------------------------------------------------------------------------------------


def _like_output(output: Returned, target: Values) -> Iterator[Choice]:
    finals = set(output.finals.values())
    missing = _missing(target)
    single = not _plain(output.shape)
    hot = [] if single else _summing_to_one(output, target)
    within = target.finite.size > 0 and target.low >= 0 and target.high <= 1
    if target.only(0, 1):
        binary = _binary(output, missing)
        if hot and "sigmoid" not in finals:
            sure = bool({"softmax", "log_softmax"} & finals)
            yield _one_hot(
                output, hot[0], "every target has a single 1 along the classes", () if sure else ("bce", "mse")
            )
        if {"softmax", "log_softmax"} & finals:
            return
        if "sigmoid" in finals:
            yield Choice(binary[0], "the targets are 0 and 1, and the graph ends in sigmoid", (), binary[1])
        elif not hot:
            others = () if target.integers and not missing[0] else ("mse", "hinge")
            yield Choice(binary[0], "the targets are 0 and 1, like the output", others, binary[1])
        return
    if target.only(-1, 1) and target.low < 0:
        yield Choice({"name": "hinge"}, "the targets are -1 and 1", ("mse",))
        return
    if within and hot and {"softmax", "log_softmax"} & finals:
        yield _one_hot(output, hot[0], "the targets are probabilities of the classes", ())
        return
    if within and hot:
        yield _one_hot(output, hot[0], "the targets sum to 1 along an axis", ("mse",))
        return
    if within and "sigmoid" in finals:
        table, doubtful = _binary(output, missing)
        yield Choice(table, "the targets lie between 0 and 1, and the graph ends in sigmoid", ("mse",), doubtful)
        return
    counts = target.integers and target.low >= 0 and not target.names
    also: tuple[str, ...] = ("poisson", "mae", "huber") if counts else ()
    what = "counts" if counts else f"numbers from {target.range}"
    table = {"name": "mse", **missing[0]}
    yield Choice(
        table, f"the targets are {what}, of the output's shape (mae and huber would take them too)", also, missing[1]
    )


def _missing(target: Values) -> tuple[dict[str, Any], dict[str, tuple[str, tuple[str, ...]]]]:
    if not target.has_nan:
        return {}, {}
    return {"ignore_nan": True}, {
        "ignore_nan": ("NaN among the targets is taken for missing ones", ("a mistake in the data",))
    }


def _binary(
    output: Returned, missing: tuple[dict[str, Any], dict[str, tuple[str, tuple[str, ...]]]]
) -> tuple[dict[str, Any], dict[str, tuple[str, tuple[str, ...]]]]:
    doubtful = dict(missing[1])
    table = {"name": "bce", "from_logits": "auto"} | _logits(output, 1, "sigmoid", doubtful)
    return table | missing[0], doubtful


def _one_hot(output: Returned, axis: int, why: str, others: tuple[str, ...]) -> Choice:
    table: dict[str, Any] = {"name": "cross_entropy", "from_logits": "auto"}
    doubtful: dict[str, tuple[str, tuple[str, ...]]] = {}
    table |= _logits(output, axis, "softmax", doubtful)
    if output.values.ndim > 2:
        table["class_axis"] = -1 if axis == output.values.ndim - 1 else axis
    return Choice(table, why, others, doubtful)


def _summing_to_one(output: Returned, target: Values) -> list[int]:
    """The axes of the output along which all targets sum to one."""
    if target.numbers.size != len(target.numbers) * int(np.prod(output.shape)) or target.has_nan:
        return []
    values = np.asarray(target.numbers, dtype=np.float64).reshape(-1, *output.shape)
    axes = [axis for axis in range(1, values.ndim) if values.shape[axis] > 1]
    return [
        axis
        for axis in axes
        if (values >= 0).all() and float(np.abs(values.sum(axis=axis) - 1).max(initial=0.0)) < 1e-5
    ]


# -- means and variances ----------------------------------------------------------------------------------------------


def _of_variances(output: Returned) -> Iterator[Choice]:
    values = output.values
    variances = values[..., values.shape[-1] // 2 :]
    logarithms = bool((variances < 0).any())
    yield Choice(
        {"name": "gaussian_nll", "log_variance": logarithms},
        "the output is twice as long as the targets: means, then variances",
        (),
        {
            "log_variance": (
                "some are below 0" if logarithms else "none is below 0 in the samples tried",
                ("false" if logarithms else "true",),
            )
        },
    )


def of_name(name: str, output: Returned, target: Values | None, fits: Sequence[Choice]) -> Choice:
    """The loss that a person named, with the options that it has to have."""
    for choice in fits:
        if choice.name == name:
            return Choice(choice.table, "as requested", (), choice.doubtful)
    table: dict[str, Any] = {"name": name}
    doubtful: dict[str, tuple[str, tuple[str, ...]]] = {}
    if name in ("cross_entropy", "bce"):
        axis = next(iter(output.finals), 1)
        table |= _logits(output, axis, "softmax" if name == "cross_entropy" else "sigmoid", doubtful)
        if name == "cross_entropy" and output.values.ndim > 2 and axis in output.finals:
            table["class_axis"] = -1 if axis == output.values.ndim - 1 else axis
    if name == "gaussian_nll":
        return next(_of_variances(output))
    if target is not None and target.has_nan and name in (*_LIKE_OUTPUT, "bce", "poisson", "hinge"):
        table |= _missing(target)[0]
        doubtful |= _missing(target)[1]
    if name == "poisson" and output.values.size and (output.values < 0).any() is np.False_:
        doubtful["log_input"] = ("no output is below 0 in the samples tried; rates need log_input = false", ("false",))
        table["log_input"] = True
    return Choice(table, "as requested", (), doubtful)
